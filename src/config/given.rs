//! The checks of single values that also come from elsewhere: from the API, and from the command line through it.
//!
//! Each says what was found and what is allowed, as it would of lb.toml. May not: know where the value came from.

use std::net::SocketAddr;
use std::time::Duration;

use super::problems::quoted;
use super::scalars::{self, Use};
use super::{DRAIN_TIMEOUT, WEIGHT_MAX};

/// Whether a text may name a service or a backend.
///
/// # Errors
/// What is wrong with it.
pub fn check_name(text: &str) -> Result<(), String> {
    if scalars::is_name(text) {
        Ok(())
    } else {
        Err(found("name", text, &scalars::name_wanted()))
    }
}

/// The address of a backend.
///
/// # Errors
/// What is wrong with the text.
pub fn backend_address(text: &str) -> Result<SocketAddr, String> {
    scalars::parse_address(text, Use::Backend).map_err(|hint| {
        let hint = if hint.is_empty() {
            String::new()
        } else {
            format!("; {hint}")
        };
        format!("{}{hint}", found("address", text, Use::Backend.wanted()))
    })
}

/// A weight.
///
/// # Errors
/// It is too large.
pub fn weight(number: u32) -> Result<u16, String> {
    u16::try_from(number)
        .ok()
        .filter(|weight| *weight <= WEIGHT_MAX)
        .ok_or_else(|| format!("weight: found {number}, wanted a number from 0 (no new connection) to {WEIGHT_MAX}"))
}

/// How long a removed backend's sessions may live.
///
/// # Errors
/// It is no duration, or one that isn't allowed.
pub fn drain(text: &str) -> Result<Duration, String> {
    let wanted = "a duration from 0s to 24h, like \"30s\"";
    humantime::parse_duration(text)
        .ok()
        .filter(|span| DRAIN_TIMEOUT.contains(span))
        .ok_or_else(|| found("drain", text, wanted))
}

fn found(what: &str, text: &str, wanted: &str) -> String {
    format!("{what}: found {}, wanted {wanted}", quoted(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_is_said_as_of_a_file() {
        assert_eq!(check_name("web-1"), Ok(()));
        assert!(
            check_name("<b>")
                .unwrap_err()
                .starts_with("name: found \"<b>\", wanted a name of 1 to 64 characters")
        );
        assert!(check_name("").is_err() && check_name(&"x".repeat(65)).is_err());
        let refused = backend_address("localhost:9001").unwrap_err();
        assert!(
            refused.contains("\"localhost:9001\"") && refused.ends_with("write \"127.0.0.1:9001\""),
            "{refused}"
        );
        assert!(backend_address("127.0.0.1:0").is_err() && backend_address("0.0.0.0:1").is_err());
        assert_eq!((weight(256), weight(257).is_err()), (Ok(256), true));
        assert_eq!(drain("30s"), Ok(Duration::from_secs(30)));
        assert!(drain("25h").is_err() && drain("soon").is_err() && drain("30").is_err());
    }
}

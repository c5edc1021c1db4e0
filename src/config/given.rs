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

/// How long a removed backend's sessions may live: one number and one unit, which a pattern can say too.
///
/// # Errors
/// It is no such duration, or one that isn't allowed.
pub fn drain(text: &str) -> Result<Duration, String> {
    let wanted = "a duration from 0s to 24h as one number and ms, s, m or h, like \"30s\"";
    let (number, unit) = text.split_at(text.find(|sign: char| !sign.is_ascii_digit()).unwrap_or(text.len()));
    let digits_max = match unit {
        "ms" => 5,
        "s" => 4,
        "m" => 3,
        "h" if !number.starts_with('0') => 2,
        "h" => 1,
        _ => 0,
    };
    (1..=digits_max)
        .contains(&number.len())
        .then(|| humantime::parse_duration(text).ok())
        .flatten()
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
        // As many digits as a unit may have, and one more.
        for (longest, wanted, too_long) in [
            ("99999ms", Duration::from_millis(99_999), "000001ms"),
            ("9999s", Duration::from_secs(9_999), "00001s"),
            ("999m", Duration::from_mins(999), "0001m"),
            ("24h", Duration::from_hours(24), "001h"),
            ("0h", Duration::ZERO, "00h"),
        ] {
            assert_eq!(
                (drain(longest), drain(too_long).is_err()),
                (Ok(wanted), true),
                "{longest}"
            );
        }
        for refused in [
            "25h", "soon", "30", "", "ms", "9999m", "1h 30m", "05h", "1.5s", "30sec", "٣s", " 1s",
        ] {
            assert!(drain(refused).is_err(), "{refused}");
        }
    }
}

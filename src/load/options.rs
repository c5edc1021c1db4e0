//! The options of a run, as values that the rest of the room can trust.

use super::failure::LoadError;
use std::hash::{BuildHasher, RandomState};
use std::net::SocketAddr;
use std::time::Duration;

/// The most connections at a time when no number is given.
pub const DEFAULT_CONCURRENCY_MAX: usize = 1000;

/// What to do to whom.
#[derive(Clone, Debug)]
pub struct LoadOptions {
    /// Where to connect.
    pub target: SocketAddr,
    /// Connections in all. With a duration, or a new connection for each request: parallel users.
    pub connections: u64,
    /// Requests of each connection; of no meaning with a duration.
    pub requests: u64,
    /// Connections at a time.
    pub concurrency: usize,
    /// Bytes of a request.
    pub size: u64,
    /// Requests a second over all connections: an open loop.
    pub rate: Option<f64>,
    /// How long to send, instead of a count.
    pub duration: Option<Duration>,
    /// A new connection for every request, whose time counts.
    pub new_connection: bool,
    /// How long a connect may take.
    pub connect_timeout: Duration,
    /// How long a connected request, or the end of a connection, may go without progress.
    pub timeout: Duration,
    /// Threads; never more than `concurrency`.
    pub threads: usize,
    /// What the bytes depend on, beside the connection and the request.
    pub seed: u32,
}

impl LoadOptions {
    /// One request of 64 bytes on one connection.
    #[must_use]
    pub fn new(target: SocketAddr) -> Self {
        Self {
            target,
            connections: 1,
            requests: 1,
            concurrency: 1,
            size: 64,
            rate: None,
            duration: None,
            new_connection: false,
            connect_timeout: Duration::from_secs(10),
            timeout: Duration::from_secs(10),
            threads: 1,
            // Std's own randomness: two clients at once must not send the same bytes.
            seed: RandomState::new().hash_one(0) as u32,
        }
    }

    /// Says what contradicts itself.
    pub(super) fn check(&self) -> Result<(), LoadError> {
        let wrong = match self {
            Self { connections: 0, .. } => "--conns 0: at least 1 is needed",
            Self { requests: 0, .. } => "--requests 0: at least 1 is needed",
            Self { concurrency: 0, .. } => "--concurrency 0: at least 1 is needed",
            Self {
                size: 0,
                new_connection: false,
                ..
            } => "--size 0: allowed only with --new-connection, to time connects; else at least 1",
            Self { rate: Some(rate), .. } if !(rate.is_finite() && *rate > 0.0) => {
                "--rate: a number of requests a second above 0 is needed"
            }
            _ => return Ok(()),
        };
        Err(LoadError::Options(wrong))
    }

    /// Connections that finished wait for the others, so that all exist at once.
    pub(super) fn holds_all(&self) -> bool {
        !self.new_connection
            && self.rate.is_none()
            && self.duration.is_none()
            && self.connections == self.concurrency as u64
    }

    /// Requests in all; nothing when the clock decides.
    pub(super) fn requests_total(&self) -> Option<u64> {
        match self.duration {
            Some(_) => None,
            None => Some(self.connections.saturating_mul(self.requests)),
        }
    }
}

/// Reads a size: bytes, or with a unit of 1,024 (`KiB`, `MiB`, `GiB`) or of 1,000 (`kB`, `MB`, `GB`).
///
/// # Errors
/// What was found and what is allowed.
pub fn parse_size(text: &str) -> Result<u64, String> {
    let digits = text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let unit: u64 = match text.strip_prefix(digits).unwrap_or_default() {
        "" | "B" => 1,
        "kB" | "KB" => 1000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        other => {
            return Err(format!(
                "unknown unit {other:?}: B, KiB, MiB, GiB, kB, MB and GB are known"
            ));
        }
    };
    let number: u64 = digits
        .trim_end()
        .parse()
        .map_err(|_| format!("{digits:?} is no whole number of bytes, such as 64 or 64KiB"))?;
    number
        .checked_mul(unit)
        .ok_or_else(|| format!("{text} is more than {} bytes", u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_units() {
        for (text, bytes) in [
            ("0", 0),
            ("64", 64),
            ("64KiB", 65_536),
            ("64 MiB", 64 << 20),
            ("2kB", 2000),
        ] {
            assert_eq!(parse_size(text), Ok(bytes), "{text}");
        }
        for text in ["", "KiB", "-1", "1.5MiB", "1XB", "99999999999GiB"] {
            assert!(parse_size(text).is_err(), "{text}");
        }
    }
}

//! The options of a run, as values that the rest of the room can trust.

use super::failure::LoadError;
use std::hash::{BuildHasher, RandomState};
use std::net::{SocketAddr, ToSocketAddrs};
use std::time::Duration;

/// The most connections at a time when no number is given.
const DEFAULT_CONCURRENCY_MAX: usize = 1000;

/// The longest part of a message that either side holds, to fold it or to repeat it; as `tcp_server` has it.
const HELD_BYTES_MAX: u64 = 64 * 1024;

/// Bytes of a request and of its reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct MessageSizes {
    pub(super) request: u64,
    pub(super) reply: u64,
}

impl MessageSizes {
    pub(super) fn is_echo(self) -> bool {
        self.request == self.reply
    }
}

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
    /// Bytes of its reply, when the server answers with other sizes; an echo where there is no number.
    pub reply_size: Option<u64>,
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
    /// Where `lb`'s admin API may say who got the connections; `None` = don't ask.
    pub admin: Option<SocketAddr>,
    /// What the bytes depend on, beside the connection and the request.
    pub seed: u32,
}

impl LoadOptions {
    /// Connections at a time where only those in all are asked for: all of them, at most 1,000.
    #[must_use]
    pub fn window(at_once: Option<u64>, connections: u64) -> usize {
        let at_once = at_once.unwrap_or(DEFAULT_CONCURRENCY_MAX as u64).min(connections);
        usize::try_from(at_once).unwrap_or(usize::MAX)
    }

    /// One request of 64 bytes on one connection.
    #[must_use]
    pub fn new(target: SocketAddr) -> Self {
        Self {
            target,
            connections: 1,
            requests: 1,
            concurrency: 1,
            size: 64,
            reply_size: None,
            rate: None,
            duration: None,
            new_connection: false,
            connect_timeout: Duration::from_secs(10),
            timeout: Duration::from_secs(10),
            threads: 1,
            admin: None,
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
            _ => return self.check_sizes(),
        };
        Err(LoadError::Options(wrong.to_owned()))
    }

    fn check_sizes(&self) -> Result<(), LoadError> {
        let MessageSizes { request, reply } = self.sizes();
        let wrong = match (request, reply) {
            (0, 0) => return Ok(()),
            (0, _) => format!("--size 0 --reply-size {reply}: a request of no bytes has no reply"),
            (_, 0) => "--reply-size 0: at least 1 is needed".to_owned(),
            _ if reply < request && reply > HELD_BYTES_MAX => format!(
                "--reply-size {reply}: at most {HELD_BYTES_MAX} bytes when it is less than --size (which is {request})"
            ),
            _ if reply > request && request > HELD_BYTES_MAX => {
                format!("--size {request}: at most {HELD_BYTES_MAX} bytes when --reply-size is more (which is {reply})")
            }
            _ => return Ok(()),
        };
        Err(LoadError::Options(wrong))
    }

    /// How long a request and its reply are.
    pub(super) fn sizes(&self) -> MessageSizes {
        MessageSizes {
            request: self.size,
            reply: self.reply_size.unwrap_or(self.size),
        }
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

/// Reads an address with a port; a name stands for the first of its addresses.
///
/// # Errors
/// What was found and what is needed.
pub fn parse_target(text: &str) -> Result<SocketAddr, String> {
    let mut addresses = text
        .to_socket_addrs()
        .map_err(|error| format!("{error}; an address such as 127.0.0.1:9000 is needed"))?;
    addresses.next().ok_or_else(|| format!("{text} has no address"))
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

    #[test]
    fn what_would_have_to_be_held_is_bounded_and_the_error_says_so() {
        let check = |size, reply_size| {
            LoadOptions {
                size,
                reply_size,
                ..LoadOptions::new(([127, 0, 0, 1], 9).into())
            }
            .check()
            .map_err(|error| error.to_string())
        };
        for (size, reply) in [(1 << 40, 65_536), (65_536, 1 << 40), (1 << 40, 1 << 40), (1, 1)] {
            assert_eq!(check(size, Some(reply)), Ok(()));
        }
        assert_eq!(check(1 << 40, None), Ok(()));
        assert_eq!(
            check(65_538, Some(65_537)).unwrap_err(),
            "--reply-size 65537: at most 65536 bytes when it is less than --size (which is 65538)"
        );
        assert_eq!(
            check(65_537, Some(65_538)).unwrap_err(),
            "--size 65537: at most 65536 bytes when --reply-size is more (which is 65538)"
        );
        assert!(check(64, Some(0)).is_err());
    }
}

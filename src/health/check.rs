//! What a probe does, and what an answer says.

use std::time::Duration;

/// How a backend is checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// What is sent first, whatever the check: a header of the PROXY protocol where backends expect one; else empty.
    pub opening: Vec<u8>,
    /// What a probe does.
    pub check: Check,
    /// From the start of one probe to the start of the next.
    pub interval: Duration,
    /// How long a probe may take.
    pub timeout: Duration,
    /// Good checks in a row to go up.
    pub rise: u32,
    /// Bad ones to go down.
    pub fall: u32,
}

/// What a probe does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Check {
    /// Connects.
    Tcp,
    /// Connects, sends a request, and wants this status (RFC 9112, section 4).
    Http {
        /// The whole request.
        request: Vec<u8>,
        /// The status that is healthy.
        status: u16,
    },
    /// Connects, sends these bytes, and wants those back first.
    Expect {
        /// May be empty.
        send: Vec<u8>,
        /// At least one byte.
        expect: Vec<u8>,
    },
}

/// What an answer says, as far as it has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// More is needed.
    Incomplete,
    Good,
    /// In words.
    Bad(String),
}

/// `HTTP/1.1 200`: as much of the status line as a verdict needs.
const STATUS_BYTES: usize = 12;

impl Check {
    /// A check by `GET path`; `host` goes into the Host field.
    #[must_use]
    pub fn http(path: &str, host: &str, status: u16) -> Self {
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: lb/{}\r\nConnection: close\r\n\r\n",
            env!("CARGO_PKG_VERSION")
        );
        Self::Http {
            request: request.into_bytes(),
            status,
        }
    }

    /// What to send.
    pub(super) fn to_send(&self) -> &[u8] {
        match self {
            Self::Tcp => &[],
            Self::Http { request, .. } => request,
            Self::Expect { send, .. } => send,
        }
    }

    /// What these bytes say.
    pub(super) fn judge(&self, got: &[u8]) -> Answer {
        match self {
            Self::Tcp => Answer::Good,
            Self::Expect { expect, .. } if got.starts_with(expect) => Answer::Good,
            Self::Expect { expect, .. } if expect.starts_with(got) => Answer::Incomplete,
            Self::Expect { expect, .. } => Answer::Bad(format!("answered {} instead of {}", quote(got), quote(expect))),
            Self::Http { status, .. } => judge_status(got, *status),
        }
    }
}

fn judge_status(got: &[u8], wanted: u16) -> Answer {
    let Some(line) = got.get(..STATUS_BYTES) else {
        let begins_well = b"HTTP/1.".iter().zip(got).all(|(wanted, got)| wanted == got);
        return if begins_well {
            Answer::Incomplete
        } else {
            Answer::Bad(format!("answered {}, not HTTP", quote(got)))
        };
    };
    let status = line
        .strip_prefix(b"HTTP/1.")
        .and_then(|rest| rest.get(1..))
        .and_then(|rest| rest.strip_prefix(b" "))
        .filter(|digits| digits.iter().all(u8::is_ascii_digit))
        .and_then(|digits| std::str::from_utf8(digits).ok()?.parse::<u16>().ok());
    match status {
        Some(status) if status == wanted => Answer::Good,
        Some(status) => Answer::Bad(format!("answered status {status} instead of {wanted}")),
        None => Answer::Bad(format!("answered {}, not HTTP", quote(got))),
    }
}

/// Bytes of a stranger, short and harmless in a log line.
pub(super) fn quote(bytes: &[u8]) -> String {
    const SHOWN: usize = 32;
    let shown = bytes.get(..SHOWN).unwrap_or(bytes).escape_ascii();
    if bytes.len() > SHOWN {
        format!("\"{shown}…\"")
    } else {
        format!("\"{shown}\"")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn expect(expect: &[u8]) -> Check {
        Check::Expect {
            send: Vec::new(),
            expect: expect.to_vec(),
        }
    }

    #[test]
    fn an_expected_answer_is_judged_as_it_comes() {
        assert_eq!(expect(b"ping\n").judge(b""), Answer::Incomplete);
        assert_eq!(expect(b"ping\n").judge(b"pin"), Answer::Incomplete);
        assert_eq!(expect(b"ping\n").judge(b"ping\nmore"), Answer::Good);
        assert_eq!(
            expect(b"ping\n").judge(b"pong\x1b"),
            Answer::Bad("answered \"pong\\x1b\" instead of \"ping\\n\"".into())
        );
    }

    #[test]
    fn an_http_answer_is_judged_by_its_status() {
        let check = Check::http("/health", "127.0.0.1:9101", 200);
        for (got, answer) in [
            ("", Answer::Incomplete),
            ("HTTP/1.1 20", Answer::Incomplete),
            ("HTTP/1.1 200", Answer::Good),
            ("HTTP/1.0 200 OK\r\n\r\n", Answer::Good),
            (
                "HTTP/1.1 503 Busy\r\n",
                Answer::Bad("answered status 503 instead of 200".into()),
            ),
            ("SSH-2.0", Answer::Bad("answered \"SSH-2.0\", not HTTP".into())),
            (
                "HTTP/2 200 OK",
                Answer::Bad("answered \"HTTP/2 200 OK\", not HTTP".into()),
            ),
        ] {
            assert_eq!(check.judge(got.as_bytes()), answer, "{got:?}");
        }
    }

    proptest! {
        #[test]
        fn a_strangers_bytes_never_panic_and_never_reach_the_log_raw(got: Vec<u8>, wanted: u16) {
            for check in [Check::http("/", "h", wanted), expect(b"x")] {
                if let Answer::Bad(words) = check.judge(&got) {
                    prop_assert!(words.chars().all(|letter| letter == '…' || (' '..='~').contains(&letter)), "{words:?}");
                }
            }
        }
    }
}

//! The sizes of requests and replies, where a server answers whole requests instead of echoing bytes as they come.
//!
//! Byte i of a reply is the XOR of the request's bytes whose place modulo the reply's size is i; a reply longer than the
//! request has the request's bytes over and over. Either way a byte of a request that is changed changes its reply. With
//! equal sizes the reply is the request: the plain echo, byte by byte.

use super::error::EchoError;
use super::fold::Fold;
use super::repeat::Repeat;

/// The most that a connection holds of a message: the reply it folds into, or the request it repeats.
const HELD_BYTES_MAX: u64 = 64 * 1024;

/// Bytes of each request and of each reply, within what a connection may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MessageSizes(Rule);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rule {
    Echo,
    Fold { request_bytes: u64, reply_bytes: usize },
    Repeat { request_bytes: usize, reply_bytes: u64 },
}

impl MessageSizes {
    /// # Errors
    /// When one is 0, or the shorter of two unequal ones is longer than what a connection may hold (64 KiB).
    pub fn new(request_bytes: u64, reply_bytes: u64) -> Result<Self, EchoError> {
        let wrong = match (request_bytes, reply_bytes) {
            (0, _) => "--request-size 0: at least 1 is needed".to_owned(),
            (_, 0) => "--reply-size 0: at least 1 is needed".to_owned(),
            (request, reply) if request == reply => return Ok(Self(Rule::Echo)),
            (request, reply) if reply < request => match held(reply) {
                Some(reply_bytes) => {
                    return Ok(Self(Rule::Fold {
                        request_bytes,
                        reply_bytes,
                    }));
                }
                None => format!(
                    "--reply-size {reply}: at most {HELD_BYTES_MAX} bytes when it is less than --request-size (which is {request})"
                ),
            },
            (request, reply) => match held(request) {
                Some(request_bytes) => {
                    return Ok(Self(Rule::Repeat {
                        request_bytes,
                        reply_bytes,
                    }));
                }
                None => format!(
                    "--request-size {request}: at most {HELD_BYTES_MAX} bytes when --reply-size is more (which is {reply})"
                ),
            },
        };
        Err(EchoError::Sizes(wrong))
    }
}

fn held(bytes: u64) -> Option<usize> {
    usize::try_from(bytes).ok().filter(|_| bytes <= HELD_BYTES_MAX)
}

/// How one connection makes its replies.
pub(super) enum Replies {
    /// Every byte, as it comes.
    Echo,
    Fold(Fold),
    Repeat(Repeat),
}

impl Replies {
    pub(super) fn new(sizes: Option<MessageSizes>) -> Self {
        match sizes.map(|MessageSizes(rule)| rule) {
            None | Some(Rule::Echo) => Self::Echo,
            Some(Rule::Fold {
                request_bytes,
                reply_bytes,
            }) => Self::Fold(Fold::new(request_bytes, reply_bytes)),
            Some(Rule::Repeat {
                request_bytes,
                reply_bytes,
            }) => Self::Repeat(Repeat::new(request_bytes, reply_bytes)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_connection_would_have_to_hold_is_bounded_and_the_error_says_so() {
        let error = |request, reply| MessageSizes::new(request, reply).unwrap_err().to_string();
        for (request, reply) in [(1 << 40, 65_536), (65_536, 1 << 40), (1 << 40, 1 << 40), (1, 1)] {
            assert!(MessageSizes::new(request, reply).is_ok(), "{request}, {reply}");
        }
        assert_eq!(
            error(65_538, 65_537),
            "--reply-size 65537: at most 65536 bytes when it is less than --request-size (which is 65538)"
        );
        assert_eq!(
            error(65_537, 65_538),
            "--request-size 65537: at most 65536 bytes when --reply-size is more (which is 65538)"
        );
        assert_eq!(error(0, 1), "--request-size 0: at least 1 is needed");
        assert_eq!(error(1, 0), "--reply-size 0: at least 1 is needed");
    }
}

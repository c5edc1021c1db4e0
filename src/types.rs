//! The newtypes that several rooms share: identities, tokens, moments, sides.
//!
//! Every room may import this one; it imports nothing of ours, and holds no behaviour beyond conversions.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A point on the monotonic clock: nanoseconds since the process began to count.
///
/// 64 bits of nanoseconds last 584 years, so nothing wraps; `Ord` is the order of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Moment(u64);

impl Moment {
    /// The first moment.
    pub const START: Self = Self(0);
    /// Later than every real moment: a timer that is not set.
    pub const NEVER: Self = Self(u64::MAX);

    /// The moment that lies so many nanoseconds after [`Moment::START`].
    #[must_use]
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// Nanoseconds since [`Moment::START`].
    #[must_use]
    pub const fn nanos(self) -> u64 {
        self.0
    }

    /// This moment and `span` after it; saturates at [`Moment::NEVER`].
    #[must_use]
    pub fn plus(self, span: Duration) -> Self {
        Self(
            self.0
                .saturating_add(u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)),
        )
    }

    /// How long it is since `earlier`; zero if `earlier` is later.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

/// One backend, for the life of the process: never used again, even when a name comes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BackendId(pub u32);

/// One service, for the life of the process: never used again, even when a name comes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServiceId(pub u32);

/// One worker thread, from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WorkerId(pub u16);

/// The peer of an accepted socket, as `accept4` told it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ClientAddr(pub SocketAddr);

impl fmt::Display for ClientAddr {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(out)
    }
}

/// Where something answers HTTP, without a name to look up.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct HttpUrl {
    /// Its address and port.
    pub address: SocketAddr,
    /// Starts with `/`; printable ASCII.
    pub path: Box<str>,
}

/// Where a backend listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct BackendAddr(pub SocketAddr);

impl fmt::Display for BackendAddr {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(out)
    }
}

/// One of the two peers of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Who connected to us.
    Client,
    /// Whom we connected to.
    Backend,
}

/// One way through a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// Client to backend.
    ToBackend,
    /// Backend to client.
    ToClient,
}

/// A place in a worker's slab, and which of its successive owners is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SessionKey {
    /// The slot; below [`SessionKey::INDEX_MAX`].
    pub index: u32,
    /// Counts the owners of the slot, so that a stale event never reaches the next one.
    pub generation: u32,
}

impl SessionKey {
    /// The index has 24 bits in a token: 16 million sessions a worker.
    pub const INDEX_MAX: u32 = 0x00ff_ffff;
}

/// Which socket of a session: the client's, or the backend attempt of that number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lane(pub u8);

impl Lane {
    /// The client's socket.
    pub const CLIENT: Self = Self(0);
    /// The first attempt to reach a backend; each later one has the next number, so none is ever mistaken for another.
    pub const FIRST_ATTEMPT: Self = Self(1);

    /// The lane of the attempt after this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

/// What an event loop is told about a socket: generation, index and lane in 64 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Token {
    /// The session.
    pub key: SessionKey,
    /// Its socket.
    pub lane: Lane,
}

impl Token {
    /// As the 64 bits that epoll carries.
    #[must_use]
    pub const fn to_bits(self) -> u64 {
        ((self.key.generation as u64) << 32)
            | (((self.key.index & SessionKey::INDEX_MAX) as u64) << 8)
            | self.lane.0 as u64
    }

    /// The reverse of [`Token::to_bits`].
    #[must_use]
    #[allow(
        clippy::cast_possible_truncation,
        reason = "each field is cut out of the bits it was put into"
    )]
    pub const fn from_bits(bits: u64) -> Self {
        Self {
            key: SessionKey {
                generation: (bits >> 32) as u32,
                index: ((bits >> 8) as u32) & SessionKey::INDEX_MAX,
            },
            lane: Lane(bits as u8),
        }
    }
}

/// What the kernel said of a socket. Hints: a stale one costs a system call, never a byte.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Readiness {
    /// Something to read, or an end of it.
    pub readable: bool,
    /// Room to write, or a finished connect.
    pub writable: bool,
    /// The peer has sent its FIN.
    pub read_closed: bool,
    /// Urgent data is in sight (`MSG_OOB`): reading stops short before it, and splicing can't pass it.
    pub urgent: bool,
    /// The socket has an error: the peer has reset, or can't be reached.
    pub broken: bool,
}

/// When the last packet of a connect's handshake goes out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Handshake {
    /// At once.
    Plain,
    /// With the first bytes, or when it is asked for.
    WithBytes,
}

/// Why a backend could not be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum ConnectFailure {
    /// Nobody listens there.
    Refused,
    /// It took the connection and reset it before a byte was moved.
    Reset,
    /// No answer in time.
    TimedOut,
    /// No way there.
    Unreachable,
    /// No local port is left towards it.
    NoLocalPort,
    /// This process has no file descriptor left.
    NoDescriptor,
    /// The kernel has no memory left for it.
    NoMemory,
    /// A local rule forbids it.
    Forbidden,
    /// Something else.
    Other,
}

/// How many ways there are to fail.
pub const CONNECT_FAILURE_COUNT: usize = ConnectFailure::ALL.len();

impl ConnectFailure {
    /// Every way to fail, in the order of their numbers.
    pub const ALL: [Self; 9] = [
        Self::Refused,
        Self::Reset,
        Self::TimedOut,
        Self::Unreachable,
        Self::NoLocalPort,
        Self::NoDescriptor,
        Self::NoMemory,
        Self::Forbidden,
        Self::Other,
    ];

    /// The word for it in the metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::Reset => "reset",
            Self::TimedOut => "timed_out",
            Self::Unreachable => "unreachable",
            Self::NoLocalPort => "no_local_port",
            Self::NoDescriptor => "no_descriptor",
            Self::NoMemory => "no_memory",
            Self::Forbidden => "forbidden",
            Self::Other => "other",
        }
    }

    /// Whether it is this machine's fault, so that it says nothing about the backend.
    #[must_use]
    pub const fn is_local(self) -> bool {
        matches!(
            self,
            Self::NoLocalPort | Self::NoDescriptor | Self::NoMemory | Self::Forbidden
        )
    }

    /// Whether it passes as soon as something else ends here: worth waiting for, since no backend is involved.
    #[must_use]
    pub const fn is_shortage(self) -> bool {
        matches!(self, Self::NoDescriptor | Self::NoMemory)
    }

    /// What happened, in words for a log line.
    #[must_use]
    pub fn words(self, address: BackendAddr) -> String {
        match self {
            Self::Refused => format!("connection refused by {address}"),
            Self::Reset => format!("connection reset by {address}"),
            Self::TimedOut => format!("no answer from {address} in time"),
            Self::Unreachable => format!("no route to {address}"),
            Self::NoLocalPort => format!("no local port left towards {address}"),
            Self::NoDescriptor => format!("no file descriptor left to reach {address}"),
            Self::NoMemory => format!("no kernel memory left to reach {address}"),
            Self::Forbidden => format!("a local rule forbids connecting to {address}"),
            Self::Other => format!("can't connect to {address}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_token_comes_back_from_its_bits(generation: u32, index in 0..=SessionKey::INDEX_MAX, lane: u8) {
            let token = Token { key: SessionKey { index, generation }, lane: Lane(lane) };
            prop_assert_eq!(Token::from_bits(token.to_bits()), token);
        }
    }

    #[test]
    fn the_list_of_failures_is_in_the_order_of_their_numbers() {
        for (number, failure) in ConnectFailure::ALL.into_iter().enumerate() {
            assert_eq!(failure as usize, number);
        }
    }

    #[test]
    fn moments_saturate_instead_of_wrapping() {
        assert_eq!(
            Moment::from_nanos(u64::MAX - 1).plus(Duration::from_secs(1)),
            Moment::NEVER
        );
        assert_eq!(Moment::START.since(Moment::from_nanos(5)), Duration::ZERO);
        let past_32_bit_milliseconds = Moment::from_nanos(4_294_967_296_000_000);
        assert!(past_32_bit_milliseconds.plus(Duration::from_millis(1)) > past_32_bit_milliseconds);
    }
}

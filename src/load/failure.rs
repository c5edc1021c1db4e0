//! What can go wrong with a request, by kind; and why a run could not be made at all, or its result not be written.

use std::fmt;
use std::io;
use std::path::PathBuf;

const EADDRNOTAVAIL: i32 = 99;

/// Why a request, or the end of its connection, failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum FailureKind {
    /// Nobody listens there.
    ConnectRefused,
    /// No connection within the connect timeout.
    ConnectTimeout,
    /// The other side reset the connection.
    Reset,
    /// The other side's FIN came before all bytes had come back.
    ClosedEarly,
    /// A byte came back that is not the reply's: it differs, or nothing was to come yet, or any more.
    WrongBytes,
    /// A connected request made no progress for the timeout.
    Timeout,
    /// Anything else, by its errno.
    Other(i32),
}

impl FailureKind {
    /// No free local port: every one is in use or in TIME_WAIT.
    pub(super) const NO_LOCAL_PORT: Self = Self::Other(EADDRNOTAVAIL);

    /// The kind of an error of a connected socket.
    pub(super) fn of(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::ConnectionRefused => Self::ConnectRefused,
            io::ErrorKind::ConnectionReset
            | io::ErrorKind::BrokenPipe
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::NotConnected => Self::Reset,
            io::ErrorKind::TimedOut => Self::Timeout,
            _ => Self::Other(error.raw_os_error().unwrap_or_default()),
        }
    }

    /// The kind of an error of a connect.
    pub(super) fn of_connect(error: &io::Error) -> Self {
        match Self::of(error) {
            Self::Timeout => Self::ConnectTimeout,
            kind => kind,
        }
    }
}

impl fmt::Display for FailureKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ConnectRefused => "connect_refused",
            Self::ConnectTimeout => "connect_timeout",
            Self::Reset => "reset",
            Self::ClosedEarly => "closed_early",
            Self::WrongBytes => "wrong_bytes",
            Self::Timeout => "timeout",
            Self::Other(errno) => {
                return write!(f, "other: {}", io::Error::from_raw_os_error(*errno));
            }
        })
    }
}

/// Why a run could not be made, or its result not be written.
#[derive(Debug)]
pub enum LoadError {
    /// The options contradict each other.
    Options(String),
    /// The connections at once need more file descriptors than the process may have.
    Descriptors {
        /// Connections at once that were asked for.
        concurrency: usize,
        /// Descriptors that they need.
        needed: u64,
        /// Descriptors that the process may have.
        limit: u64,
    },
    /// A file for the result can't be written.
    File {
        /// Which one.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// A thread or its event loop failed.
    Thread(io::Error),
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Options(text) => f.write_str(text),
            Self::Descriptors {
                concurrency,
                needed,
                limit,
            } => write!(
                f,
                "{concurrency} connections at once need {needed} file descriptors, the limit is {limit}: lower --concurrency or raise the hard limit (ulimit -Hn)"
            ),
            Self::File { path, error } => write!(f, "cannot write {}: {error}", path.display()),
            Self::Thread(error) => write!(f, "cannot run a thread's event loop: {error}"),
        }
    }
}

impl std::error::Error for LoadError {}

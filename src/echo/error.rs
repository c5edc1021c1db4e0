//! Why an echo server could not start, in one line a person can act on.

use std::fmt;
use std::io;
use std::net::SocketAddr;

/// Why an echo server could not start.
#[derive(Debug)]
pub enum EchoError {
    /// Sizes of requests and replies that no server can have.
    Sizes(String),
    /// The host name has no address.
    Host {
        /// What was asked for.
        host: String,
        /// What the resolver said.
        source: io::Error,
    },
    /// The address could not be listened on.
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// A thread or its event loop could not be made.
    Thread {
        /// What the system said.
        source: io::Error,
    },
}

impl fmt::Display for EchoError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sizes(text) => f.write_str(text),
            Self::Host { host, source } => {
                write!(f, "cannot find an address for host {host:?}: {source}")
            }
            Self::Listen { address, source } => {
                write!(f, "cannot listen on {address}: ")?;
                match source.kind() {
                    io::ErrorKind::AddrInUse => f.write_str("address in use (another program has this port)"),
                    io::ErrorKind::AddrNotAvailable => {
                        f.write_str("address not available (this machine has no such address)")
                    }
                    io::ErrorKind::PermissionDenied => {
                        f.write_str("permission denied (a port below 1024 needs the right to bind it)")
                    }
                    _ => write!(f, "{source}"),
                }
            }
            Self::Thread { source } => write!(f, "cannot start a thread's event loop: {source}"),
        }
    }
}

impl std::error::Error for EchoError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Host { source, .. } | Self::Listen { source, .. } | Self::Thread { source } => Some(source),
            Self::Sizes(_) => None,
        }
    }
}

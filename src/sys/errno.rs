//! What each errno means to a balancer: one table, no arm that swallows.
//!
//! Source: the ERRORS sections of accept(2), connect(2), recv(2), send(2), splice(2), tcp(7).

use std::io;

use rustix::io::Errno;

use crate::types::ConnectFailure;

/// What to do about a failed system call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Interrupted: call again at once.
    Retry,
    /// Nothing to be had now: an event will tell.
    Wait,
    /// The peer, or the way to it, is gone.
    PeerGone,
    /// This machine is short of something: try again a little later.
    BackOff,
    /// This one connection is lost already: take the next.
    Skip,
    /// The call can't work on this kind of file: use another way.
    Unsupported,
    /// We asked for nonsense; give up what was asked for, nothing else.
    Bug,
}

/// The decision for an error.
#[must_use]
pub fn decide(error: &io::Error) -> Decision {
    match Errno::from_io_error(error) {
        Some(Errno::INTR) => Decision::Retry,
        Some(Errno::AGAIN | Errno::INPROGRESS | Errno::ALREADY) => Decision::Wait,
        Some(Errno::CONNABORTED | Errno::PROTO | Errno::NOPROTOOPT | Errno::OPNOTSUPP | Errno::PERM) => Decision::Skip,
        Some(Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM | Errno::ADDRNOTAVAIL) => Decision::BackOff,
        Some(
            Errno::CONNRESET
            | Errno::PIPE
            | Errno::TIMEDOUT
            | Errno::CONNREFUSED
            | Errno::HOSTUNREACH
            | Errno::HOSTDOWN
            | Errno::NETUNREACH
            | Errno::NETDOWN
            | Errno::NETRESET
            | Errno::NONET
            | Errno::NOTCONN
            | Errno::SHUTDOWN,
        ) => Decision::PeerGone,
        Some(Errno::INVAL | Errno::NOSYS) => Decision::Unsupported,
        _ => Decision::Bug,
    }
}

/// What a failed connect says, and of whom.
#[must_use]
pub fn connect_failure(error: &io::Error) -> ConnectFailure {
    match Errno::from_io_error(error) {
        Some(Errno::CONNREFUSED) => ConnectFailure::Refused,
        Some(Errno::CONNRESET | Errno::PIPE | Errno::CONNABORTED) => ConnectFailure::Reset,
        Some(Errno::TIMEDOUT) => ConnectFailure::TimedOut,
        Some(Errno::HOSTUNREACH | Errno::HOSTDOWN | Errno::NETUNREACH | Errno::NETDOWN) => ConnectFailure::Unreachable,
        Some(Errno::ADDRNOTAVAIL | Errno::ADDRINUSE | Errno::AGAIN) => ConnectFailure::NoLocalPort,
        Some(Errno::MFILE | Errno::NFILE) => ConnectFailure::NoDescriptor,
        Some(Errno::NOBUFS | Errno::NOMEM | Errno::NOSPC) => ConnectFailure::NoMemory,
        Some(Errno::PERM | Errno::ACCESS) => ConnectFailure::Forbidden,
        _ => ConnectFailure::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn os(errno: Errno) -> io::Error {
        io::Error::from(errno)
    }

    #[test]
    fn each_errno_has_its_decision() {
        let table = [
            (Errno::INTR, Decision::Retry),
            (Errno::AGAIN, Decision::Wait),
            (Errno::INPROGRESS, Decision::Wait),
            (Errno::CONNRESET, Decision::PeerGone),
            (Errno::PIPE, Decision::PeerGone),
            (Errno::TIMEDOUT, Decision::PeerGone),
            (Errno::MFILE, Decision::BackOff),
            (Errno::NFILE, Decision::BackOff),
            (Errno::NOBUFS, Decision::BackOff),
            (Errno::NOMEM, Decision::BackOff),
            (Errno::CONNABORTED, Decision::Skip),
            (Errno::INVAL, Decision::Unsupported),
            (Errno::BADF, Decision::Bug),
            (Errno::FAULT, Decision::Bug),
        ];
        for (errno, decision) in table {
            assert_eq!(decide(&os(errno)), decision, "{errno:?}");
        }
    }

    #[test]
    fn a_shortage_here_is_never_the_backends_fault() {
        for errno in [
            Errno::ADDRNOTAVAIL,
            Errno::MFILE,
            Errno::NFILE,
            Errno::NOBUFS,
            Errno::NOMEM,
            Errno::PERM,
        ] {
            assert!(connect_failure(&os(errno)).is_local(), "{errno:?}");
        }
        for errno in [
            Errno::CONNREFUSED,
            Errno::TIMEDOUT,
            Errno::HOSTUNREACH,
            Errno::NETUNREACH,
            Errno::CONNRESET,
        ] {
            assert!(!connect_failure(&os(errno)).is_local(), "{errno:?}");
        }
    }
}

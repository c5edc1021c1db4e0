//! How a connection ended: the words of the access log, the metrics and the API.

use std::fmt;

/// Who ended a session, and why. Each accepted connection ends exactly once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum End {
    /// Both ways finished in order, the client first.
    ClientClosed,
    /// Both ways finished in order, the backend first.
    BackendClosed,
    /// The client reset the connection, or its host stopped answering.
    ClientReset,
    /// The same of the backend.
    BackendReset,
    /// No backend that was tried could be reached.
    ConnectFailed,
    /// No backend could take it: all down, full, or of weight 0.
    NoBackend,
    /// No byte either way for `idle_timeout`.
    IdleTimeout,
    /// One side had finished, and the other was silent for `half_close_timeout`.
    HalfCloseTimeout,
    /// It had lived for `max_session`.
    MaxSession,
    /// Its backend was removed, and the drain ran out.
    BackendRemoved,
    /// An operator ended it.
    EndedByOperator,
    /// The balancer stopped, and the drain ran out.
    Shutdown,
    /// Turned away at the door: a limit was reached.
    Refused,
}

/// How many ways there are to end.
pub const END_COUNT: usize = End::ALL.len();

impl End {
    /// Every way to end, in the order of their numbers.
    pub const ALL: [Self; 13] = [
        Self::ClientClosed,
        Self::BackendClosed,
        Self::ClientReset,
        Self::BackendReset,
        Self::ConnectFailed,
        Self::NoBackend,
        Self::IdleTimeout,
        Self::HalfCloseTimeout,
        Self::MaxSession,
        Self::BackendRemoved,
        Self::EndedByOperator,
        Self::Shutdown,
        Self::Refused,
    ];

    /// The word for it, outside.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ClientClosed => "client_closed",
            Self::BackendClosed => "backend_closed",
            Self::ClientReset => "client_reset",
            Self::BackendReset => "backend_reset",
            Self::ConnectFailed => "connect_failed",
            Self::NoBackend => "no_backend",
            Self::IdleTimeout => "idle_timeout",
            Self::HalfCloseTimeout => "half_close_timeout",
            Self::MaxSession => "max_session",
            Self::BackendRemoved => "backend_removed",
            Self::EndedByOperator => "ended_by_operator",
            Self::Shutdown => "shutdown",
            Self::Refused => "refused",
        }
    }
}

impl fmt::Display for End {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.pad(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_of_ends_is_in_the_order_of_their_numbers() {
        for (number, end) in End::ALL.into_iter().enumerate() {
            assert_eq!(end as usize, number);
        }
    }
}

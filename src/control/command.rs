//! What may be asked of a running balancer, and what comes of it: values, so that the API, the command line, reloads and discovery
//! ask the same thread for the same things.

use std::time::Duration;

use crossbeam_channel::{Sender, TrySendError};

use super::provide::{Bringer, Provided};
use super::replicas::Replicas;
use crate::api;
use crate::config;

/// What is to be changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// The file again.
    Reload,
    /// The program anew, without losing a connection; answered when it serves.
    Upgrade,
    /// One more backend in a service.
    Add {
        /// The service's name.
        service: String,
        /// The backend.
        backend: api::NewBackend,
    },
    /// Another weight or state.
    Change {
        /// The service's name.
        service: String,
        /// The backend's.
        backend: String,
        /// What of it.
        change: api::BackendChange,
    },
    /// One backend less: no new sessions, and the old ones have `drain` to end, else `[runtime] drain_timeout`.
    Remove {
        /// The service's name.
        service: String,
        /// The backend's.
        backend: String,
        /// How long.
        drain: Option<Duration>,
    },
    /// These are all backends that `bringer` brings to a service, from now on.
    Provide {
        /// The service's name.
        service: String,
        /// Who.
        bringer: Bringer,
        /// All of them.
        backends: Vec<config::Backend>,
    },
}

/// A command that was carried out.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// The backend as it is now.
    Backend(api::Backend),
    /// It takes no new session any more, and still has some.
    Draining(api::Backend),
    /// It is gone.
    Gone(api::Backend),
    /// What a reload changed, in words.
    Reloaded(Vec<String>),
    /// A new lb serves: its process id.
    Upgraded(u32),
    /// What came of those that were brought.
    Provided(Provided),
}

/// Why a command can't be carried out. Nothing was changed then.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// In one word.
    pub kind: RefusalKind,
    /// In one line that a person can act on.
    pub message: String,
    /// Each problem for itself, where there are several.
    pub details: Vec<String>,
}

/// Why not, in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefusalKind {
    /// No service has the name.
    UnknownService,
    /// No backend of the service has it.
    UnknownBackend,
    /// Another backend has it.
    NameTaken,
    /// A value that isn't allowed.
    BadValue,
    /// Something would be too many, or the policy has no place for it.
    Limit,
    /// The file can't be put in force.
    BadConfig,
    /// No new lb can be started, or it failed.
    BadUpgrade,
    /// lb is stopping.
    Stopping,
    /// More commands are waiting than anybody could want.
    Busy,
}

impl Refusal {
    /// In a word and in words.
    pub fn new(kind: RefusalKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            details: Vec::new(),
        }
    }

    pub(super) fn busy() -> Self {
        Self::new(RefusalKind::Busy, "too many changes are waiting; try again in a moment")
    }

    /// A new lb takes over: what is changed now would be lost.
    #[must_use]
    pub fn under_way() -> Self {
        Self::new(RefusalKind::Busy, "an upgrade is under way; try again in a few seconds")
    }

    /// lb is stopping: nothing can be changed any more.
    #[must_use]
    pub fn stopping() -> Self {
        Self::new(RefusalKind::Stopping, "lb is stopping; nothing can be changed any more")
    }
}

/// What came of a command.
pub type Outcome = Result<Answer, Refusal>;

/// A command and where its outcome goes.
pub(super) struct Request {
    pub(super) command: Command,
    pub(super) reply: Box<dyn FnOnce(Outcome) + Send>,
}

/// Commands that may wait.
pub(super) const REQUESTS_QUEUED: usize = 1024;

/// Whom to ask; cheap to clone.
#[derive(Clone)]
pub struct Commander {
    pub(super) requests: Sender<Request>,
    pub(super) replicas: Replicas,
}

impl Commander {
    /// Whom to ask about replicas.
    #[must_use]
    pub const fn replicas(&self) -> &Replicas {
        &self.replicas
    }

    /// Asks; `reply` is called on the control thread, so it must be quick and may not block. It is dropped without being called if
    /// that thread ends first.
    pub fn ask(&self, command: Command, reply: impl FnOnce(Outcome) + Send + 'static) {
        let request = Request {
            command,
            reply: Box::new(reply),
        };
        match self.requests.try_send(request) {
            Ok(()) => {}
            Err(TrySendError::Full(request)) => (request.reply)(Err(Refusal::busy())),
            Err(TrySendError::Disconnected(request)) => (request.reply)(Err(Refusal::stopping())),
        }
    }
}

//! How many replicas a service is to have, and which: asked of whoever keeps them, by anybody, from any thread.
//!
//! `elastic::managed` takes the requests; `admin` and automatic scaling make them. The control thread has no part in it.

use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};

use super::command::{Refusal, RefusalKind};
use crate::sys::Doorbell;

/// An answer comes within this, or never.
const ANSWER_MAX: Duration = Duration::from_secs(5);
/// Requests that may wait.
const REQUESTS_QUEUED: usize = 256;

/// What is wanted of a service's replicas.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReplicaOrder {
    /// To know them.
    Tell,
    /// So many more, some of them with these names.
    Add {
        /// How many.
        count: usize,
        /// At most as many as that.
        names: Vec<String>,
    },
    /// So many less, these among them.
    Remove {
        /// How many.
        count: usize,
        /// At most as many as that.
        names: Vec<String>,
    },
    /// So many, whoever they are.
    Set {
        /// How many.
        count: usize,
    },
}

/// The replicas that a service is to have, whatever each is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplicaNames {
    /// The service.
    pub service: String,
    /// In the order in which they came.
    pub names: Vec<String>,
}

/// What became of a request.
pub type ReplicaOutcome = Result<ReplicaNames, Refusal>;

/// A request and where its outcome goes.
pub struct ReplicaRequest {
    /// `None` = the first service that has any.
    pub service: Option<String>,
    /// What is wanted.
    pub order: ReplicaOrder,
    /// Called once, on the thread that keeps them.
    pub reply: Box<dyn FnOnce(ReplicaOutcome) + Send>,
}

/// Whom to ask; cheap to clone.
#[derive(Clone)]
pub struct Replicas {
    requests: Sender<ReplicaRequest>,
    doorbell: Arc<Doorbell>,
}

/// The other end of it.
#[derive(Clone)]
pub struct ReplicaRequests {
    /// What was asked.
    pub requests: Receiver<ReplicaRequest>,
    /// Rung at each request; whoever keeps the replicas may ring it too.
    pub doorbell: Arc<Doorbell>,
}

impl Replicas {
    /// Both ends.
    ///
    /// # Errors
    /// No descriptor is left.
    pub(super) fn new() -> std::io::Result<(Self, ReplicaRequests)> {
        let (send, requests) = bounded(REQUESTS_QUEUED);
        let doorbell = Arc::new(Doorbell::new()?);
        let asking = Self {
            requests: send,
            doorbell: Arc::clone(&doorbell),
        };
        Ok((asking, ReplicaRequests { requests, doorbell }))
    }

    /// Asks; `reply` is called on the thread that keeps the replicas, so it must be quick and may not block. It is dropped without
    /// being called if that thread ends first.
    pub fn ask(
        &self,
        service: Option<String>,
        order: ReplicaOrder,
        reply: impl FnOnce(ReplicaOutcome) + Send + 'static,
    ) {
        let reply = Box::new(reply);
        let request = ReplicaRequest { service, order, reply };
        match self.requests.try_send(request) {
            Ok(()) => self.doorbell.waker().wake(),
            Err(TrySendError::Full(request)) => (request.reply)(Err(Refusal::busy())),
            Err(TrySendError::Disconnected(request)) => (request.reply)(Err(Refusal::stopping())),
        }
    }

    /// Asks and waits for the answer, 5 seconds at most.
    ///
    /// # Errors
    /// It can't be done, or no answer came; in the latter case it may still be done.
    pub fn order(&self, service: &str, order: ReplicaOrder) -> ReplicaOutcome {
        let (send, answer) = bounded(1);
        self.ask(Some(service.to_owned()), order, move |outcome| {
            // Nobody waits any more: it took too long.
            drop(send.send(outcome));
        });
        let late = || Refusal::new(RefusalKind::Busy, "no answer within 5 seconds; it may still be done");
        answer.recv_timeout(ANSWER_MAX).unwrap_or_else(|_| Err(late()))
    }

    /// The names of a service's replicas.
    ///
    /// # Errors
    /// As [`Replicas::order`].
    pub fn names(&self, service: &str) -> Result<Vec<String>, Refusal> {
        self.order(service, ReplicaOrder::Tell).map(|told| told.names)
    }

    /// How many a service is to have.
    ///
    /// # Errors
    /// As [`Replicas::order`].
    pub fn count(&self, service: &str) -> Result<usize, Refusal> {
        self.names(service).map(|names| names.len())
    }

    /// So many more.
    ///
    /// # Errors
    /// As [`Replicas::order`].
    pub fn add(&self, service: &str, count: usize, names: Vec<String>) -> ReplicaOutcome {
        self.order(service, ReplicaOrder::Add { count, names })
    }

    /// So many less.
    ///
    /// # Errors
    /// As [`Replicas::order`].
    pub fn remove(&self, service: &str, count: usize, names: Vec<String>) -> ReplicaOutcome {
        self.order(service, ReplicaOrder::Remove { count, names })
    }

    /// So many.
    ///
    /// # Errors
    /// As [`Replicas::order`].
    pub fn set_wanted(&self, service: &str, count: usize) -> ReplicaOutcome {
        self.order(service, ReplicaOrder::Set { count })
    }
}

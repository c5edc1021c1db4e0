//! A backend on its way out: no new sessions, the old ones to a deadline, and its figures to its service at the end.

use std::sync::Arc;
use std::time::Duration;

use crate::observe::End;
use crate::pool::Backend;
use crate::types::{BackendId, Moment};
use crate::worker::{Order, WorkerHandle};

/// After its deadline the workers are told again so often: a connect that was under way may have come to stand since.
const TELL_AGAIN: Duration = Duration::from_secs(1);

/// A backend on its way out.
pub(super) struct Leaving {
    pub(super) backend: Arc<Backend>,
    /// When its sessions are ended.
    end_at: Moment,
    is_listed: bool,
}

impl Leaving {
    pub(super) const fn new(backend: Arc<Backend>, end_at: Moment) -> Self {
        Self {
            backend,
            end_at,
            is_listed: true,
        }
    }

    /// Its id, once: when it has no session any more, so that its pool may forget it.
    pub(super) fn unlist(&mut self) -> Option<BackendId> {
        let is_due = self.is_listed && self.backend.active() == 0;
        if is_due {
            self.is_listed = false;
        }
        is_due.then_some(self.backend.id)
    }

    /// Whether nobody can count on it any more: no pool lists it, no worker picks from an old one, no session holds it. Exact, since
    /// each of them owns a reference.
    pub(super) fn is_gone(&self) -> bool {
        !self.is_listed && Arc::strong_count(&self.backend) == 1
    }

    /// Ends its sessions if their time is over.
    pub(super) fn end_if_due(&mut self, now: Moment, service: &str, workers: &[WorkerHandle]) {
        if now < self.end_at {
            return;
        }
        self.end_at = now.plus(TELL_AGAIN);
        let left = self.backend.active();
        if left == 0 {
            return;
        }
        log::warn!(
            "{service}: {}: removed, and its time to drain is over: {left} connections are reset",
            self.backend.name
        );
        for worker in workers {
            worker.order(Order::EndOn(self.backend.id, End::BackendRemoved));
        }
    }
}

//! A backend on its way out: no new sessions, the old ones to a deadline, and its figures to its service at the end.

use std::time::Duration;

use crate::pool::{Backend, BackendTotals};
use crate::sync::{Arc, Ordering::Acquire, fence};
use crate::types::{BackendId, Moment};

/// After its deadline the workers are told again so often: a connect that was under way may have come to stand since.
const TELL_AGAIN: Duration = Duration::from_secs(1);

/// A backend on its way out.
pub(super) struct Leaving {
    pub(super) backend: Arc<Backend>,
    /// When its sessions are ended.
    end_at: Moment,
    /// What it had seen when its pool let go of it; `None` = it is a member still.
    counted: Option<BackendTotals>,
    is_told: bool,
}

impl Leaving {
    pub(super) const fn new(backend: Arc<Backend>, end_at: Moment) -> Self {
        Self {
            backend,
            end_at,
            counted: None,
            is_told: false,
        }
    }

    /// Once, when it has no session any more, so that its pool may forget it: what it has seen.
    pub(super) fn unlist(&mut self) -> Option<(BackendId, BackendTotals)> {
        if self.counted.is_some() || self.backend.active() > 0 {
            return None;
        }
        let totals = self.backend.totals();
        self.counted = Some(totals);
        Some((self.backend.id, totals))
    }

    /// What it has seen since its pool let go of it, once nobody can count on it any more: no pool lists it, no worker picks from an
    /// old one, no session holds it. Exact, since each of them owns a reference.
    pub(super) fn gone(&self) -> Option<BackendTotals> {
        let counted = self.counted?;
        if Arc::strong_count(&self.backend) > 1 {
            return None;
        }
        // The count is read relaxed; what others wrote before they let go is to be seen from here on.
        fence(Acquire);
        Some(self.backend.totals().since(&counted))
    }

    /// Its id, if its time is over and it has sessions still.
    pub(super) fn overdue(&mut self, now: Moment, service: &str) -> Option<BackendId> {
        if now < self.end_at {
            return None;
        }
        self.end_at = now.plus(TELL_AGAIN);
        let left = self.backend.active();
        if left == 0 {
            return None;
        }
        if !std::mem::replace(&mut self.is_told, true) {
            log::warn!(
                "{service}: {}: removed, and its time to drain is over: {left} connections are reset",
                self.backend.name
            );
        }
        Some(self.backend.id)
    }
}

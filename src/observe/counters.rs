//! Counters of a service and of the process. Only ever up; what is active is what came less what ended.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crossbeam_utils::CachePadded;

use super::end::{END_COUNT, End};

/// Which limit turned a connection away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefusedReason {
    /// `[runtime] max_connections`, or what the file-descriptor limit carries.
    ProcessLimit,
    /// The service's `max_connections`.
    ServiceLimit,
}

/// What one service has seen. The acceptor counts what comes, the workers what ends.
#[derive(Debug, Default)]
pub struct ServiceCounters {
    accepted: CachePadded<AtomicU64>,
    ends: CachePadded<[AtomicU64; END_COUNT]>,
    refused_by_process: AtomicU64,
    refused_by_service: AtomicU64,
    redispatches: AtomicU64,
}

/// A reading of [`ServiceCounters`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServiceTotals {
    /// Connections accepted, those refused at the door among them.
    pub accepted: u64,
    /// By [`End::ALL`]'s order.
    pub ends: [u64; END_COUNT],
    /// Tries on another backend.
    pub redispatches: u64,
    /// Refused because the process was full.
    pub refused_by_process: u64,
    /// Refused because the service was full.
    pub refused_by_service: u64,
}

impl ServiceCounters {
    /// One more connection came.
    pub fn accepted(&self) {
        self.accepted.fetch_add(1, Relaxed);
    }

    /// One ended.
    pub fn ended(&self, end: End) {
        if let Some(counter) = self.ends.get(end as usize) {
            counter.fetch_add(1, Relaxed);
        }
    }

    /// One came and was turned away.
    pub fn refused(&self, reason: RefusedReason) {
        self.accepted();
        self.ended(End::Refused);
        match reason {
            RefusedReason::ProcessLimit => &self.refused_by_process,
            RefusedReason::ServiceLimit => &self.refused_by_service,
        }
        .fetch_add(1, Relaxed);
    }

    /// Another backend was tried for a connection.
    pub fn redispatched(&self) {
        self.redispatches.fetch_add(1, Relaxed);
    }

    /// All figures. The ends are read before the acceptances, so that nothing has ever ended that hadn't come.
    #[must_use]
    pub fn totals(&self) -> ServiceTotals {
        let mut ends = [0; END_COUNT];
        for (total, counter) in ends.iter_mut().zip(self.ends.iter()) {
            *total = counter.load(Relaxed);
        }
        ServiceTotals {
            ends,
            accepted: self.accepted.load(Relaxed),
            redispatches: self.redispatches.load(Relaxed),
            refused_by_process: self.refused_by_process.load(Relaxed),
            refused_by_service: self.refused_by_service.load(Relaxed),
        }
    }
}

impl ServiceTotals {
    /// Connections that ended.
    #[must_use]
    pub fn ended(&self) -> u64 {
        self.ends.iter().fold(0, |sum, ended| sum.saturating_add(*ended))
    }

    /// Connections that live.
    #[must_use]
    pub fn active(&self) -> u64 {
        self.accepted.saturating_sub(self.ended())
    }
}

/// What the process has seen that belongs to no service.
#[derive(Debug, Default)]
pub struct ProcessCounters {
    /// accept(2) failed for want of descriptors or memory.
    pub accept_shortages: AtomicU64,
    /// accept(2) gave a connection that was gone already.
    pub accept_aborted: AtomicU64,
    /// Sessions and loops that a caught panic ended.
    pub panics: AtomicU64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepted_is_active_plus_ended() {
        let counters = ServiceCounters::default();
        for _ in 0..5 {
            counters.accepted();
        }
        counters.ended(End::ClientClosed);
        counters.ended(End::BackendReset);
        counters.refused(RefusedReason::ServiceLimit);
        let totals = counters.totals();
        assert_eq!((totals.accepted, totals.ended(), totals.active()), (6, 3, 3));
        assert_eq!(totals.refused_by_service, 1);
    }
}

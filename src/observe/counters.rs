//! Counters of a service and of the process. Only ever up; what is active is what came less what ended.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crossbeam_utils::CachePadded;

use super::end::{END_COUNT, End};
use super::lines::Drops;

/// What turned a connection away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefusedReason {
    /// `[runtime] max_connections`, or what the file-descriptor limit carries.
    ProcessLimit,
    /// The service's `max_connections`.
    ServiceLimit,
    /// `[runtime] max_memory`, or what the control group allows, is nearly used up.
    Memory,
    /// The client's network may not connect: `[service.access]`.
    Access,
    /// The client's source has as many connections as it may: `per_source`.
    SourceLimit,
    /// The client's source came more often than it may: `rate_per_source`.
    SourceRate,
    /// `[service.proxy_protocol]`: its peer isn't among those that may say whose a connection is.
    ProxyUntrusted,
    /// It began with something else than a header of the PROXY protocol, or with a wrong one.
    ProxyMalformed,
    /// Its header didn't come in time.
    ProxyTimeout,
}

/// How many reasons there are.
const REASON_COUNT: usize = RefusedReason::ALL.len();

impl RefusedReason {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 9] = [
        Self::ProcessLimit,
        Self::ServiceLimit,
        Self::Memory,
        Self::Access,
        Self::SourceLimit,
        Self::SourceRate,
        Self::ProxyUntrusted,
        Self::ProxyMalformed,
        Self::ProxyTimeout,
    ];

    /// In words, for who reads the log.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Self::ProcessLimit => "the connections that lb as a whole may have are taken",
            Self::ServiceLimit => "the connections that the service may have are taken",
            Self::Memory => "memory is short",
            Self::Access => "[service.access] doesn't let its network in",
            Self::SourceLimit => "it has as many connections as per_source allows",
            Self::SourceRate => "it comes more often than rate_per_source allows",
            Self::ProxyUntrusted => "it is in none of the networks of proxy_protocol.trusted",
            Self::ProxyMalformed => "its PROXY header is malformed",
            Self::ProxyTimeout => "its PROXY header didn't come in time",
        }
    }

    /// The label of the metric.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ProcessLimit => "process_limit",
            Self::ServiceLimit => "service_limit",
            Self::Memory => "memory",
            Self::Access => "access",
            Self::SourceLimit => "source_limit",
            Self::SourceRate => "source_rate",
            Self::ProxyUntrusted => "proxy_untrusted",
            Self::ProxyMalformed => "proxy_malformed",
            Self::ProxyTimeout => "proxy_timeout",
        }
    }
}

/// What came of an answer to the question which backends there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// Others than before.
    Changed,
    /// The same.
    Unchanged,
    /// There was no answer, or none that could be followed.
    Failed,
}

impl Found {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Changed, Self::Unchanged, Self::Failed];

    /// The label of the metric.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Changed => "changed",
            Self::Unchanged => "unchanged",
            Self::Failed => "failed",
        }
    }
}

/// What one service has seen. The acceptor counts what comes, the workers what ends.
#[derive(Debug, Default)]
pub struct ServiceCounters {
    accepted: CachePadded<AtomicU64>,
    ends: CachePadded<[AtomicU64; END_COUNT]>,
    /// Those of `ends` that no backend has counted as well.
    ends_without_backend: [AtomicU64; END_COUNT],
    /// By [`RefusedReason::ALL`]'s order.
    refused: [AtomicU64; REASON_COUNT],
    redispatches: AtomicU64,
    /// By [`Found::ALL`]'s order.
    found: [AtomicU64; Found::ALL.len()],
}

/// A reading of [`ServiceCounters`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServiceTotals {
    /// Connections accepted, those refused at the door among them.
    pub accepted: u64,
    /// By [`End::ALL`]'s order.
    pub ends: [u64; END_COUNT],
    /// Those among them of connections that ended without a backend: the others are counted by their backends too.
    pub ends_without_backend: [u64; END_COUNT],
    /// Tries on another backend.
    pub redispatches: u64,
    /// Refused, by [`RefusedReason::ALL`]'s order.
    pub refused: [u64; REASON_COUNT],
}

impl ServiceCounters {
    /// One more connection came.
    pub fn accepted(&self) {
        self.accepted.fetch_add(1, Relaxed);
    }

    /// One ended that had a backend, which counts it as well.
    pub fn ended(&self, end: End) {
        add_one(&self.ends, end);
    }

    /// One ended without a backend.
    pub fn ended_without_backend(&self, end: End) {
        add_one(&self.ends_without_backend, end);
        add_one(&self.ends, end);
    }

    /// One came and was turned away.
    pub fn refused(&self, reason: RefusedReason) {
        self.accepted();
        self.ended_without_backend(End::Refused);
        self.note_refused(reason);
    }

    /// Why one is refused that was accepted before; its end is counted by its ticket.
    pub fn note_refused(&self, reason: RefusedReason) {
        if let Some(counter) = self.refused.get(reason as usize) {
            counter.fetch_add(1, Relaxed);
        }
    }

    /// Somebody was asked which backends there are.
    pub fn found(&self, found: Found) {
        if let Some(counter) = self.found.get(found as usize) {
            counter.fetch_add(1, Relaxed);
        }
    }

    /// What came of those questions.
    pub fn found_totals(&self) -> impl Iterator<Item = (Found, u64)> {
        Found::ALL
            .into_iter()
            .zip(&self.found)
            .map(|(found, count)| (found, count.load(Relaxed)))
    }

    /// Another backend was tried for a connection.
    pub fn redispatched(&self) {
        self.redispatches.fetch_add(1, Relaxed);
    }

    /// All figures. The ends are read before the acceptances, so that nothing has ever ended that hadn't come.
    #[must_use]
    pub fn totals(&self) -> ServiceTotals {
        ServiceTotals {
            ends: read_ends(&self.ends),
            ends_without_backend: read_ends(&self.ends_without_backend),
            accepted: self.accepted.load(Relaxed),
            redispatches: self.redispatches.load(Relaxed),
            refused: read_ends(&self.refused),
        }
    }
}

fn add_one(ends: &[AtomicU64; END_COUNT], end: End) {
    if let Some(counter) = ends.get(end as usize) {
        counter.fetch_add(1, Relaxed);
    }
}

/// Counts as they stand, of ends by [`End::ALL`]'s order.
#[must_use]
pub fn read_ends<const COUNT: usize>(ends: &[AtomicU64; COUNT]) -> [u64; COUNT] {
    let mut totals = [0; COUNT];
    for (total, counter) in totals.iter_mut().zip(ends) {
        *total = counter.load(Relaxed);
    }
    totals
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
    /// Configurations that were read anew and put in force.
    pub reloads_succeeded: AtomicU64,
    /// Configurations that were read anew and had a fault: the old one stayed in force.
    pub reloads_failed: AtomicU64,
    /// Lines of the log that were lost.
    pub log_drops: Drops,
    /// Lines of the access log that were lost.
    pub access_log_drops: Drops,
    /// Samples that couldn't be kept on disk.
    pub history_drops: Drops,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_of_reasons_is_in_the_order_of_their_numbers() {
        for (number, reason) in RefusedReason::ALL.into_iter().enumerate() {
            assert_eq!(reason as usize, number);
        }
    }

    #[test]
    fn accepted_is_active_plus_ended() {
        let counters = ServiceCounters::default();
        for _ in 0..5 {
            counters.accepted();
        }
        counters.ended(End::ClientClosed);
        counters.ended_without_backend(End::ConnectFailed);
        counters.refused(RefusedReason::ServiceLimit);
        let totals = counters.totals();
        assert_eq!((totals.accepted, totals.ended(), totals.active()), (6, 3, 3));
        assert_eq!(totals.refused[RefusedReason::ServiceLimit as usize], 1);
        let alone = totals.ends_without_backend;
        assert_eq!(alone.iter().sum::<u64>(), 2);
        assert_eq!(
            (alone[End::ConnectFailed as usize], alone[End::Refused as usize]),
            (1, 1)
        );
    }
}

//! One backend: who it is and what it has seen.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use crossbeam_utils::CachePadded;

use super::checks::Checks;
use super::latency::PeakEwma;
use super::limiter;
use crate::observe::{CONNECT_SECONDS, CONNECTION_SECONDS, END_COUNT, End, Histogram, read_ends};
use crate::types::{BackendAddr, BackendId, CONNECT_FAILURE_COUNT, ConnectFailure, Way, WorkerId};

/// A backend, for as long as anything refers to it.
#[derive(Debug)]
pub struct Backend {
    /// Never used twice.
    pub id: BackendId,
    /// Its name in the configuration.
    pub name: Arc<str>,
    /// Where it listens.
    pub address: BackendAddr,
    /// Live sessions it may have; `u32::MAX` = no limit.
    connections_max: AtomicU32,
    /// Failed connects in a row after which traffic tells the prober; 0 = never.
    fall: AtomicU32,
    check_row: AtomicU32,
    active: CachePadded<AtomicU32>,
    failed_in_a_row: CachePadded<AtomicU32>,
    seen: CachePadded<Seen>,
    /// What its health checks found.
    pub checks: Checks,
    /// How long it takes to answer; measured only where the policy goes by it.
    pub latency: CachePadded<PeakEwma>,
    moved: Box<[CachePadded<Moved>]>,
}

/// What sessions add to when they get it, don't get it, or end: by all workers, so that a scrape of a thousand backends stays short and
/// small. A session comes here twice in its life.
#[derive(Debug)]
struct Seen {
    ends: [AtomicU64; END_COUNT],
    failures: [AtomicU64; CONNECT_FAILURE_COUNT],
    connect_seconds: Histogram<{ CONNECT_SECONDS.len() }>,
    connection_seconds: Histogram<{ CONNECTION_SECONDS.len() }>,
}

impl Seen {
    const fn new() -> Self {
        Self {
            ends: [const { AtomicU64::new(0) }; END_COUNT],
            failures: [const { AtomicU64::new(0) }; CONNECT_FAILURE_COUNT],
            connect_seconds: Histogram::new(&CONNECT_SECONDS),
            connection_seconds: Histogram::new(&CONNECTION_SECONDS),
        }
    }
}

/// Bytes that one worker moved. Only that worker writes, so adding needs no locked instruction.
#[derive(Debug, Default)]
struct Moved {
    to_backend: AtomicU64,
    to_client: AtomicU64,
}

/// What traffic tells the prober: connects to a backend fail, one after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TrafficFailure {
    /// Which backend.
    pub backend: BackendId,
    /// How the last one failed.
    pub failure: ConnectFailure,
    /// How many have.
    pub in_a_row: u32,
}

/// A reading of a backend's counters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BackendTotals {
    /// Sessions that hold it now, those still connecting among them.
    pub active: u32,
    /// Connections made.
    pub connected: u64,
    /// Connects that failed.
    pub failed: u64,
    /// Bytes from clients.
    pub bytes_to_backend: u64,
    /// Bytes to clients.
    pub bytes_to_client: u64,
    /// How sessions ended, by [`End::ALL`]'s order.
    pub ends: [u64; END_COUNT],
}

impl BackendTotals {
    /// Both together.
    #[must_use]
    pub fn plus(self, other: &Self) -> Self {
        let mut ends = self.ends;
        for (sum, more) in ends.iter_mut().zip(other.ends) {
            *sum = sum.saturating_add(more);
        }
        Self {
            ends,
            active: self.active.saturating_add(other.active),
            connected: self.connected.saturating_add(other.connected),
            failed: self.failed.saturating_add(other.failed),
            bytes_to_backend: self.bytes_to_backend.wrapping_add(other.bytes_to_backend),
            bytes_to_client: self.bytes_to_client.wrapping_add(other.bytes_to_client),
        }
    }

    /// What came since `earlier`, a reading of the same counters; nobody is active.
    #[must_use]
    pub fn since(self, earlier: &Self) -> Self {
        let mut ends = self.ends;
        for (sum, less) in ends.iter_mut().zip(earlier.ends) {
            *sum = sum.saturating_sub(less);
        }
        Self {
            ends,
            active: 0,
            connected: self.connected.saturating_sub(earlier.connected),
            failed: self.failed.saturating_sub(earlier.failed),
            bytes_to_backend: self.bytes_to_backend.wrapping_sub(earlier.bytes_to_backend),
            bytes_to_client: self.bytes_to_client.wrapping_sub(earlier.bytes_to_client),
        }
    }
}

impl Backend {
    /// A backend that nothing has used yet. `fall` as in [`Backend::note_failed`]; `workers` threads will count on it.
    #[must_use]
    pub fn new(
        id: BackendId,
        name: &str,
        address: BackendAddr,
        connections_max: Option<u32>,
        fall: u32,
        workers: u16,
    ) -> Self {
        Self {
            id,
            name: name.into(),
            address,
            connections_max: AtomicU32::new(connections_max.unwrap_or(u32::MAX)),
            fall: AtomicU32::new(fall),
            check_row: AtomicU32::new(0),
            active: CachePadded::default(),
            failed_in_a_row: CachePadded::default(),
            seen: CachePadded::new(Seen::new()),
            checks: Checks::new(),
            latency: CachePadded::default(),
            moved: (0..workers).map(|_| CachePadded::default()).collect(),
        }
    }

    /// Whether anything would find out that it is down.
    #[must_use]
    pub fn is_checked(&self) -> bool {
        self.fall.load(Relaxed) > 0
    }

    /// Another row of checks begins: its number, by which verdicts of the row before are known. Only `control` may.
    pub fn begin_checks(&self) -> u32 {
        self.checks.begin();
        self.check_row.fetch_add(1, Relaxed).wrapping_add(1)
    }

    /// The row of checks whose verdicts count.
    #[must_use]
    pub fn check_row(&self) -> u32 {
        self.check_row.load(Relaxed)
    }

    /// Other limits, as in [`Backend::new`]. Only `control` may.
    pub fn set_limits(&self, connections_max: Option<u32>, fall: u32) {
        self.connections_max.store(connections_max.unwrap_or(u32::MAX), Relaxed);
        self.fall.store(fall, Relaxed);
    }

    /// Live sessions it may have; `None` = no limit.
    #[must_use]
    pub fn connections_max(&self) -> Option<u32> {
        let max = self.connections_max.load(Relaxed);
        (max != u32::MAX).then_some(max)
    }

    /// Sessions that hold it now.
    #[must_use]
    pub fn active(&self) -> u32 {
        self.active.load(Relaxed)
    }

    /// Whether its own limit leaves room. A hint: only taking a guard decides.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.active() < self.connections_max.load(Relaxed)
    }

    /// One more session, if the limit leaves room, and if the count is still `seen` (where that is asked).
    pub(super) fn enter(&self, seen: Option<u32>) -> bool {
        limiter::enter(&self.active, &self.connections_max, seen)
    }

    /// One less. Only a guard may call this.
    pub(super) fn leave(&self) {
        limiter::leave(&self.active);
    }

    /// A connection stands, after a connect that took so long.
    pub fn note_connected(&self, took: Duration) {
        self.seen.connect_seconds.note(took);
        if self.failed_in_a_row.load(Relaxed) != 0 {
            self.failed_in_a_row.store(0, Relaxed);
        }
    }

    /// A connect failed. The number of failures in a row, when they are enough (`fall`, and each multiple of it) to tell the prober.
    /// One for a reason of this machine's own is counted, and held against nobody.
    pub fn note_failed(&self, failure: ConnectFailure) -> Option<u32> {
        if let Some(counter) = self.seen.failures.get(failure as usize) {
            counter.fetch_add(1, Relaxed);
        }
        if failure.is_local() {
            return None;
        }
        let in_a_row = self.failed_in_a_row.fetch_add(1, Relaxed).saturating_add(1);
        (in_a_row.checked_rem(self.fall.load(Relaxed)) == Some(0)).then_some(in_a_row)
    }

    /// A session that it had ended so, so long after its client was accepted.
    pub fn note_ended(&self, end: End, lasted: Duration) {
        if let Some(counter) = self.seen.ends.get(end as usize) {
            counter.fetch_add(1, Relaxed);
        }
        self.seen.connection_seconds.note(lasted);
    }

    /// It came back: what failed before says nothing about it any more.
    pub fn forget_failures(&self) {
        self.failed_in_a_row.store(0, Relaxed);
        self.latency.forget();
    }

    /// `worker` moved bytes. Only that worker's thread may say so.
    pub fn note_moved(&self, worker: WorkerId, way: Way, bytes: u64) {
        if let Some(moved) = self.moved.get(usize::from(worker.0)) {
            let counter = match way {
                Way::ToBackend => &moved.to_backend,
                Way::ToClient => &moved.to_client,
            };
            counter.store(counter.load(Relaxed).wrapping_add(bytes), Relaxed);
        }
    }

    /// All figures.
    #[must_use]
    pub fn totals(&self) -> BackendTotals {
        let mut totals = BackendTotals {
            active: self.active(),
            connected: self.seen.connect_seconds.count(),
            failed: self.failures().iter().fold(0, |sum, count| sum.saturating_add(*count)),
            ends: self.ends(),
            ..BackendTotals::default()
        };
        for moved in &self.moved {
            totals.bytes_to_backend = totals.bytes_to_backend.wrapping_add(moved.to_backend.load(Relaxed));
            totals.bytes_to_client = totals.bytes_to_client.wrapping_add(moved.to_client.load(Relaxed));
        }
        totals
    }
    /// How the sessions ended that it had, by [`End::ALL`]'s order.
    #[must_use]
    pub fn ends(&self) -> [u64; END_COUNT] {
        read_ends(&self.seen.ends)
    }

    /// Connects that failed, by [`ConnectFailure::ALL`]'s order.
    #[must_use]
    pub fn failures(&self) -> [u64; CONNECT_FAILURE_COUNT] {
        let mut totals = [0; CONNECT_FAILURE_COUNT];
        for (total, counter) in totals.iter_mut().zip(&self.seen.failures) {
            *total = counter.load(Relaxed);
        }
        totals
    }

    /// How long the connects took that succeeded.
    #[must_use]
    pub fn connect_seconds(&self) -> &Histogram<{ CONNECT_SECONDS.len() }> {
        &self.seen.connect_seconds
    }

    /// How long its sessions lasted, from accept to the end.
    #[must_use]
    pub fn connection_seconds(&self) -> &Histogram<{ CONNECTION_SECONDS.len() }> {
        &self.seen.connection_seconds
    }
}

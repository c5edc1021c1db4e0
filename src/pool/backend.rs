//! One backend: who it is and what it has seen.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

use crossbeam_utils::CachePadded;

use super::latency::PeakEwma;
use crate::types::{BackendAddr, BackendId, ConnectFailure, Way, WorkerId};

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
    connections_max: u32,
    /// Failed connects in a row after which traffic tells the prober; 0 = never.
    fall: u32,
    active: CachePadded<AtomicU32>,
    connected: AtomicU64,
    failed: AtomicU64,
    failed_in_a_row: AtomicU32,
    /// How long it takes to answer; measured only where the policy goes by it.
    pub latency: CachePadded<PeakEwma>,
    moved: Box<[CachePadded<Moved>]>,
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
            connections_max: connections_max.unwrap_or(u32::MAX),
            fall,
            active: CachePadded::default(),
            connected: AtomicU64::default(),
            failed: AtomicU64::default(),
            failed_in_a_row: AtomicU32::default(),
            latency: CachePadded::default(),
            moved: (0..workers).map(|_| CachePadded::default()).collect(),
        }
    }

    /// Whether anything would find out that it is down.
    #[must_use]
    pub const fn is_checked(&self) -> bool {
        self.fall > 0
    }

    /// Sessions that hold it now.
    #[must_use]
    pub fn active(&self) -> u32 {
        self.active.load(Relaxed)
    }

    /// Whether its own limit leaves room. A hint: only taking a guard decides.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.active() < self.connections_max
    }

    /// One more session, if the limit leaves room, and if the count is still `seen` (where that is asked).
    pub(super) fn enter(&self, seen: Option<u32>) -> bool {
        let mut active = self.active.load(Relaxed);
        loop {
            if active >= self.connections_max || seen.is_some_and(|seen| seen != active) {
                return false;
            }
            match self
                .active
                .compare_exchange_weak(active, active.saturating_add(1), Relaxed, Relaxed)
            {
                Ok(_) => return true,
                Err(now) => active = now,
            }
        }
    }

    /// One less. Only a guard may call this.
    pub(super) fn leave(&self) {
        let before = self.active.fetch_sub(1, Relaxed);
        debug_assert!(before > 0, "a guard was dropped twice");
    }

    /// A connection stands.
    pub fn note_connected(&self) {
        self.connected.fetch_add(1, Relaxed);
        if self.failed_in_a_row.load(Relaxed) != 0 {
            self.failed_in_a_row.store(0, Relaxed);
        }
    }

    /// A connect failed, and it was the backend's fault. The number of failures in a row, when they are enough (`fall`, and each
    /// multiple of it) to tell the prober.
    pub fn note_failed(&self) -> Option<u32> {
        self.failed.fetch_add(1, Relaxed);
        let in_a_row = self.failed_in_a_row.fetch_add(1, Relaxed).saturating_add(1);
        (in_a_row.checked_rem(self.fall) == Some(0)).then_some(in_a_row)
    }

    /// A connect failed for a reason of this machine's own: counted, and held against nobody.
    pub fn note_failed_here(&self) {
        self.failed.fetch_add(1, Relaxed);
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
            connected: self.connected.load(Relaxed),
            failed: self.failed.load(Relaxed),
            ..BackendTotals::default()
        };
        for moved in &self.moved {
            totals.bytes_to_backend = totals.bytes_to_backend.wrapping_add(moved.to_backend.load(Relaxed));
            totals.bytes_to_client = totals.bytes_to_client.wrapping_add(moved.to_client.load(Relaxed));
        }
        totals
    }
}

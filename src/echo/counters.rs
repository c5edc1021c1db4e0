//! What an echo server counts: one padded pair of counters for each worker, added up only when somebody asks.

use crossbeam_utils::CachePadded;
use std::sync::atomic::{AtomicU64, Ordering};

/// What an echo server has done since it started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EchoTotals {
    /// Connections taken, ended ones included.
    pub connections: u64,
    /// Bytes written back.
    pub bytes: u64,
}

/// One worker's counters. Only that worker writes them.
#[derive(Debug, Default)]
pub(super) struct WorkerCounters {
    connections: AtomicU64,
    bytes: AtomicU64,
}

impl WorkerCounters {
    pub(super) fn count_connection(&self) {
        self.connections.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn count_bytes(&self, bytes: usize) {
        self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }
}

/// The counters of all workers.
#[derive(Debug)]
pub(super) struct Counters {
    workers: Vec<CachePadded<WorkerCounters>>,
}

impl Counters {
    pub(super) fn new(workers: usize) -> Self {
        Self {
            workers: (0..workers).map(|_| CachePadded::default()).collect(),
        }
    }

    pub(super) fn worker(&self, index: usize) -> Option<&WorkerCounters> {
        self.workers.get(index).map(|padded| &**padded)
    }

    pub(super) fn totals(&self) -> EchoTotals {
        self.workers
            .iter()
            .fold(EchoTotals::default(), |sum, worker| EchoTotals {
                connections: sum
                    .connections
                    .saturating_add(worker.connections.load(Ordering::Relaxed)),
                bytes: sum.bytes.saturating_add(worker.bytes.load(Ordering::Relaxed)),
            })
    }
}

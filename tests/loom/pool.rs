//! The counts of `src/pool`, and a backend that has only those of them that its leaving looks at.

#[path = "../../src/pool/limiter.rs"]
mod limiter;

pub use limiter::{Limiter, Permit};

use crate::sync::{AtomicU32, Ordering::Relaxed};
use crate::types::BackendId;

/// Stands in for `src/pool/backend.rs`.
#[derive(Debug)]
pub struct Backend {
    pub id: BackendId,
    pub name: String,
    active: AtomicU32,
    connections_max: AtomicU32,
    ended: AtomicU32,
}

/// What it has seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BackendTotals {
    pub ended: u32,
}

impl BackendTotals {
    #[must_use]
    pub fn since(self, earlier: &Self) -> Self {
        Self {
            ended: self.ended - earlier.ended,
        }
    }
}

impl Backend {
    #[must_use]
    pub fn new(connections_max: u32) -> Self {
        Self {
            id: BackendId(1),
            name: "b".to_owned(),
            active: AtomicU32::new(0),
            connections_max: AtomicU32::new(connections_max),
            ended: AtomicU32::new(0),
        }
    }

    pub fn active(&self) -> u32 {
        self.active.load(Relaxed)
    }

    /// As in lb, where its guard calls them.
    pub fn enter(&self, seen: Option<u32>) -> bool {
        limiter::enter(&self.active, &self.connections_max, seen)
    }

    pub fn leave(&self) {
        limiter::leave(&self.active);
    }

    pub fn note_ended(&self) {
        self.ended.fetch_add(1, Relaxed);
    }

    pub fn totals(&self) -> BackendTotals {
        BackendTotals {
            ended: self.ended.load(Relaxed),
        }
    }
}

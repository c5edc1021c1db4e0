//! A service at run time: what the acceptor, the workers and `control` share of it.
//!
//! The balancer is swapped whole, by `control` alone, and read without a lock; everything else is fixed or an atomic count.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use arc_swap::ArcSwap;
use crossbeam_utils::CachePadded;

use crate::balance::{Balancer, Key};
use crate::observe::ServiceCounters;
use crate::pool::{BackendGuard, Limiter};
use crate::session::SessionOptions;
use crate::types::{BackendId, ServiceId};

/// One service.
#[derive(Debug)]
pub struct Service {
    /// Its place in the running configuration.
    pub id: ServiceId,
    /// Its name.
    pub name: Arc<str>,
    /// What it asks of its sessions.
    pub options: SessionOptions,
    /// Its own limit on live sessions.
    pub limiter: Arc<Limiter>,
    /// What it has seen.
    pub counters: ServiceCounters,
    balancer: ArcSwap<Balancer>,
    turn: CachePadded<AtomicU64>,
}

impl Service {
    /// A service that has seen nothing yet.
    #[must_use]
    pub fn new(
        id: ServiceId,
        name: &str,
        options: SessionOptions,
        connections_max: Option<u32>,
        balancer: Balancer,
    ) -> Self {
        Self {
            id,
            name: name.into(),
            options,
            limiter: Arc::new(Limiter::new(connections_max)),
            counters: ServiceCounters::default(),
            balancer: ArcSwap::from_pointee(balancer),
            turn: CachePadded::default(),
        }
    }

    /// Chooses a backend that hasn't been tried.
    ///
    /// Never locks: the turn is one `fetch_add`, the balancer a load of arc-swap (lock-free, no count shared between the readers;
    /// it allocates once a thread, at its first read), a backend's count a compare-and-swap, done again if another worker was first.
    #[must_use]
    pub fn pick(&self, tried: &[BackendId]) -> Option<BackendGuard> {
        let key = Key {
            turn: self.turn.fetch_add(1, Relaxed),
        };
        self.balancer.load().pick(key, tried)
    }

    /// The balancer in force.
    #[must_use]
    pub fn balancer(&self) -> Arc<Balancer> {
        self.balancer.load_full()
    }

    /// Puts another balancer in force. Only `control` may.
    pub fn swap_balancer(&self, balancer: Balancer) {
        self.balancer.store(Arc::new(balancer));
    }
}

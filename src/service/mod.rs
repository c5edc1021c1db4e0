//! A service at run time: what the acceptor, the workers and `control` share of it.
//!
//! The balancer is swapped whole, by `control` alone, and read without a lock; everything else is fixed or atomic.

mod retired;
mod sticky;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use arc_swap::ArcSwap;
use crossbeam_utils::CachePadded;

use crate::balance::{Balancer, HashKey, Key, dice};
use crate::observe::ServiceCounters;
use crate::pool::{Backend, BackendGuard, BackendTotals, Limiter};
use crate::session::SessionOptions;
use crate::types::{BackendId, ClientAddr, Moment, ServiceId};

use retired::Retired;
pub use sticky::StickySettings;
use sticky::StickyTable;

/// What a service is told.
#[derive(Clone, Debug)]
pub struct ServiceSettings {
    /// What it asks of its sessions.
    pub options: SessionOptions,
    /// Its own limit on live sessions.
    pub connections_max: Option<u32>,
    /// What the hashing policies know a client by.
    pub hash_key: HashKey,
    /// Whether clients keep their backends; `None` = each connection is the policy's.
    pub sticky: Option<StickySettings>,
    /// Of its random choices.
    pub seed: u64,
}

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
    hash_key: HashKey,
    sticky: Option<StickyTable>,
    seed: u64,
    balancer: ArcSwap<Balancer>,
    turn: CachePadded<AtomicU64>,
    retired: Retired,
}

impl Service {
    /// A service that has seen nothing yet.
    #[must_use]
    pub fn new(id: ServiceId, name: &str, settings: ServiceSettings, balancer: Balancer) -> Self {
        Self {
            id,
            name: name.into(),
            options: settings.options,
            limiter: Arc::new(Limiter::new(settings.connections_max)),
            counters: ServiceCounters::default(),
            hash_key: settings.hash_key,
            sticky: settings.sticky.map(StickyTable::new),
            seed: settings.seed,
            balancer: ArcSwap::from_pointee(balancer),
            turn: CachePadded::default(),
            retired: Retired::default(),
        }
    }

    /// Chooses a backend that hasn't been tried, for a client's connection.
    ///
    /// Never locks: the turn is one `fetch_add`, the balancer a load of arc-swap (lock-free, no count shared between the readers;
    /// it allocates once a thread, at its first read), a backend's count a compare-and-swap, done again if another worker was first.
    #[must_use]
    pub fn pick(&self, client: ClientAddr, now: Moment, tried: &[BackendId]) -> Option<BackendGuard> {
        let turn = self.turn.fetch_add(1, Relaxed);
        let key = Key {
            turn,
            dice: dice(self.seed, turn),
            id: self.hash_key.id(client, turn),
            sessions: self.limiter.active(),
            now,
        };
        let balancer = self.balancer.load();
        let Some(table) = &self.sticky else {
            return balancer.pick(key, tried);
        };
        let kept = table.find(client, now).and_then(|id| balancer.pool().find(id));
        let guard = kept
            .filter(|member| !tried.contains(&member.backend.id))
            .and_then(|member| BackendGuard::take(&member.backend));
        if guard.is_some() {
            return guard;
        }
        let guard = balancer.pick(key, tried);
        // Full or not reached this time is no reason to forget it; gone or down is.
        if let (None, Some(guard)) = (kept, &guard) {
            table.remember(client, guard.backend().id, now);
        }
        guard
    }

    /// A client got `backend` after those of `tried`, itself among them, were tried: if the one it had is of those, it has left it.
    pub fn note_redispatched(&self, client: ClientAddr, now: Moment, backend: BackendId, tried: &[BackendId]) {
        if let Some(table) = &self.sticky
            && table
                .find(client, now)
                .is_some_and(|had| had != backend && tried.contains(&had))
        {
            table.remember(client, backend, now);
        }
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

    /// Keeps what a backend has seen that is no member any more and has lost its last session, so that the service's sums don't fall.
    /// Only `control` may, once a backend, right after the pool without it is in force: for the moment between the two the sums lack it.
    pub fn retire(&self, backend: &Backend) {
        self.retired.add(&backend.totals());
    }

    /// What all its backends have seen, those that are gone among them.
    #[must_use]
    pub fn backend_totals(&self) -> BackendTotals {
        let balancer = self.balancer.load();
        let members = balancer.pool().members().iter();
        members.fold(self.retired.totals(), |sum, member| sum.plus(&member.backend.totals()))
    }

    /// Bytes moved since the start: from clients to backends, and from backends to clients.
    #[must_use]
    pub fn bytes(&self) -> (u64, u64) {
        let totals = self.backend_totals();
        (totals.bytes_to_backend, totals.bytes_to_client)
    }
}

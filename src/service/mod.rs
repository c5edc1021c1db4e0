//! A service at run time: what the acceptor, the workers and `control` share of it.
//!
//! The balancer is swapped whole, by `control` alone, and read without a lock; everything else is fixed or atomic. When a reload brings
//! other settings, the service is [renewed](Service::renewed): connections that come from then on get the new value, live sessions keep
//! the one they have, and both share what is counted.

mod sticky;

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use arc_swap::ArcSwap;
use crossbeam_utils::CachePadded;

use crate::balance::{Balancer, HashKey, Key, dice};
use crate::fence::{Fence, FenceSettings, Networks, SourcePermit};
use crate::observe::{RefusedReason, ServiceCounters};
use crate::pool::{BackendGuard, BackendTotals, Limiter};
use crate::proxy_protocol::Version;
use crate::session::SessionOptions;
use crate::types::{BackendId, ClientAddr, Moment, ServiceId};

use sticky::StickyTable;
pub use sticky::{Remembered, StickySettings};

/// Both ways of the PROXY protocol.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProxySettings {
    /// Each connection begins with a header, and only peers in these networks may connect; `None` = there is no header.
    pub trusted: Option<Networks>,
    /// What backends are told of a client; `None` = nothing.
    pub send: Option<Version>,
}

/// What a service is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceSettings {
    /// What it asks of its sessions.
    pub options: SessionOptions,
    /// Its own limit on live sessions.
    pub connections_max: Option<u32>,
    /// Who may connect, and how often.
    pub fence: FenceSettings,
    /// What the hashing policies know a client by.
    pub hash_key: HashKey,
    /// Whether clients keep their backends; `None` = each connection is the policy's.
    pub sticky: Option<StickySettings>,
    /// Who may say whose a connection is, and who is told.
    pub proxy: ProxySettings,
    /// Of its random choices.
    pub seed: u64,
}

/// One service.
#[derive(Debug)]
pub struct Service {
    /// Never used again, also when its name comes back.
    pub id: ServiceId,
    /// Its name.
    pub name: Arc<str>,
    /// What it asks of its sessions.
    pub options: SessionOptions,
    /// Its own limit on live sessions.
    pub limiter: Arc<Limiter>,
    /// What it has seen.
    pub counters: Arc<ServiceCounters>,
    fence: Fence,
    /// Who may say whose a connection is, and who is told.
    pub proxy: ProxySettings,
    hash_key: HashKey,
    sticky: Option<(StickySettings, Arc<StickyTable>)>,
    seed: u64,
    balancer: Arc<ArcSwap<Balancer>>,
    turn: Arc<CachePadded<AtomicU64>>,
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
            counters: Arc::default(),
            fence: Fence::new(settings.fence),
            proxy: settings.proxy,
            hash_key: settings.hash_key,
            sticky: settings
                .sticky
                .map(|settings| (settings, Arc::new(StickyTable::new(settings)))),
            seed: settings.seed,
            balancer: Arc::new(ArcSwap::from_pointee(balancer)),
            turn: Arc::default(),
        }
    }

    /// The same service with other settings: its seed, its counters, its limit, its balancer and whose turn it is are shared with the old value,
    /// and clients keep their backends unless their table is another one.
    #[must_use]
    pub fn renewed(&self, settings: ServiceSettings) -> Self {
        self.limiter.set_max(settings.connections_max);
        let table = |settings: StickySettings| match &self.sticky {
            Some((before, table)) if *before == settings => Arc::clone(table),
            _ => Arc::new(StickyTable::new(settings)),
        };
        Self {
            id: self.id,
            name: Arc::clone(&self.name),
            options: settings.options,
            limiter: Arc::clone(&self.limiter),
            counters: Arc::clone(&self.counters),
            fence: self.fence.renewed(settings.fence),
            proxy: settings.proxy,
            hash_key: settings.hash_key,
            sticky: settings.sticky.map(|settings| (settings, table(settings))),
            seed: self.seed,
            balancer: Arc::clone(&self.balancer),
            turn: Arc::clone(&self.turn),
        }
    }

    /// Lets a client in, or says what is against it; [`Fence::admit`].
    ///
    /// # Errors
    /// Why it is refused.
    pub fn admit(&self, client: IpAddr, now: Moment) -> Result<Option<SourcePermit>, RefusedReason> {
        self.fence.admit(client, now)
    }

    /// Whether a peer may connect: where a header says whose a connection is, only those may that are believed.
    #[must_use]
    pub fn trusts(&self, peer: ClientAddr) -> bool {
        let networks = self.proxy.trusted.as_ref();
        networks.is_none_or(|networks| networks.admits(peer.0.ip()))
    }

    /// Chooses a backend that hasn't been tried, for a client's connection.
    ///
    /// Never locks: the turn is one `fetch_add`, the balancer a load of arc-swap (lock-free, no count shared between the readers;
    /// it allocates once a thread, at its first read), a backend's count a compare-and-swap, done again if another worker was first.
    #[must_use]
    pub fn pick(&self, client: ClientAddr, now: Moment, tried: &[BackendId]) -> Option<BackendGuard> {
        let balancer = self.balancer.load();
        let remembered = self.sticky.as_ref().and_then(|(_, table)| table.find(client, now));
        let kept = remembered.and_then(|id| balancer.pool().find(id));
        let guard = kept
            .filter(|member| !tried.contains(&member.backend.id))
            .and_then(|member| BackendGuard::take(&member.backend));
        if guard.is_some() {
            return guard;
        }
        // Only who is the policy's to place takes a turn: those who come back would take the new ones' from them.
        let turn = self.turn.fetch_add(1, Relaxed);
        let key = Key {
            turn,
            dice: dice(self.seed, turn),
            id: self.hash_key.id(client, turn),
            sessions: self.limiter.active(),
            now,
        };
        let guard = balancer.pick(key, tried);
        // Full or not reached this time is no reason to forget it; gone or down is.
        if let (Some((_, table)), None, Some(guard)) = (&self.sticky, kept, &guard) {
            table.remember(client, guard.backend().id, now);
        }
        guard
    }

    /// A client got `backend` after connects to those of `failed` had failed: if the one it had is of those, it has left it.
    pub fn note_redispatched(&self, client: ClientAddr, now: Moment, backend: BackendId, failed: &[BackendId]) {
        if let Some((_, table)) = &self.sticky
            && table.find(client, now).is_some_and(|had| failed.contains(&had))
        {
            table.remember(client, backend, now);
        }
    }

    /// Which client had which backend, for another process; `name` gives a backend's number there, if it has one. `None`: clients
    /// don't keep their backends.
    #[must_use]
    pub fn remembered(&self, now: Moment, name: impl Fn(BackendId) -> Option<u32>) -> Option<Remembered> {
        self.sticky.as_ref().map(|(_, table)| table.remembered(now, name))
    }

    /// What another process remembered; of no use, and not used, if the table has another size.
    pub fn remember(&self, clients: &Remembered, now: Moment) {
        if let Some((_, table)) = &self.sticky {
            table.restore(clients, now);
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

    /// What all its backends have seen, those that are gone among them.
    #[must_use]
    pub fn backend_totals(&self) -> BackendTotals {
        self.balancer.load().pool().totals()
    }

    /// Bytes moved since the start: from clients to backends, and from backends to clients.
    #[must_use]
    pub fn bytes(&self) -> (u64, u64) {
        let totals = self.backend_totals();
        (totals.bytes_to_backend, totals.bytes_to_client)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::balance::PolicyName;
    use crate::pool::{Backend, Member, Pool};
    use crate::types::BackendAddr;
    use std::net::{Ipv4Addr, SocketAddr};
    use std::time::Duration;

    /// Round robin over so many, with a sticky table.
    fn sticky(backends: u32) -> Service {
        let span = Duration::from_secs(60);
        let options = SessionOptions {
            connect_timeout: span,
            connect_retries: 2,
            hedge_after: None,
            idle_timeout: span,
            half_close_timeout: span,
            peer_timeout: None,
            max_session: None,
            latency_every: None,
            is_introduced: false,
        };
        let settings = ServiceSettings {
            options,
            connections_max: None,
            fence: FenceSettings::default(),
            hash_key: HashKey::SourceIp,
            sticky: Some(StickySettings { ttl: span, size: 100 }),
            proxy: ProxySettings::default(),
            seed: 1,
        };
        let address = BackendAddr("127.0.0.1:1".parse().unwrap());
        let member = |id: u32| {
            let backend = Backend::new(BackendId(id), &format!("b{id}"), address, None, 3, 1);
            Member::new(Arc::new(backend), id + 1, 1)
        };
        let pool = Pool::new((0..backends).map(member).collect());
        Service::new(ServiceId(0), "s", settings, Balancer::new(pool, PolicyName::RoundRobin))
    }

    fn client(number: u32) -> ClientAddr {
        ClientAddr(SocketAddr::from((Ipv4Addr::from_bits(number), 7)))
    }

    fn pick(service: &Service, number: u32) -> u32 {
        let guard = service.pick(client(number), Moment::START, &[]);
        guard.unwrap().backend().id.0
    }

    #[test]
    fn a_client_that_comes_back_takes_no_turn_from_the_new_ones() {
        let service = sticky(2);
        assert_eq!(pick(&service, 0), 0);
        let new: Vec<u32> = (1..=6)
            .map(|client| {
                assert_eq!(pick(&service, 0), 0);
                pick(&service, client)
            })
            .collect();
        assert_eq!(new, [1, 0, 1, 0, 1, 0]);
    }

    #[test]
    fn a_client_leaves_only_a_backend_that_failed() {
        let service = sticky(3);
        assert_eq!(pick(&service, 0), 0);
        let got = |failed: &[BackendId]| {
            service.note_redispatched(client(0), Moment::START, BackendId(2), failed);
            pick(&service, 0)
        };
        assert_eq!(got(&[BackendId(1)]), 0);
        assert_eq!(got(&[BackendId(1), BackendId(0)]), 2);
    }
}

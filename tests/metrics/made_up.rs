//! Services that nobody runs: every figure that a page of metrics can have is there.

use super::*;
use lb::balance::{Balancer, HashKey, PolicyName};
use lb::observe::{Found, RefusedReason};
use lb::pool::{Admin, Backend, Health, Member, Pool};
use lb::service::{ProxySettings, Service, ServiceSettings};
use lb::session::SessionOptions;
use lb::types::{BackendAddr, BackendId, ConnectFailure, Moment, ServiceId, Way, WorkerId};

/// A service whose backend has an odd name, and two of one name; and one where nothing has happened yet.
pub(super) fn services() -> [Arc<Service>; 2] {
    let leaving = Member {
        admin: Admin::Leaving,
        health: Health::Down,
        ..member(2, "again", 1)
    };
    let odd = service("odd", vec![member(1, "a\\b\"c\nd", 1), leaving, member(3, "again", 7)]);
    for end in End::ALL {
        odd.counters.accepted();
        odd.counters.ended_without_backend(end);
    }
    odd.counters.refused(RefusedReason::ServiceLimit);
    odd.counters.redispatched();
    odd.counters.found(Found::Changed);
    let pool = odd.balancer();
    for member in pool.pool().members() {
        fill(&member.backend);
    }
    [odd, service("idle", vec![member(4, "a", 1)])]
}

fn member(id: u32, name: &str, weight: u16) -> Member {
    let address = BackendAddr("127.0.0.1:1".parse().unwrap());
    let backend = Backend::new(BackendId(id), name, address, None, 0, 2);
    Member::new(Arc::new(backend), id, weight)
}

fn service(name: &str, members: Vec<Member>) -> Arc<Service> {
    let span = Duration::from_secs(1);
    let options = SessionOptions {
        connect_timeout: span,
        connect_retries: 0,
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
        fence: lb::fence::FenceSettings::default(),
        hash_key: HashKey::SourceIp,
        sticky: None,
        proxy: ProxySettings::default(),
        seed: 1,
    };
    let balancer = Balancer::new(Pool::new(members), PolicyName::RoundRobin);
    Arc::new(Service::new(ServiceId(0), name, settings, balancer))
}

fn fill(backend: &Backend) {
    let millis = Duration::from_millis;
    for end in End::ALL {
        backend.note_ended(end, millis(10));
    }
    for failure in ConnectFailure::ALL {
        assert_eq!(backend.note_failed(failure), None);
    }
    for took in [0, 1, 10, 100, 1_000, 10_000, 10_000_000].map(millis) {
        backend.note_connected(took);
        backend.note_ended(End::ClientClosed, took);
        backend.checks.note_good(Moment::START, took);
    }
    backend.checks.note_bad(Moment::START, "no answer");
    backend.checks.note_inconclusive(Moment::START, "no descriptor");
    for (worker, way) in [(WorkerId(0), Way::ToBackend), (WorkerId(1), Way::ToClient)] {
        backend.note_moved(worker, way, u64::MAX / 2);
    }
}

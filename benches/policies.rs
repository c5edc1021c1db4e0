//! What choosing a backend costs, by policy, number of backends and state of the pool, and what a change of the pool costs the thread
//! that makes it: `cargo bench --bench policies`.
//!
//! One measured step is what a worker does when one session begins and the oldest one ends: `Service::pick`, and a guard given
//! back. Each backend has one session for good, so none is ever idle (the dearest case of `least_connections`), and on average
//! another that comes and goes, so that what ends was last touched long ago.
//! A new policy comes in by `PolicyName::all`. The figures stand in `docs/performance.md`.

#![allow(clippy::expect_used, reason = "what can't go on stops the measurement")]

use std::hint::black_box;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use criterion::{Bencher, BenchmarkId, Criterion};
use lb::balance::{Balancer, HashKey, PolicyName};
use lb::pool::{Backend, BackendGuard, Health, Member, Pool};
use lb::service::{ProxySettings, Service, ServiceSettings};
use lb::session::SessionOptions;
use lb::types::{BackendAddr, BackendId, ClientAddr, Moment, ServiceId};

const BACKENDS: [usize; 3] = [3, 100, 10_000];
const WORKERS: u16 = 2;

/// What the backend at a place is.
type State = fn(u16) -> (u16, Health);

const CASES: [(&str, State); 3] = [
    ("equal weights", |_| (1, Health::Up)),
    ("mixed weights", |place| (mixed_weight(place), Health::Up)),
    ("mixed weights, a tenth down", |place| {
        let health = if place.is_multiple_of(10) {
            Health::Down
        } else {
            Health::Up
        };
        (mixed_weight(place), health)
    }),
];

/// Any of 1 to 256, neighbours far apart: 97 has no divisor in common with 256, so each weight comes once in 256 places.
const fn mixed_weight(place: u16) -> u16 {
    (place.wrapping_mul(97) & 0xff).saturating_add(1)
}

fn member(place: u16, (weight, health): (u16, Health)) -> Member {
    let address = BackendAddr("127.0.0.1:9001".parse().expect("an address"));
    let id = BackendId(u32::from(place));
    let backend = Backend::new(id, &format!("backend-{place}"), address, None, 3, WORKERS);
    Member {
        health,
        ..Member::new(Arc::new(backend), u32::from(place).saturating_add(1), weight)
    }
}

fn pool(backends: usize, state: State) -> Pool {
    Pool::new((0..).take(backends).map(|place| member(place, state(place))).collect())
}

fn service(policy: PolicyName, backends: usize, state: State) -> Service {
    let options = SessionOptions {
        connect_timeout: Duration::from_secs(5),
        connect_retries: 2,
        hedge_after: None,
        idle_timeout: Duration::from_secs(300),
        half_close_timeout: Duration::from_secs(30),
        peer_timeout: None,
        max_session: None,
        latency_every: None,
        is_introduced: false,
    };
    let settings = ServiceSettings {
        options,
        connections_max: None,
        fence: lb::fence::FenceSettings::default(),
        hash_key: HashKey::Connection,
        sticky: None,
        proxy: ProxySettings::default(),
        seed: 1,
    };
    let balancer = Balancer::new(pool(backends, state), policy);
    Service::new(ServiceId(0), "bench", settings, balancer)
}

/// Anyone: the hashing policies go by the number of the connection.
fn client() -> ClientAddr {
    ClientAddr(SocketAddr::from((Ipv4Addr::LOCALHOST, 7)))
}

fn begin_one_end_one(bencher: &mut Bencher, service: &Service) {
    let balancer = service.balancer();
    let eligible = balancer.pool().eligible().iter();
    let for_good: Vec<_> = eligible.map(|member| BackendGuard::take(&member.backend)).collect();
    let mut live: Vec<_> = for_good
        .iter()
        .map(|_| service.pick(client(), Moment::START, &[]).expect("a backend"))
        .collect();
    // As many as a service counts of its sessions, which the bound on the load goes by.
    let _counted: Vec<_> = for_good
        .iter()
        .chain(&for_good)
        .map(|_| service.limiter.take())
        .collect();
    let mut oldest = 0;
    bencher.iter(|| {
        let guard = service
            .pick(client(), Moment::START, black_box(&[]))
            .expect("a backend");
        if oldest == live.len() {
            oldest = 0;
        }
        if let Some(place) = live.get_mut(oldest) {
            *place = guard;
        }
        oldest = oldest.saturating_add(1);
    });
}

fn main() {
    let mut criterion = Criterion::default()
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2))
        .sample_size(50)
        .configure_from_args();
    for backends in BACKENDS {
        for policy in PolicyName::all(u32::try_from(backends).expect("few")) {
            for (case, state) in CASES {
                let mut group = criterion.benchmark_group(format!("{}, {case}", label(policy)));
                let service = service(policy, backends, state);
                group.bench_with_input(BenchmarkId::from_parameter(backends), &service, begin_one_end_one);
                group.finish();
            }
        }
    }
    let mut group = criterion.benchmark_group("a new pool, mixed weights");
    group.sample_size(10);
    for backends in BACKENDS {
        for policy in PolicyName::all(u32::try_from(backends).expect("few")) {
            let pool = pool(backends, |place| (mixed_weight(place), Health::Up));
            group.bench_function(BenchmarkId::new(label(policy), backends), |bencher| {
                bencher.iter(|| Balancer::new(pool.clone(), policy));
            });
        }
    }
    group.finish();
    criterion.final_summary();
}

/// Its word in lb.toml, and whether it is bounded.
fn label(policy: PolicyName) -> &'static str {
    match policy {
        PolicyName::RoundRobin => "round_robin",
        PolicyName::LeastConnections => "least_connections",
        PolicyName::RandomTwo => "random_two",
        PolicyName::Fastest => "fastest",
        PolicyName::Ring { bound: None, .. } => "ring",
        PolicyName::Ring { .. } => "ring, load_factor 1.25",
        PolicyName::QuadraticRing { bound: None, .. } => "ring, quadratic",
        PolicyName::QuadraticRing { .. } => "ring, quadratic, load_factor 1.25",
        PolicyName::Maglev { bound: None, .. } => "maglev",
        PolicyName::Maglev { .. } => "maglev, load_factor 1.25",
    }
}

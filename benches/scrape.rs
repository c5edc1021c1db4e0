//! What a scrape costs: `cargo bench --bench scrape`. The page of metrics of one service, by number of backends, each with sessions
//! that ended in three ways, a failed connect, checks, and something in every histogram.

#![allow(clippy::expect_used, reason = "what can't go on stops the measurement")]

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion};
use lb::balance::{Balancer, HashKey, PolicyName};
use lb::control::render_metrics;
use lb::observe::{End, ProcessCounters};
use lb::pool::{Backend, Member, Pool};
use lb::service::{ProxySettings, Service, ServiceSettings};
use lb::session::SessionOptions;
use lb::types::{BackendAddr, BackendId, ConnectFailure, Moment, ServiceId, Way, WorkerId};

const BACKENDS: [u32; 3] = [10, 100, 1_000];
const WORKERS: u16 = 2;

fn member(number: u32) -> Member {
    let address = BackendAddr("127.0.0.1:9001".parse().expect("an address"));
    let backend = Backend::new(
        BackendId(number),
        &format!("server-{number}"),
        address,
        None,
        3,
        WORKERS,
    );
    let took = Duration::from_micros(u64::from(number).saturating_add(90));
    for end in [End::ClientClosed, End::BackendClosed, End::ClientReset] {
        backend.note_connected(took);
        backend.note_ended(end, took.saturating_mul(1000));
    }
    for (worker, way) in [(WorkerId(0), Way::ToBackend), (WorkerId(1), Way::ToClient)] {
        backend.note_moved(worker, way, 123_456_789);
    }
    let told = backend.note_failed(ConnectFailure::TimedOut);
    assert_eq!(told, None, "one is not enough");
    backend.checks.note_good(Moment::START, took);
    backend.checks.note_bad(Moment::START, "no answer");
    Member::new(Arc::new(backend), number, 1)
}

fn service(backends: u32) -> Arc<Service> {
    let second = Duration::from_secs(1);
    let options = SessionOptions {
        connect_timeout: second,
        connect_retries: 2,
        hedge_after: None,
        idle_timeout: second,
        half_close_timeout: second,
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
    let pool = Pool::new((1..=backends).map(member).collect());
    let balancer = Balancer::new(pool, PolicyName::RoundRobin);
    Arc::new(Service::new(ServiceId(0), "bench", settings, balancer))
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    let mut group = criterion.benchmark_group("scrape");
    let counters = Arc::new(ProcessCounters::default());
    for backends in BACKENDS {
        let services = [service(backends)];
        group.bench_with_input(BenchmarkId::from_parameter(backends), &services, |bencher, services| {
            bencher.iter(|| render_metrics(black_box(services), &counters, WORKERS.into()));
        });
    }
    group.finish();
    criterion.final_summary();
}

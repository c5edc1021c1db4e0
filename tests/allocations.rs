//! What the data path takes from the allocator: nothing, to choose a backend.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use alloc_tracker::{Allocator, Session};
use lb::balance::{Balancer, HashKey, PolicyName};
use lb::observe::End;
use lb::pool::{Backend, Health, Member, Pool};
use lb::service::{ProxySettings, Service, ServiceSettings, StickySettings};
use lb::session::SessionOptions;
use lb::types::{BackendAddr, BackendId, ClientAddr, ConnectFailure, Moment, ServiceId, Way, WorkerId};

/// Counts what each thread allocates, for all tests of this program.
#[global_allocator]
static ALLOCATOR: Allocator<std::alloc::System> = Allocator::system();

/// How often `run` asks the allocator for memory on this thread.
fn allocations(run: impl FnOnce()) -> u64 {
    let session = Session::new().no_stdout().no_file();
    let operation = session.operation("run");
    let span = operation.measure_thread().iterations(1);
    run();
    drop(span);
    let report = session.to_report();
    report
        .operations()
        .map(|(_, operation)| operation.total_allocations_count())
        .sum()
}

/// Its backends have all weights; a tenth is down, and each has room for so many sessions.
fn service(policy: PolicyName, backends: u16, sessions_max: Option<u32>, sticky: Option<StickySettings>) -> Service {
    let member = |place: u16| {
        let number = u32::from(place);
        let address = BackendAddr("127.0.0.1:1".parse().unwrap());
        let backend = Backend::new(
            BackendId(number),
            &format!("backend-{place}"),
            address,
            sessions_max,
            3,
            1,
        );
        Member {
            health: if place % 10 == 9 { Health::Down } else { Health::Up },
            ..Member::new(Arc::new(backend), number + 1, place.wrapping_mul(97) % 256 + 1)
        }
    };
    let balancer = Balancer::new(Pool::new((0..backends).map(member).collect()), policy);
    let second = Duration::from_secs(1);
    let options = SessionOptions {
        connect_timeout: second,
        connect_retries: 2,
        hedge_after: None,
        idle_timeout: second,
        half_close_timeout: second,
        peer_timeout: None,
        max_session: None,
        latency_every: Some(second),
        is_introduced: false,
    };
    let settings = ServiceSettings {
        options,
        connections_max: None,
        fence: lb::fence::FenceSettings::default(),
        hash_key: HashKey::SourceAddress,
        sticky,
        proxy: ProxySettings::default(),
        seed: 1,
    };
    Service::new(ServiceId(0), "test", settings, balancer)
}

#[test]
fn an_allocation_is_counted() {
    assert_eq!(allocations(|| drop(std::hint::black_box(Box::new(1)))), 1);
}

#[test]
fn a_pick_never_allocates_whatever_the_policy_the_size_and_the_outcome() {
    let stickiness = StickySettings {
        ttl: Duration::from_secs(60),
        size: 10,
    };
    for backends in [3, 100, 10_000] {
        let policies = PolicyName::all(u32::from(backends)).into_iter();
        for (policy, sticky) in policies.flat_map(|policy| [(policy, None), (policy, Some(stickiness))]) {
            let tried = [BackendId(0), BackendId(2)];
            let free = service(policy, backends, None, sticky);
            let full = service(policy, backends, Some(0), sticky);
            let pick = |service: &Service, tried: &[BackendId], number: u16| {
                let client = ClientAddr(SocketAddr::from((Ipv4Addr::LOCALHOST, number)));
                service.pick(client, Moment::START, tried).is_some()
            };
            // arc-swap keeps a note of each thread that reads, which it makes at the thread's first read.
            assert!(pick(&free, &[], 0));
            let picks = || {
                for number in 0..100 {
                    assert!(pick(&free, &[], number));
                    assert!(pick(&free, &tried, number));
                    assert!(!pick(&full, &[], number));
                }
            };
            assert_eq!(allocations(picks), 0, "{policy:?}, {backends} backends");
        }
    }
}

#[test]
fn what_a_session_counts_never_allocates() {
    let service = service(PolicyName::RoundRobin, 1, None, None);
    let balancer = service.balancer();
    let backend = &balancer.pool().members()[0].backend;
    let count = || {
        for end in End::ALL {
            backend.note_connected(Duration::from_micros(70));
            backend.note_moved(WorkerId(0), Way::ToClient, 1);
            assert_eq!(backend.note_failed(ConnectFailure::NoLocalPort), None);
            backend.note_ended(end, Duration::from_secs(3));
            service.counters.accepted();
            service.counters.ended(end);
        }
    };
    assert_eq!(allocations(count), 0);
    assert_eq!(backend.ends(), [1; End::ALL.len()]);
}

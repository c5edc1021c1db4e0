//! What the data path takes from the allocator: nothing, to choose a backend.

use std::sync::Arc;
use std::time::Duration;

use alloc_tracker::{Allocator, Session};
use lb::balance::{Balancer, PolicyName};
use lb::pool::{Admin, Backend, Health, Member, Pool};
use lb::service::Service;
use lb::session::SessionOptions;
use lb::types::{BackendAddr, BackendId, ServiceId};

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
fn service(policy: PolicyName, backends: u16, sessions_max: Option<u32>) -> Service {
    let member = |place: u16| Member {
        backend: Arc::new(Backend::new(
            BackendId(u32::from(place)),
            &format!("backend-{place}"),
            BackendAddr("127.0.0.1:1".parse().unwrap()),
            sessions_max,
            3,
            1,
        )),
        weight: place.wrapping_mul(97) % 256 + 1,
        backup: false,
        health: if place % 10 == 9 { Health::Down } else { Health::Up },
        admin: Admin::Active,
    };
    let balancer = Balancer::new(Pool::new((0..backends).map(member).collect()), policy);
    let second = Duration::from_secs(1);
    let options = SessionOptions {
        connect_timeout: second,
        connect_retries: 2,
        hedge_after: None,
        idle_timeout: second,
        half_close_timeout: second,
    };
    Service::new(ServiceId(0), "test", options, None, balancer)
}

#[test]
fn an_allocation_is_counted() {
    assert_eq!(allocations(|| drop(std::hint::black_box(Box::new(1)))), 1);
}

#[test]
fn a_pick_never_allocates_whatever_the_policy_the_size_and_the_outcome() {
    for policy in PolicyName::ALL {
        for backends in [3, 100, 10_000] {
            let tried = [BackendId(0), BackendId(2)];
            let free = service(policy, backends, None);
            let full = service(policy, backends, Some(0));
            // arc-swap keeps a note of each thread that reads, which it makes at the thread's first read.
            assert!(free.pick(&[]).is_some());
            let picks = || {
                for _ in 0..100 {
                    assert!(free.pick(&[]).is_some());
                    assert!(free.pick(&tried).is_some());
                    assert!(full.pick(&[]).is_none());
                }
            };
            assert_eq!(allocations(picks), 0, "{policy:?}, {backends} backends");
        }
    }
}

//! What the tests play with: real programs, scripted peers, and waits that end.
//!
//! Every wait here awaits an event or looks again after a moment, and has a deadline; what it waited for is told when it fails.

mod backend;
mod balancer;
mod browser;
mod config;
mod http;
mod namespace;
mod noise;
mod peer;
mod ports;
mod proc;
mod program;

use std::io::Write;
use std::time::{Duration, Instant};

use crossbeam_channel::after;
use rustix::process::{Resource, Rlimit};

pub(crate) use backend::{Backend, Blackhole, Refusing};
pub(crate) use balancer::{Balancer, Closing, client_command, lb_command, run_by, tcp_server};
pub(crate) use browser::Browser;
pub(crate) use config::Config;
pub(crate) use http::Http;
pub(crate) use namespace::{Namespace, Netns};
pub(crate) use noise::Noise;
pub(crate) use peer::{Peer, exchanges_until, expect_refusal, greeted_by};
pub(crate) use ports::free_ports;
pub(crate) use proc::{Process, children_of, everybody};
pub(crate) use program::{Program, Signal, has};

/// How long anything may take that should happen at once: long, because the machine may be busy with other tests.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
/// Between two looks at what tells no event.
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// Looks until `look` finds something. `what` is told if that takes longer than [`PATIENCE`].
pub(crate) fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "waited {PATIENCE:?} in vain: {what}");
        pass(LOOK_AGAIN);
    }
}

/// Lets `span` pass: for figures over a span of time only, never to give something "time enough".
pub(crate) fn pass(span: Duration) {
    after(span).recv().expect("the timer's own channel");
}

/// Whether the long forms are wanted. Not: it says so, past the capture of the test harness.
pub(crate) fn is_full_run(what: &str) -> bool {
    let is_full = std::env::var_os("LB_TEST_FULL").is_some_and(|value| value == "1");
    if !is_full {
        tell(&format!("short form: {what} is for LB_TEST_FULL=1"));
    }
    is_full
}

/// A line for whoever runs the tests, also when they succeed.
pub(crate) fn tell(line: &str) {
    let said = writeln!(std::io::stderr().lock(), "note: {line}");
    drop(said); // with stderr closed there is nobody to tell
}

/// Runs `act(number)` in `count` threads at once; their results in order.
pub(crate) fn at_once<T: Send>(count: usize, act: impl Fn(usize) -> T + Sync) -> Vec<T> {
    let barrier = std::sync::Barrier::new(count);
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..count)
            .map(|number| {
                let (act, barrier) = (&act, &barrier);
                scope.spawn(move || {
                    barrier.wait();
                    act(number)
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}

/// For the descriptors of this process.
pub(crate) fn raise_fd_limit() {
    let limit = rustix::process::getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    rustix::process::setrlimit(Resource::Nofile, raised).unwrap();
}

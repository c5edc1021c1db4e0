//! Words to write a play with, where the seeds leave off: a session, what its peers do, and what came of it.

use std::time::Duration;

use lb::observe::End;
use lb::session::SessionOptions;
use lb::types::Moment;

use super::kernel::{Buffers, CLIENT, Fate, Fd, Id, Kernel};
use super::model;
use super::rng::Rng;
use super::stage::Stage;
use super::world::SimWorld;

pub(super) const SCRATCH: usize = 64;
pub(super) const BACKEND: Id = 1;
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_millis(100);
pub(super) const HEDGE_AFTER: Duration = Duration::from_millis(10);
pub(super) const IDLE_TIMEOUT: Duration = Duration::from_secs(60);
pub(super) const HALF_CLOSE_TIMEOUT: Duration = Duration::from_secs(30);
pub(super) const WIDE: Buffers = Buffers {
    receive: 1 << 20,
    send: 1 << 20,
    peer: 1 << 20,
};
/// Takes this much and no more while the peer doesn't read.
pub(super) const NARROW: Buffers = Buffers {
    receive: 1 << 20,
    send: 30,
    peer: 10,
};

pub(super) fn world(buffers: Buffers, fates: &[Fate]) -> SimWorld {
    world_with(buffers, fates, |_| ())
}

pub(super) fn world_with(buffers: Buffers, fates: &[Fate], set: impl FnOnce(&mut SessionOptions)) -> SimWorld {
    let mut options = SessionOptions {
        connect_timeout: CONNECT_TIMEOUT,
        connect_retries: 2,
        hedge_after: Some(HEDGE_AFTER),
        idle_timeout: IDLE_TIMEOUT,
        half_close_timeout: HALF_CLOSE_TIMEOUT,
        peer_timeout: None,
        max_session: None,
        latency_every: None,
        is_introduced: false,
    };
    set(&mut options);
    let mut kernel = Kernel::new(1, Rng::new(1));
    kernel.is_tracing = true;
    kernel.pipe_bytes = 4 * SCRATCH;
    let mut world = SimWorld::new(kernel, options, SCRATCH, buffers);
    world.plans = fates.iter().map(|fate| (*fate, Duration::ZERO)).collect();
    world
}

/// A client and a backend that took the connection.
pub(super) fn relay(client: Buffers, backend: Buffers) -> Stage {
    relay_with(client, backend, |_| ())
}

/// The same with other options.
pub(super) fn relay_with(client: Buffers, backend: Buffers, set: impl FnOnce(&mut SessionOptions)) -> Stage {
    let mut stage = Stage::start(world_with(backend, &[Fate::Up], set), client);
    connects(&stage);
    settle(&mut stage);
    assert_eq!(stage.kernel.borrow().winner, Some(BACKEND));
    stage
}

/// Every connect under way comes to its end.
pub(super) fn connects(stage: &Stage) {
    let count = stage.kernel.borrow().sockets.len();
    for id in 1..count {
        stage.kernel.borrow_mut().settle(id);
    }
}

/// Tells the session what there is until there is nothing more; how many calls that took.
pub(super) fn settle(stage: &mut Stage) -> u32 {
    let mut calls = 0;
    loop {
        let count = stage.kernel.borrow().sockets.len();
        for id in 0..count {
            stage.poll(id);
        }
        if stage.fetched.is_empty() && !stage.is_queued {
            break;
        }
        while !stage.fetched.is_empty() {
            stage.handle(0);
            calls += 1;
        }
        if stage.is_queued {
            stage.turn();
            calls += 1;
        }
        assert!(calls < 1000, "{}", story(stage));
    }
    model::check_rest(stage);
    fine(stage);
    calls
}

/// The peers' kernels and the peers take everything, as long as there is something.
pub(super) fn drain(stage: &mut Stage) {
    for _ in 0..100_000 {
        let is_idle = {
            let mut kernel = stage.kernel.borrow_mut();
            for id in 0..kernel.sockets.len() {
                if kernel.sockets[id].fd == Fd::Open {
                    kernel.carry(id, usize::MAX);
                    kernel.peer_reads(id, usize::MAX);
                }
            }
            kernel
                .sockets
                .iter()
                .all(|socket| !socket.edge && socket.unacknowledged == 0 || socket.fd != Fd::Open)
        };
        settle(stage);
        if is_idle {
            return;
        }
    }
    panic!("never done: {}", story(stage));
}

/// Time passes, deadline by deadline, until it ends; when it did.
pub(super) fn wait_for_end(stage: &mut Stage) -> Duration {
    let start = stage.now();
    let mut calls = 0;
    while stage.end.is_none() {
        let (now, deadline) = (stage.now(), stage.deadline());
        assert!(deadline < Moment::NEVER && calls < 5_000, "{}", story(stage));
        stage.advance(deadline.since(now));
        model::check_overdue(stage);
        stage.turn();
        settle(stage);
        calls += 1;
    }
    stage.now().since(start)
}

pub(super) fn story(stage: &Stage) -> String {
    let violations = stage.violations().join("; ");
    format!("{violations}\n{}", stage.kernel.borrow().notes.join("\n"))
}

pub(super) fn fine(stage: &Stage) {
    assert!(stage.violations().is_empty(), "{}", story(stage));
}

pub(super) fn ended(stage: &Stage, end: End) {
    assert_eq!(stage.end, Some(end), "{}", story(stage));
    fine(stage);
}

pub(super) fn sends(stage: &Stage, id: Id, bytes: usize) {
    assert!(stage.kernel.borrow_mut().peer_sends(id, bytes));
}

pub(super) fn fins(stage: &Stage, id: Id) {
    stage.kernel.borrow_mut().peer_fins(id);
}

pub(super) fn resets(stage: &Stage, id: Id) {
    stage.kernel.borrow_mut().peer_resets(id);
}

pub(super) fn sent(stage: &Stage, id: Id) -> u64 {
    stage.kernel.borrow().sockets[id].sent
}

pub(super) fn other(id: Id) -> Id {
    if id == CLIENT { BACKEND } else { CLIENT }
}

pub(super) fn closed_by(id: Id) -> End {
    if id == CLIENT {
        End::ClientClosed
    } else {
        End::BackendClosed
    }
}

pub(super) fn reset_by(id: Id) -> End {
    if id == CLIENT {
        End::ClientReset
    } else {
        End::BackendReset
    }
}

/// Enough full reads for splicing to begin, delivered.
pub(super) fn warm_up(stage: &mut Stage, source: Id) {
    sends(stage, source, 4 * SCRATCH);
    drain(stage);
    assert!(stage.kernel.borrow().pipes_ever > 0, "{}", story(stage));
}

/// Holds bytes that the other side doesn't take.
pub(super) fn blocked(source: Id) -> Stage {
    let mut stage = relay(NARROW, NARROW);
    sends(&stage, source, 1000);
    settle(&mut stage);
    stage
}

/// One side has finished.
pub(super) fn half_closed(first: Id) -> Stage {
    let mut stage = relay(NARROW, NARROW);
    fins(&stage, first);
    settle(&mut stage);
    stage
}

/// One side is gone, and the other has not acknowledged all it sent.
pub(super) fn resetting(dead: Id) -> Stage {
    let mut stage = relay(NARROW, NARROW);
    sends(&stage, dead, 20);
    resets(&stage, dead);
    settle(&mut stage);
    assert_eq!(sent(&stage, other(dead)), 20);
    assert_eq!(stage.end, None, "{}", story(&stage));
    assert_eq!(stage.kernel.borrow().sockets[dead].fd, Fd::Reset, "{}", story(&stage));
    stage
}

//! What a session measures of its backend, case by case.

use std::time::Duration;

use super::kernel::{CLIENT, Fate, Id};
use super::script::*;
use super::stage::Stage;

const EVERY: Duration = Duration::from_millis(250);
const MILLI: Duration = Duration::from_millis(1);

fn measured() -> Stage {
    let mut world = world(WIDE, &[Fate::Up]);
    world.options.latency_every = Some(EVERY);
    let mut stage = Stage::start(world, WIDE);
    connects(&stage);
    settle(&mut stage);
    stage
}

/// One side says something, `after` the last did.
fn says(stage: &mut Stage, id: Id, after: Duration) {
    stage.advance(after);
    sends(stage, id, 10);
    settle(stage);
}

#[test]
fn an_answer_is_timed_from_the_clients_bytes_to_the_backends() {
    let mut stage = measured();
    says(&mut stage, CLIENT, 7 * MILLI);
    says(&mut stage, BACKEND, 20 * MILLI);
    assert_eq!(stage.world.latencies, [20 * MILLI], "{}", story(&stage));
}

#[test]
fn the_kernels_round_trip_counts_where_it_is_longer() {
    let mut stage = measured();
    stage.kernel.borrow_mut().round_trip = Some(50 * MILLI);
    says(&mut stage, CLIENT, MILLI);
    says(&mut stage, BACKEND, 20 * MILLI);
    assert_eq!(stage.world.latencies, [50 * MILLI], "{}", story(&stage));
}

#[test]
fn a_session_measures_again_only_when_its_time_has_come() {
    let mut stage = measured();
    for _ in 0..100 {
        says(&mut stage, CLIENT, MILLI);
        says(&mut stage, BACKEND, 9 * MILLI);
    }
    // In a second, each 250 ms and the 10 ms of an exchange at most.
    assert_eq!(stage.world.latencies, [9 * MILLI; 4], "{}", story(&stage));
}

#[test]
fn what_a_backend_says_unasked_measures_nothing() {
    let mut stage = measured();
    says(&mut stage, BACKEND, 30 * MILLI);
    says(&mut stage, BACKEND, 30 * MILLI);
    assert_eq!(stage.world.latencies, [], "{}", story(&stage));
}

#[test]
fn where_nobody_asks_nothing_is_measured() {
    let mut stage = relay(WIDE, WIDE);
    says(&mut stage, CLIENT, MILLI);
    says(&mut stage, BACKEND, MILLI);
    assert_eq!(stage.world.latencies, [], "{}", story(&stage));
}

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
    assert_eq!(stage.world.unanswered, [], "{}", story(&stage));
}

#[test]
fn a_question_in_pieces_is_timed_from_the_last() {
    let mut stage = measured();
    for _ in 0..5 {
        says(&mut stage, CLIENT, 7 * MILLI);
    }
    says(&mut stage, BACKEND, 20 * MILLI);
    assert_eq!(stage.world.latencies, [20 * MILLI], "{}", story(&stage));
}

/// A session whose client asks once, and that ends like this 300 ms later.
fn unanswered(end: fn(&mut Stage)) -> Stage {
    let mut stage = measured();
    says(&mut stage, CLIENT, MILLI);
    stage.advance(300 * MILLI);
    end(&mut stage);
    settle(&mut stage);
    assert_eq!(stage.world.latencies, [], "{}", story(&stage));
    stage
}

/// One side finishes, then the other.
fn finishes(stage: &mut Stage, first: Id) {
    fins(stage, first);
    settle(stage);
    fins(stage, other(first));
}

#[test]
fn a_first_question_without_an_answer_counts_for_the_time_that_the_client_waited() {
    let ends: [fn(&mut Stage); 2] = [|stage| resets(stage, CLIENT), |stage| finishes(stage, CLIENT)];
    for stage in ends.map(unanswered) {
        assert_eq!(stage.world.unanswered, [300 * MILLI], "{}", story(&stage));
    }
}

#[test]
fn a_backend_that_ends_the_session_instead_of_answering_will_never_answer() {
    let ends: [fn(&mut Stage); 2] = [|stage| resets(stage, BACKEND), |stage| finishes(stage, BACKEND)];
    for stage in ends.map(unanswered) {
        assert_eq!(stage.world.unanswered, [Duration::MAX], "{}", story(&stage));
    }
}

#[test]
fn of_a_later_question_only_the_answer_counts() {
    let mut stage = measured();
    for _ in 0..2 {
        says(&mut stage, CLIENT, EVERY);
        says(&mut stage, BACKEND, 20 * MILLI);
    }
    says(&mut stage, CLIENT, EVERY);
    resets(&stage, BACKEND);
    settle(&mut stage);
    assert_eq!(stage.world.latencies, [20 * MILLI; 2], "{}", story(&stage));
    assert_eq!(stage.world.unanswered, [], "{}", story(&stage));
}

#[test]
fn an_answer_after_more_than_five_seconds_counts_only_if_it_is_the_first() {
    let mut stage = measured();
    stage.world.options.idle_timeout = Duration::from_secs(60);
    for _ in 0..2 {
        says(&mut stage, CLIENT, EVERY);
        says(&mut stage, BACKEND, 5_001 * MILLI);
    }
    assert_eq!(stage.world.latencies, [5_001 * MILLI], "{}", story(&stage));
}

#[test]
fn where_nobody_asks_nothing_is_measured() {
    let mut stage = relay(WIDE, WIDE);
    says(&mut stage, CLIENT, MILLI);
    says(&mut stage, BACKEND, MILLI);
    assert_eq!(stage.world.latencies, [], "{}", story(&stage));
    assert_eq!(stage.world.unanswered, [], "{}", story(&stage));
}

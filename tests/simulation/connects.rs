//! Connecting, case by case: failures, silence, races and the leave to have them.

use lb::observe::End;
use lb::types::{BackendId, ConnectFailure, Lane, Readiness};

use super::kernel::{CLIENT, Fate, Fd};
use super::script::*;
use super::stage::Stage;

#[test]
fn a_connect_that_fails_is_tried_elsewhere_in_the_same_wake() {
    for (fate, failure) in [
        (Fate::Fails(ConnectFailure::Refused), ConnectFailure::Refused),
        (Fate::UpThenReset(0), ConnectFailure::Reset),
    ] {
        let mut stage = Stage::start(world(WIDE, &[fate, Fate::Up]), WIDE);
        connects(&stage);
        assert!(stage.poll(BACKEND));
        stage.handle(0);
        let first = stage.world.picked[0];
        assert_eq!(stage.world.failures, [(first, failure)], "{}", story(&stage));
        assert_eq!(stage.kernel.borrow().sockets[BACKEND].fd, Fd::Reset);
        assert_eq!(stage.world.picked.len(), 2);
        connects(&stage);
        settle(&mut stage);
        assert_eq!(stage.world.connected, [stage.world.picked[1]]);
        assert_eq!(stage.world.holds.get(), 1);
    }
}

#[test]
fn after_its_retries_a_session_ends_as_connect_failed() {
    let fates = [
        Fate::Fails(ConnectFailure::Refused),
        Fate::Immediate(ConnectFailure::NoLocalPort),
        Fate::UpThenReset(0),
    ];
    let mut stage = Stage::start(world(WIDE, &fates), WIDE);
    for _ in 0..3 {
        connects(&stage);
        settle(&mut stage);
    }
    ended(&stage, End::ConnectFailed);
    assert_eq!(stage.world.picked.len(), 3);
}

#[test]
fn a_shortage_of_descriptors_is_waited_out_and_blamed_on_nobody() {
    let shortage = Fate::Immediate(ConnectFailure::NoDescriptor);
    let mut stage = Stage::start(world(WIDE, &[shortage, shortage, Fate::Up]), WIDE);
    for _ in 0..2 {
        assert_eq!(stage.end, None, "{}", story(&stage));
        let span = stage.deadline().since(stage.now());
        stage.advance(span);
        stage.turn();
        settle(&mut stage);
    }
    connects(&stage);
    settle(&mut stage);
    assert_eq!(stage.world.connected.len(), 1, "{}", story(&stage));
    assert_eq!(stage.world.failures, []);
}

#[test]
fn a_shortage_that_lasts_ends_the_session_at_the_connect_timeout() {
    let mut stage = Stage::start(world(WIDE, &[Fate::Immediate(ConnectFailure::NoDescriptor); 50]), WIDE);
    assert_eq!(wait_for_end(&mut stage), CONNECT_TIMEOUT);
    ended(&stage, End::ConnectFailed);
}

#[test]
fn without_a_backend_it_ends_at_once() {
    let mut empty = world(WIDE, &[]);
    empty.backends = 0;
    ended(&Stage::start(empty, WIDE), End::NoBackend);
}

#[test]
fn silent_connects_are_given_up_in_time_one_after_the_other() {
    let mut alone = world(WIDE, &[Fate::Silent; 3]);
    alone.options.hedge_after = None;
    let mut stage = Stage::start(alone, WIDE);
    assert_eq!(wait_for_end(&mut stage), CONNECT_TIMEOUT * 3);
    ended(&stage, End::ConnectFailed);
    let expected: Vec<(BackendId, ConnectFailure)> = stage
        .world
        .picked
        .iter()
        .map(|id| (*id, ConnectFailure::TimedOut))
        .collect();
    assert_eq!(stage.world.failures, expected);
}

#[test]
fn two_connects_overdue_in_one_wake_are_both_given_up() {
    let mut stage = Stage::start(world(WIDE, &[Fate::Silent, Fate::Silent]), WIDE);
    stage.advance(HEDGE_AFTER);
    stage.turn();
    stage.advance(CONNECT_TIMEOUT * 2);
    stage.turn();
    assert_eq!(stage.world.failures.len(), 2, "{}", story(&stage));
    assert_eq!(stage.world.picked.len(), 3);
    fine(&stage);
}

#[test]
fn a_rival_that_wins_resets_the_silent_first_and_its_late_news_is_nobodys() {
    let mut stage = Stage::start(world(WIDE, &[Fate::Silent, Fate::Up]), WIDE);
    stage.advance(HEDGE_AFTER);
    stage.turn();
    let rival = 2;
    stage.kernel.borrow_mut().settle(rival);
    assert!(stage.poll(rival));
    stage.handle(0);
    assert_eq!(stage.kernel.borrow().winner, Some(rival));
    assert_eq!(stage.kernel.borrow().sockets[BACKEND].fd, Fd::Reset);
    assert_eq!((stage.world.holds.get(), stage.world.races.get()), (1, 0));
    // Fetched in the same wake as the rival's: it must not be taken for the rival's.
    stage.event(
        Lane::FIRST_ATTEMPT,
        Readiness {
            readable: true,
            writable: true,
            read_closed: true,
            urgent: false,
            broken: true,
        },
    );
    assert_eq!(stage.end, None, "{}", story(&stage));
    fine(&stage);
}

#[test]
fn without_leave_nobody_races() {
    let mut crowded = world(WIDE, &[Fate::Silent; 3]);
    crowded.races_max = 0;
    let mut stage = Stage::start(crowded, WIDE);
    for _ in 0..5 {
        stage.advance(HEDGE_AFTER);
        stage.turn();
    }
    assert_eq!(stage.world.picked.len(), 1, "{}", story(&stage));
    fine(&stage);
}

#[test]
fn what_the_client_said_at_once_ends_the_handshake_in_the_wake_in_which_the_backend_takes_it() {
    let fates = [Fate::Fails(ConnectFailure::Refused), Fate::Up];
    let mut stage = Stage::start_after(world(WIDE, &fates), WIDE, |kernel| {
        assert!(kernel.peer_sends(CLIENT, 10));
    });
    settle(&mut stage);
    connects(&stage);
    assert!(stage.poll(BACKEND));
    stage.handle(0);
    connects(&stage);
    let second = BACKEND + 1;
    assert!(stage.poll(second));
    stage.handle(0);
    assert_eq!(sent(&stage, second), 10, "{}", story(&stage));
    assert!(!stage.is_queued, "{}", story(&stage));
    fine(&stage);
}

#[test]
fn a_backend_that_speaks_first_is_told_in_the_turn_after_the_connect() {
    let mut stage = Stage::start(world(WIDE, &[Fate::Up]), WIDE);
    connects(&stage);
    assert!(stage.poll(BACKEND));
    stage.handle(0);
    assert!(
        stage.kernel.borrow().sockets[BACKEND].owes_handshake,
        "{}",
        story(&stage)
    );
    stage.turn();
    assert!(
        !stage.kernel.borrow().sockets[BACKEND].owes_handshake,
        "{}",
        story(&stage)
    );
    fine(&stage);
}

#[test]
fn a_fin_that_came_before_the_connect_is_passed_on_behind_the_bytes() {
    for bytes in [0, 10] {
        let mut stage = Stage::start_after(world(WIDE, &[Fate::Up]), WIDE, |kernel| {
            assert!(bytes == 0 || kernel.peer_sends(CLIENT, bytes));
            kernel.peer_fins(CLIENT);
        });
        settle(&mut stage);
        connects(&stage);
        settle(&mut stage);
        assert_eq!(sent(&stage, BACKEND), bytes as u64, "{}", story(&stage));
        assert!(stage.kernel.borrow().sockets[BACKEND].is_finished, "{}", story(&stage));
        fins(&stage, BACKEND);
        settle(&mut stage);
        ended(&stage, End::ClientClosed);
    }
}

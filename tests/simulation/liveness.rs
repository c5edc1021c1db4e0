//! Peers that vanish without a word, peers that are only slow, and sessions that have lived long enough.

use std::time::Duration;

use lb::observe::End;

use super::kernel::CLIENT;
use super::script::{
    BACKEND, IDLE_TIMEOUT, NARROW, WIDE, drain, ended, fine, other, relay_with, reset_by, sends, settle, story,
    wait_for_end,
};
use super::stage::Stage;

const PEER_TIMEOUT: Duration = Duration::from_secs(20);

fn relay(buffers: super::kernel::Buffers) -> Stage {
    relay_with(buffers, buffers, |options| options.peer_timeout = Some(PEER_TIMEOUT))
}

#[test]
fn a_peer_that_vanished_is_found_gone_after_peer_timeout_and_the_other_is_reset() {
    for gone in [CLIENT, BACKEND] {
        let mut stage = relay(WIDE);
        stage.kernel.borrow_mut().sockets[gone].is_cut_off = true;
        sends(&stage, other(gone), 10);
        settle(&mut stage);
        assert_eq!(wait_for_end(&mut stage), PEER_TIMEOUT, "{}", story(&stage));
        ended(&stage, reset_by(gone));
    }
}

#[test]
fn a_peer_that_vanished_is_found_however_long_the_session_had_rested() {
    let mut stage = relay(WIDE);
    for _ in 0..7 {
        stage.advance(Duration::from_secs(3));
        stage.turn();
        settle(&mut stage);
    }
    stage.kernel.borrow_mut().sockets[BACKEND].is_cut_off = true;
    sends(&stage, CLIENT, 10);
    settle(&mut stage);
    assert_eq!(wait_for_end(&mut stage), PEER_TIMEOUT, "{}", story(&stage));
    ended(&stage, End::BackendReset);
}

#[test]
fn a_reader_that_is_only_slow_is_not_gone() {
    for slow in [CLIENT, BACKEND] {
        let mut stage = relay(NARROW);
        sends(&stage, other(slow), 1000);
        settle(&mut stage);
        assert_eq!(wait_for_end(&mut stage), IDLE_TIMEOUT, "{}", story(&stage));
        ended(&stage, End::IdleTimeout);
    }
}

#[test]
fn one_that_answers_in_time_is_asked_anew() {
    let mut stage = relay(WIDE);
    sends(&stage, CLIENT, 10);
    settle(&mut stage);
    // Three looks find nothing, and then it is back.
    stage.kernel.borrow_mut().sockets[BACKEND].is_cut_off = true;
    for _ in 0..3 {
        stage.advance(PEER_TIMEOUT / 4);
        stage.turn();
        assert_eq!(stage.end, None, "{}", story(&stage));
    }
    stage.kernel.borrow_mut().sockets[BACKEND].is_cut_off = false;
    drain(&mut stage);
    stage.advance(PEER_TIMEOUT / 4);
    stage.turn();
    assert_eq!(stage.end, None, "{}", story(&stage));
    stage.kernel.borrow_mut().sockets[BACKEND].is_cut_off = true;
    sends(&stage, CLIENT, 10);
    settle(&mut stage);
    assert_eq!(wait_for_end(&mut stage), PEER_TIMEOUT, "{}", story(&stage));
    ended(&stage, End::BackendReset);
}

#[test]
fn both_peers_are_kept_alive_once_the_session_is_no_longer_a_short_one() {
    let mut stage = relay(WIDE);
    let are_kept = |stage: &Stage| [CLIENT, BACKEND].map(|id| stage.kernel.borrow().sockets[id].is_kept_alive);
    assert_eq!(are_kept(&stage), [false, false]);
    stage.advance(PEER_TIMEOUT / 4);
    stage.turn();
    assert_eq!(are_kept(&stage), [true, true]);
    fine(&stage);
}

#[test]
fn a_session_ends_when_it_has_lived_for_max_session_however_busy_it_is() {
    let most = Duration::from_secs(7);
    let mut stage = relay_with(WIDE, WIDE, |options| options.max_session = Some(most));
    let start = stage.now();
    while stage.end.is_none() {
        sends(&stage, CLIENT, 10);
        drain(&mut stage);
        stage.advance(Duration::from_secs(1));
        stage.turn();
        assert!(stage.now().since(start) <= most, "{}", story(&stage));
    }
    assert_eq!(stage.now().since(start), most);
    ended(&stage, End::MaxSession);
}

//! Resets, case by case: what came before one is delivered, then it is passed on, and nothing is left.

use std::time::Duration;

use lb::observe::End;
use lb::types::Readiness;

use super::kernel::{CLIENT, Fd};
use super::script::*;
use super::stage::Stage;

#[test]
fn bytes_in_the_pipe_survive_the_reset_of_their_sender() {
    for source in [CLIENT, BACKEND] {
        let mut stage = relay(NARROW, NARROW);
        warm_up(&mut stage, source);
        sends(&stage, source, 10 * SCRATCH);
        settle(&mut stage);
        assert_eq!(stage.kernel.borrow().pipes_out, 1, "{}", story(&stage));
        resets(&stage, source);
        settle(&mut stage);
        drain(&mut stage);
        assert_eq!(sent(&stage, other(source)), 14 * SCRATCH as u64, "{}", story(&stage));
        wait_for_end(&mut stage);
        ended(&stage, reset_by(source));
    }
}

#[test]
fn a_target_that_goes_takes_its_pipe_along() {
    for source in [CLIENT, BACKEND] {
        let mut stage = relay(NARROW, NARROW);
        warm_up(&mut stage, source);
        sends(&stage, source, 10 * SCRATCH);
        settle(&mut stage);
        resets(&stage, other(source));
        settle(&mut stage);
        ended(&stage, reset_by(other(source)));
    }
}

#[test]
fn a_reset_stays_a_reset_and_a_fin_a_fin_each_way() {
    for source in [CLIENT, BACKEND] {
        let mut stage = relay(WIDE, WIDE);
        sends(&stage, source, 5);
        resets(&stage, source);
        settle(&mut stage);
        drain(&mut stage);
        wait_for_end(&mut stage);
        ended(&stage, reset_by(source));
        let kernel = stage.kernel.borrow();
        let survivor = &kernel.sockets[other(source)];
        assert_eq!(
            (survivor.fd, survivor.is_finished, survivor.sent),
            (Fd::Reset, false, 5)
        );
    }
}

#[test]
fn a_reset_after_a_fin_is_passed_on_as_well() {
    for source in [CLIENT, BACKEND] {
        let mut stage = half_closed(source);
        resets(&stage, source);
        settle(&mut stage);
        wait_for_end(&mut stage);
        ended(&stage, reset_by(source));
    }
}

#[test]
fn a_reset_waits_for_a_slow_reader_and_no_longer() {
    for dead in [CLIENT, BACKEND] {
        let mut stage = resetting(dead);
        let pause = Duration::from_secs(10);
        let until = stage.now().plus(pause);
        while stage.deadline() <= until {
            let span = stage.deadline().since(stage.now());
            assert!(span <= Duration::from_millis(64), "{}", story(&stage));
            stage.advance(span);
            stage.turn();
            assert_eq!(stage.end, None, "{}", story(&stage));
        }
        drain(&mut stage);
        assert!(
            wait_for_end(&mut stage) <= Duration::from_millis(64),
            "{}",
            story(&stage)
        );
        ended(&stage, reset_by(dead));
    }
}

/// So much time passes, deadline by deadline.
fn wait(stage: &mut Stage, span: Duration) {
    let until = stage.now().plus(span);
    while stage.end.is_none() && stage.deadline() <= until {
        stage.advance(stage.deadline().since(stage.now()));
        stage.turn();
    }
    stage.advance(until.since(stage.now()));
}

#[test]
fn a_reset_waits_as_long_as_its_reader_gets_on() {
    let mut stage = resetting(CLIENT);
    // Of the 20 bytes that it is owed, one each two thirds of the timeout.
    let pause = HALF_CLOSE_TIMEOUT * 2 / 3;
    for _ in 0..5 {
        wait(&mut stage, pause);
        stage.kernel.borrow_mut().carry(BACKEND, 1);
        wait(&mut stage, Duration::from_millis(64));
        assert_eq!(stage.end, None, "{}", story(&stage));
    }
    // Then no more.
    wait(&mut stage, HALF_CLOSE_TIMEOUT);
    ended(&stage, End::ClientReset);
}

#[test]
fn a_reset_towards_one_who_never_reads_is_given_up_at_half_close_timeout() {
    let mut stage = resetting(BACKEND);
    assert_eq!(wait_for_end(&mut stage), HALF_CLOSE_TIMEOUT);
    ended(&stage, End::BackendReset);
}

#[test]
fn a_side_found_dead_by_fin_or_write_is_passed_on_in_the_same_wake() {
    // The event of the reset is still to come: a write, or a FIN, finds it out.
    for (dead, by_fin) in [(CLIENT, false), (CLIENT, true), (BACKEND, false), (BACKEND, true)] {
        let mut stage = relay(WIDE, WIDE);
        resets(&stage, dead);
        if by_fin {
            fins(&stage, other(dead));
        } else {
            sends(&stage, other(dead), 5);
        }
        stage.poll(other(dead));
        stage.handle(0);
        ended(&stage, reset_by(dead));
    }
}

#[test]
fn a_broken_socket_with_nothing_to_read_is_gone() {
    for id in [CLIENT, BACKEND] {
        let mut stage = relay(WIDE, WIDE);
        let lane = stage.kernel.borrow().sockets[id].lane;
        let broken = Readiness {
            broken: true,
            ..Readiness::default()
        };
        stage.event(lane, broken);
        ended(&stage, reset_by(id));
    }
}

#[test]
fn what_a_dead_side_sent_is_passed_on_in_the_wake_that_finds_it_dead() {
    for dead in [CLIENT, BACKEND] {
        let mut stage = relay(WIDE, NARROW);
        sends(&stage, dead, 5);
        resets(&stage, dead);
        sends(&stage, other(dead), 5);
        stage.poll(other(dead));
        stage.handle(0);
        assert_eq!(sent(&stage, other(dead)), 5, "{}", story(&stage));
        assert_eq!(stage.kernel.borrow().sockets[dead].fd, Fd::Reset, "{}", story(&stage));
    }
}

#[test]
fn a_pipe_for_a_dead_target_is_let_go_while_the_other_way_lives() {
    let mut stage = relay(NARROW, NARROW);
    warm_up(&mut stage, CLIENT);
    sends(&stage, BACKEND, 1000);
    sends(&stage, CLIENT, 10 * SCRATCH);
    settle(&mut stage);
    assert_eq!(stage.kernel.borrow().pipes_out, 1, "{}", story(&stage));
    resets(&stage, BACKEND);
    settle(&mut stage);
    assert_eq!(stage.kernel.borrow().pipes_out, 0, "{}", story(&stage));
    drain(&mut stage);
    assert_eq!(sent(&stage, CLIENT), 1000, "{}", story(&stage));
    wait_for_end(&mut stage);
    ended(&stage, End::BackendReset);
}

//! Relaying, case by case: how such programs broke before, one test a fault.

use std::time::Duration;

use lb::observe::End;
use lb::types::Readiness;

use super::kernel::{Buffers, CLIENT, Fate, Fd, Id, Link};
use super::script::*;
use super::stage::Stage;

#[test]
fn a_fin_comes_after_all_bytes_and_the_other_way_lives() {
    for first in [CLIENT, BACKEND] {
        let mut stage = relay(NARROW, NARROW);
        sends(&stage, first, 1000);
        fins(&stage, first);
        drain(&mut stage);
        assert_eq!(sent(&stage, other(first)), 1000);
        assert!(stage.kernel.borrow().peer_sees_fin(other(first)), "{}", story(&stage));
        sends(&stage, other(first), 2000);
        drain(&mut stage);
        assert_eq!(sent(&stage, first), 2000, "{}", story(&stage));
        fins(&stage, other(first));
        drain(&mut stage);
        ended(&stage, closed_by(first));
    }
}

#[test]
fn a_half_closed_session_is_reaped_at_half_close_timeout() {
    for first in [CLIENT, BACKEND] {
        let mut stage = relay(WIDE, WIDE);
        fins(&stage, first);
        settle(&mut stage);
        assert_eq!(wait_for_end(&mut stage), HALF_CLOSE_TIMEOUT);
        ended(&stage, End::HalfCloseTimeout);
    }
}

#[test]
fn a_silent_session_is_reaped_at_idle_timeout() {
    let mut stage = relay(WIDE, WIDE);
    stage.advance(Duration::from_secs(50));
    sends(&stage, CLIENT, 1);
    drain(&mut stage);
    assert_eq!(wait_for_end(&mut stage), IDLE_TIMEOUT);
    ended(&stage, End::IdleTimeout);
}

#[test]
fn a_blocked_writer_is_closed_at_idle_timeout_with_bytes_pending() {
    for source in [CLIENT, BACKEND] {
        let mut stage = relay(NARROW, NARROW);
        sends(&stage, source, 1000);
        settle(&mut stage);
        assert_eq!(sent(&stage, other(source)), 30);
        assert_eq!(wait_for_end(&mut stage), IDLE_TIMEOUT);
        ended(&stage, End::IdleTimeout);
    }
}

#[test]
fn a_slow_reader_that_gets_on_is_never_cut_however_long_it_takes() {
    const BYTES: usize = 500;
    for source in [CLIENT, BACKEND] {
        let buffers = Buffers { peer: 10, ..WIDE };
        let (mut stage, target) = (relay(buffers, buffers), other(source));
        sends(&stage, source, BYTES);
        fins(&stage, source);
        settle(&mut stage);
        assert_eq!(sent(&stage, target), BYTES as u64, "the kernel has it all");
        let pause = HALF_CLOSE_TIMEOUT / 3;
        for _ in 0..BYTES / 10 {
            let next = stage.now().plus(pause);
            while stage.deadline() <= next {
                stage.advance(stage.deadline().since(stage.now()));
                stage.turn();
                settle(&mut stage);
                assert_eq!(stage.end, None, "{}", story(&stage));
            }
            stage.advance(next.since(stage.now()));
            let mut kernel = stage.kernel.borrow_mut();
            kernel.peer_reads(target, usize::MAX);
            kernel.carry(target, usize::MAX);
        }
        drain(&mut stage);
        fins(&stage, target);
        settle(&mut stage);
        ended(&stage, closed_by(source));
    }
}

/// A named state of a session, and how it is brought about.
type State = (&'static str, fn() -> Stage);

const STATES: [State; 8] = [
    ("connecting", || {
        Stage::start(world(WIDE, &[Fate::Silent, Fate::Silent]), WIDE)
    }),
    ("idle", || relay(WIDE, WIDE)),
    ("held for the backend", || blocked(CLIENT)),
    ("held for the client", || blocked(BACKEND)),
    ("client finished", || half_closed(CLIENT)),
    ("backend finished", || half_closed(BACKEND)),
    ("resetting the backend", || resetting(CLIENT)),
    ("resetting the client", || resetting(BACKEND)),
];

/// News of a socket, by its name.
type News = (&'static str, fn(&Stage, Id));

const NEWS: [News; 6] = [
    ("IN", |stage, id| sends(stage, id, 100)),
    ("OUT", |stage, id| stage.kernel.borrow_mut().carry(id, 10)),
    ("RDHUP", fins),
    ("ERR", resets),
    ("IN and RDHUP", |stage, id| {
        sends(stage, id, SCRATCH);
        fins(stage, id);
    }),
    ("IN and ERR", |stage, id| {
        sends(stage, id, SCRATCH);
        resets(stage, id);
    }),
];

#[test]
fn in_every_state_every_event_wakes_at_most_three_times() {
    for (state, make) in STATES {
        for (news, happen) in NEWS {
            for id in [CLIENT, BACKEND] {
                let mut stage = make();
                let can_happen = {
                    let kernel = stage.kernel.borrow();
                    let socket = &kernel.sockets[id];
                    socket.fd == Fd::Open && socket.link == Link::Up && (news == "OUT" || !socket.fin_arrived)
                };
                if !can_happen {
                    continue;
                }
                happen(&stage, id);
                let wakes = settle(&mut stage);
                assert!(wakes <= 3, "{state}, {news} of {id}: {wakes} wakes\n{}", story(&stage));
                wait_for_end(&mut stage);
                fine(&stage);
            }
        }
    }
}

#[test]
fn in_every_state_events_of_nothing_do_nothing() {
    for (state, make) in STATES {
        for id in [CLIENT, BACKEND] {
            let mut stage = make();
            let lane = stage.kernel.borrow().sockets[id].lane;
            let is_under_way = matches!(stage.kernel.borrow().sockets[id].link, Link::Pending(..));
            let before = stage.deadline();
            for (readable, writable) in [(true, false), (false, true), (true, true), (false, false)] {
                stage.event(
                    lane,
                    Readiness {
                        readable,
                        writable: writable && !is_under_way,
                        ..Readiness::default()
                    },
                );
                fine(&stage);
            }
            assert_eq!(
                (stage.end, stage.deadline()),
                (None, before),
                "{state}, {id}: {}",
                story(&stage)
            );
        }
    }
}

#[test]
fn a_client_that_resets_takes_everything_with_it_in_every_state() {
    for (state, make) in STATES {
        let mut stage = make();
        if stage.kernel.borrow().sockets[CLIENT].fd != Fd::Open {
            continue;
        }
        resets(&stage, CLIENT);
        let start = stage.now();
        settle(&mut stage);
        drain(&mut stage);
        wait_for_end(&mut stage);
        fine(&stage);
        assert!(
            stage.now().since(start) <= Duration::from_secs(1),
            "{state}: {}",
            story(&stage)
        );
    }
}

#[test]
fn a_client_that_resets_ends_a_race_of_two_connects() {
    let mut stage = Stage::start(world(WIDE, &[Fate::Silent, Fate::Silent]), WIDE);
    stage.advance(HEDGE_AFTER);
    stage.turn();
    assert_eq!((stage.world.holds.get(), stage.world.races.get()), (2, 1));
    resets(&stage, CLIENT);
    settle(&mut stage);
    ended(&stage, End::ClientReset);
}

#[test]
fn payloads_around_the_buffer_size_arrive_whole_before_fin() {
    for k in 1..=6 {
        for bytes in [k * SCRATCH - 1, k * SCRATCH, k * SCRATCH + 1] {
            for source in [CLIENT, BACKEND] {
                for is_warm in [false, true] {
                    for fin_comes_along in [false, true] {
                        let mut stage = relay(WIDE, WIDE);
                        if is_warm {
                            warm_up(&mut stage, source);
                        }
                        let before = sent(&stage, other(source));
                        sends(&stage, source, bytes);
                        if !fin_comes_along {
                            settle(&mut stage);
                        }
                        fins(&stage, source);
                        settle(&mut stage);
                        assert_eq!(sent(&stage, other(source)) - before, bytes as u64);
                        fins(&stage, other(source));
                        settle(&mut stage);
                        ended(&stage, closed_by(source));
                    }
                }
            }
        }
    }
}

#[test]
fn a_backend_that_answers_and_closes_while_connecting_is_no_failure() {
    for bytes in [0, 1, SCRATCH, 5000] {
        let mut stage = Stage::start(world(WIDE, &[Fate::UpThenFin(bytes)]), WIDE);
        connects(&stage);
        settle(&mut stage);
        assert!(stage.world.failures.is_empty(), "{}", story(&stage));
        assert_eq!(sent(&stage, CLIENT), bytes as u64);
        assert!(stage.kernel.borrow().sockets[CLIENT].is_finished);
        fins(&stage, CLIENT);
        settle(&mut stage);
        ended(&stage, End::BackendClosed);
    }
}

#[test]
fn what_a_backend_sent_before_its_reset_is_delivered_even_while_connecting() {
    for bytes in [1, SCRATCH, 5000] {
        let mut stage = Stage::start(world(WIDE, &[Fate::UpThenReset(bytes)]), NARROW);
        connects(&stage);
        settle(&mut stage);
        drain(&mut stage);
        assert_eq!(sent(&stage, CLIENT), bytes as u64, "{}", story(&stage));
        wait_for_end(&mut stage);
        ended(&stage, End::BackendReset);
    }
}

#[test]
fn bytes_in_the_pipe_survive_the_fin_of_their_sender() {
    for source in [CLIENT, BACKEND] {
        let mut stage = relay(NARROW, NARROW);
        warm_up(&mut stage, source);
        sends(&stage, source, 2 * SCRATCH);
        fins(&stage, source);
        settle(&mut stage);
        assert_eq!(stage.kernel.borrow().pipes_out, 1, "{}", story(&stage));
        drain(&mut stage);
        assert_eq!(sent(&stage, other(source)), 6 * SCRATCH as u64);
        fins(&stage, other(source));
        settle(&mut stage);
        ended(&stage, closed_by(source));
    }
}

#[test]
fn one_segment_with_data_and_fin_is_passed_on_each_way() {
    for source in [CLIENT, BACKEND] {
        let mut stage = relay(WIDE, WIDE);
        sends(&stage, source, 5);
        fins(&stage, source);
        settle(&mut stage);
        drain(&mut stage);
        assert_eq!(sent(&stage, other(source)), 5);
        assert!(stage.kernel.borrow().peer_sees_fin(other(source)), "{}", story(&stage));
    }
}

#[test]
fn a_pipe_full_of_small_segments_is_no_drained_source() {
    for slots in [1, 2, 16] {
        let mut stage = relay(WIDE, WIDE);
        stage.kernel.borrow_mut().pipe_slots = slots;
        warm_up(&mut stage, BACKEND);
        for _ in 0..500 {
            sends(&stage, BACKEND, 1);
        }
        settle(&mut stage);
        assert_eq!(sent(&stage, CLIENT), 4 * SCRATCH as u64 + 500, "{}", story(&stage));
    }
}

#[test]
fn three_full_reads_begin_to_splice_and_small_splices_end_it() {
    let mut stage = relay(WIDE, WIDE);
    let pipes = |stage: &Stage| stage.kernel.borrow().pipes_ever;
    // Two full reads and a small one, and two again: never three in a row.
    for _ in 0..2 {
        sends(&stage, CLIENT, 2 * SCRATCH);
        settle(&mut stage);
        sends(&stage, CLIENT, 1);
        settle(&mut stage);
        assert_eq!(pipes(&stage), 0, "{}", story(&stage));
    }
    warm_up(&mut stage, CLIENT);
    // The fourth small splice is the last.
    let were_spliced: Vec<bool> = (0..8)
        .map(|_| {
            let before = pipes(&stage);
            sends(&stage, CLIENT, 1);
            settle(&mut stage);
            pipes(&stage) > before
        })
        .collect();
    let wanted = [true, true, true, true, false, false, false, false];
    assert_eq!(were_spliced, wanted, "{}", story(&stage));
}

#[test]
fn urgent_data_hides_nothing_behind_it() {
    let endings: [fn(&Stage, Id); 3] = [|_, _| {}, fins, resets];
    for source in [CLIENT, BACKEND] {
        for is_warm in [false, true] {
            for ending in endings {
                for is_late in [false, true] {
                    let mut stage = relay(WIDE, WIDE);
                    if is_warm {
                        warm_up(&mut stage, source);
                    }
                    let before = sent(&stage, other(source));
                    sends(&stage, source, 100);
                    if is_late {
                        // Fetched, but not handled when the rest arrives.
                        stage.poll(source);
                    }
                    stage.kernel.borrow_mut().peer_urges(source);
                    sends(&stage, source, 50);
                    ending(&stage, source);
                    settle(&mut stage);
                    assert_eq!(sent(&stage, other(source)) - before, 150, "{}", story(&stage));
                }
            }
        }
    }
}

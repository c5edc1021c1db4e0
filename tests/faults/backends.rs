//! Drills of backends that die, hang or can't be reached any more: T2, T3, T4.

use std::time::{Duration, Instant};

use super::field::{BACKENDS, Field, Rules, Stopped};
use super::load::{Ended, Load, Outcome, Plan};
use super::oracle;
use super::report::{Run, drill, millis};
use super::subject::{EVERYBODY, Setup, Standing};
use crate::common::{PATIENCE, Program, pass};

/// Sessions of one load on the backend that is about to fail, and those on the others.
fn split(field: &Field, load: &Load, all: usize) -> usize {
    load.wait_for_live(all);
    field.sessions_of(0).min(all)
}

#[test]
fn t2_a_killed_backend_ends_its_own_sessions_at_once_and_no_other() {
    drill("T2", "backend kill -9 under load", EVERYBODY, |run, field| {
        let mut servers = field.serve_all();
        let standing = Standing::start(field, run.subject, &Setup::default());
        for _ in 0..run.size(1, 10) {
            kill_one(run, field, &mut servers);
        }
        kill_all(run, field, servers);
        oracle::end(run, standing);
    });
}

fn kill_one(run: &mut Run, field: &Field, servers: &mut [Program]) {
    let sessions = run.size(90, 300);
    let load = Load::start(field, Plan::held(sessions));
    let own = split(field, &load, sessions);
    let killed = Instant::now();
    servers[0].kill();
    let in_time = load.wait_for_over(own, PATIENCE);
    let told = load
        .so_far()
        .told
        .iter()
        .map(|told| told.at.saturating_duration_since(killed))
        .max();
    run.claim(in_time, "the dead one's clients are told", load.so_far().words());
    run.figure("B4", millis(told.unwrap_or_default()));
    let fresh = Load::run(field, Plan::short(20, run.size(100, 600)));
    run.claim(fresh.failed() == 0, "no new connection fails", fresh.words());
    run.figure("B5", millis(fresh.first_answer(0.99)));
    let outcome = load.stop();
    let others = outcome.ended(Ended::Whole);
    run.claim(
        others == sessions - own,
        "all others live",
        format!("{own} were its own; {}", outcome.words()),
    );
    run.claim(outcome.wrong() + fresh.wrong() == 0, "no wrong byte", outcome.words());
    servers[0] = field.serve(0);
    served_by(field, 0);
}

/// Waits until new sessions reach a backend again.
fn served_by(field: &Field, number: usize) -> Duration {
    let from = Instant::now();
    let mut plan = Plan::short(6, 6);
    plan.pause = Duration::from_millis(20); // long enough to be seen
    while from.elapsed() < PATIENCE {
        let load = Load::start(field, plan.clone());
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_millis(40) {
            if field.sessions_of(number) > 0 && load.live() > 0 {
                let took = from.elapsed();
                load.stop();
                return took;
            }
            pass(Duration::from_millis(1));
        }
        load.stop();
    }
    panic!("backend {number} gets no session any more");
}

/// With nobody left, clients are told at once; with all back, they are served soon.
fn kill_all(run: &mut Run, field: &Field, servers: Vec<Program>) {
    drop(servers);
    let told = Load::run(field, Plan::short(1, run.size(30, 200)));
    let ends = told.told.iter().map(|told| told.at - told.begun).collect();
    run.claim(
        told.ended(Ended::Timeout) == 0,
        "with all down everybody is told",
        told.words(),
    );
    run.figure("B8", millis(super::load::quantile(ends, 0.99)));
    // Down by every check before they return.
    pass(Duration::from_millis(run.size(700, 2000) as u64));
    let _servers = field.serve_all();
    let back = Instant::now();
    while back.elapsed() < PATIENCE {
        if Load::run(field, Plan::short(1, 1).patience(Duration::from_secs(2))).failed() == 0 {
            break;
        }
        pass(Duration::from_millis(5));
    }
    run.claim(
        back.elapsed() < PATIENCE,
        "served again when they return",
        millis(back.elapsed()),
    );
    run.figure("B9", back.elapsed().as_secs_f64());
    for number in 0..BACKENDS {
        served_by(field, number);
    }
}

/// How many of 90 new sessions have no answer within 2 s.
fn hanging(field: &Field, count: usize) -> Outcome {
    Load::run(field, Plan::short(count, count).patience(Duration::from_secs(2)))
}

#[test]
fn t3_a_hung_backend_gets_no_new_session_and_those_it_has_go_on_when_it_wakes() {
    drill(
        "T3",
        "backend hung: SIGSTOP and CONT; one that accepts and never reads",
        EVERYBODY,
        |run, field| {
            let mut servers = field.serve_all();
            let standing = Standing::start(field, run.subject, &Setup::expecting());
            for _ in 0..run.size(1, 5) {
                let load = Load::start(field, Plan::held(30));
                load.wait_for_live(30);
                let stopped = Stopped::new(&servers[0]);
                let count = run.size(30, 90);
                pass(Duration::from_secs(2));
                let first = hanging(field, count);
                run.figure("B6", first.ended(Ended::Timeout) as f64 * 90.0 / count as f64);
                // Peers have no answer to it: their figure is the row, and no claim.
                run.claim(
                    !run.is_lb() || first.failed() == 0,
                    "nobody hangs 2 s after it hung",
                    first.words(),
                );
                if run.is_long {
                    pass(Duration::from_secs(1));
                    let second = hanging(field, count);
                    run.figure("B6b", second.ended(Ended::Timeout) as f64);
                    run.claim(
                        !run.is_lb() || second.failed() == 0,
                        "nobody hangs 5 s after it hung",
                        second.words(),
                    );
                }
                drop(stopped);
                let back = served_by(field, 0);
                run.told("gets sessions again after SIGCONT", back.as_secs_f64(), "s");
                let outcome = load.stop();
                run.claim(
                    outcome.failed() == 0,
                    "its sessions go on when it wakes",
                    outcome.words(),
                );
            }
            // One that listens, and never takes a byte: the kernel answers every connect.
            servers[0].kill();
            let address = field.backend(0);
            let silent = field.backends[0].within(|| crate::common::Backend::listen_at(address));
            pass(Duration::from_secs(3));
            let outcome = hanging(field, 30);
            run.claim(
                !run.is_lb() || outcome.failed() == 0,
                "nobody hangs on one that never reads",
                outcome.words(),
            );
            drop(silent);
            servers[0] = field.serve(0);
            served_by(field, 0);
            oracle::end(run, standing);
        },
    );
}

#[test]
fn t4_a_blackholed_backend_costs_no_new_session_and_its_old_ones_end() {
    drill("T4", "blackhole; FIN lost; answers lost", EVERYBODY, |run, field| {
        let _servers = field.serve_all();
        let setup = Setup {
            half_close_ms: run.size(1500, 5000) as u64,
            ..Setup::default()
        };
        let patience = run.size(3, 20);
        let bounded = setup.clone().bounded(field, run.subject, patience);
        let standing = Standing::start(field, run.subject, bounded.as_ref().unwrap_or(&setup));
        new_sessions_pass_by(run, field);
        // Whoever was taken out must be back before the next.
        served_by(field, 0);
        fins_lost(run, field);
        match bounded {
            Some(_) => answers_lost(run, field, Duration::from_secs(patience as u64)),
            None => run.pending(
                "sessions through a blackhole end in time",
                "this lb has no peer_timeout",
            ),
        }
        served_by(field, 0);
        oracle::end(run, standing);
    });
}

fn new_sessions_pass_by(run: &mut Run, field: &Field) {
    let rules = Rules::set(&field.backends[0], &["input tcp dport 9001 drop"]);
    let fresh = Load::run(field, Plan::short(10, 90));
    drop(rules);
    run.claim(
        fresh.failed() == 0,
        "none of the first 90 new sessions fails",
        fresh.words(),
    );
    run.figure("B7", millis(fresh.first_answer(1.0)));
}

/// A backend's FIN never arrives: the session ends all the same.
fn fins_lost(run: &mut Run, field: &Field) {
    let lost = "input ip saddr 10.231.8.21 tcp flags & fin == fin drop";
    let rules = Rules::set(&field.balancer, &[lost]);
    let patience = Duration::from_secs(if run.is_long { 15 } else { 8 });
    let load = Load::start(field, Plan::held(9).patience(patience));
    load.wait_for_live(9);
    let outcome = load.stop();
    drop(rules);
    let waited = outcome.told.iter().filter(|told| told.ended == Ended::Timeout).count();
    // nginx has no limit of its own for a half-closed session: only that of an idle one.
    run.claim(
        waited == 0 || !run.is_lb(),
        "a FIN that is lost holds no session",
        outcome.words(),
    );
    run.told("FIN lost: clients still waiting in the end", waited as f64, "");
}

/// Everything between lb and one backend is dropped, in mid-session.
fn answers_lost(run: &mut Run, field: &Field, limit: Duration) {
    let load = Load::start(field, Plan::held(30).patience(limit * 3));
    let own = split(field, &load, 30);
    let rules = Rules::set(&field.backends[0], &["input drop", "output drop"]);
    let from = Instant::now();
    let in_time = load.wait_for_over(own, limit * 2 + Duration::from_secs(2));
    run.told(
        "sessions through a blackhole end after",
        from.elapsed().as_secs_f64(),
        "s",
    );
    let words = load.so_far().words();
    drop(rules);
    let outcome = load.stop();
    run.claim(
        in_time || !run.is_lb(),
        "sessions through a blackhole end in time",
        words,
    );
    run.claim(
        outcome.ended(Ended::Whole) >= 30 - own,
        "sessions beside it live",
        outcome.words(),
    );
}

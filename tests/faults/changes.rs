//! Drills of the balancer's own life: reloads (T13), odd clocks (T15), its end (T16), its death and start (T17).

use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::{Duration, Instant};

use super::field::Field;
use super::load::{Ended, Load, Plan};
use super::oracle;
use super::report::{Run, drill, millis};
use super::subject::{EVERYBODY, Setup, Standing, Subject};
use crate::common::{PATIENCE, Peer, pass, run_by, tell};

#[test]
fn t13_reloads_under_load_fail_nobody() {
    drill(
        "T13",
        "reloads under load: weights, policies, backends that go and come",
        EVERYBODY,
        |run, field| {
            let _servers = field.serve_all();
            let base = Setup {
                // Whoever sits on a backend that goes may stay.
                runtime: "workers = 2\ndrain_timeout = \"10m\"".to_owned(),
                ..Setup::default()
            };
            let standing = Standing::start(field, run.subject, &base);
            let held = Load::start(field, Plan::held(20));
            held.wait_for_live(20);
            let mut storm = Plan::short(8, usize::MAX);
            storm.every = Duration::from_millis(1);
            let storm = Load::start(field, storm);
            // The peers start new processes each time; lb does it in the one it is.
            let (count, pause) = match run.subject {
                Subject::Lb => (run.size(20, 1000), 50),
                _ => (run.size(4, 20), 700),
            };
            for number in 0..count {
                let mut setup = base.clone();
                setup.weights[number % 3] = 1 + number as u32 % 4;
                setup.backends = 2 + number % 2;
                setup.service = format!(
                    "balance = \"{}\"",
                    ["round_robin", "least_connections", "random_two"][number % 3]
                );
                standing.reload(&setup);
                pass(Duration::from_millis(pause));
            }
            standing.reload(&base);
            pass(Duration::from_millis(pause));
            let (storm, held) = (storm.stop(), held.stop());
            run.told("reloads", count as f64, "");
            run.told("connections meanwhile", storm.told.len() as f64, "");
            run.figure("B12", storm.failed() as f64);
            run.claim(storm.failed() == 0, "no connection fails", storm.words());
            run.claim(held.failed() == 0, "held sessions live", held.words());
            if run.is_lb() {
                oracle::end(run, standing);
            }
        },
    );
}

#[test]
fn t15_whatever_the_clock_says_no_timer_fires_early_and_no_session_is_lost() {
    drill(
        "T15",
        "monotonic clock over 2^32 ms, 2^31 ms and 2^32 s",
        EVERYBODY,
        |run, field| {
            let probe = Command::new("unshare")
                .args(["-T", "--monotonic", "1", "true"])
                .output();
            if !probe.is_ok_and(|output| output.status.success()) {
                tell("T15: skipped: no time namespaces here (unshare -T)");
                return;
            }
            let _servers = field.serve_all();
            let wraps = [4_294_967_u64, 2_147_483, 4_294_967_296];
            for wrap in &wraps[..run.size(1, 3)] {
                over(run, field, *wrap);
            }
        },
    );
}

/// Started a few seconds before the clock has `wrap` seconds, and looked at until some after.
fn over(run: &mut Run, field: &Field, wrap: u64) {
    const IDLE: Duration = Duration::from_millis(1500);
    let setup = Setup {
        idle_ms: IDLE.as_millis() as u64,
        ..Setup::default()
    };
    let uptime = std::fs::read_to_string("/proc/uptime").unwrap();
    let uptime: u64 = uptime.split('.').next().unwrap().parse().unwrap();
    let ahead = wrap.saturating_sub(uptime).saturating_sub(3);
    let standing = Standing::start_with(field, run.subject, &setup, |command| {
        run_by(&["unshare", "-T", "--monotonic", &ahead.to_string()], &command)
    });
    let load = Load::start(field, Plan::held(30));
    load.wait_for_live(30);
    // Every 250 ms one falls silent, before, at and after the wrap; each must be ended after its own idle timeout.
    let ends: Vec<_> = (0..16)
        .map(|_| {
            pass(Duration::from_millis(250));
            field.clients.spawn(|| {
                let silent = Peer::connect(Field::TARGET);
                // Before its last byte, so that nothing that ends later was early.
                let from = Instant::now();
                silent.send(b"x").expect(b"x");
                silent.wait_for_end();
                from.elapsed()
            })
        })
        .collect();
    let ends: Vec<Duration> = ends.into_iter().map(|end| end.join().unwrap()).collect();
    let (least, most) = (*ends.iter().min().unwrap(), *ends.iter().max().unwrap());
    run.told(
        &format!("idle timeout of 1.5 s over {wrap} s: earliest"),
        least.as_secs_f64(),
        "s",
    );
    run.told(
        &format!("idle timeout of 1.5 s over {wrap} s: latest"),
        most.as_secs_f64(),
        "s",
    );
    run.claim(least >= IDLE, "no timer fires early", millis(least));
    let late = Duration::from_millis(run.size(10_000, 1000) as u64);
    run.claim(most < IDLE + late, "no timer is lost", millis(most));
    let outcome = load.stop();
    run.claim(outcome.failed() == 0, "no session is lost", outcome.words());
    oracle::end(run, standing);
}

#[test]
fn t16_told_to_stop_it_refuses_the_new_serves_the_old_and_ends_in_time() {
    drill(
        "T16",
        "SIGTERM drain, one session in ten never finishes",
        EVERYBODY,
        |run, field| {
            let _servers = field.serve_all();
            soon(run, field);
            if run.is_lb() {
                at_the_deadline(run, field);
            }
        },
    );
}

/// How long until nobody is let in any more.
fn refused_after(field: &Field, from: Instant) -> Duration {
    field.clients.within(|| {
        while from.elapsed() < PATIENCE {
            let connected = std::net::TcpStream::connect_timeout(&Field::TARGET, Duration::from_secs(1));
            if connected.is_err() {
                return from.elapsed();
            }
            pass(Duration::from_millis(1));
        }
        PATIENCE
    })
}

/// Waits until it has ended by itself: how long after `from`.
fn ended_after(standing: &mut Standing<'_>, from: Instant, patience: Duration) -> Option<Duration> {
    while !standing.program_mut().has_ended() {
        if from.elapsed() > patience {
            return None;
        }
        pass(Duration::from_millis(1));
    }
    Some(from.elapsed())
}

fn soon(run: &mut Run, field: &Field) {
    let mut standing = Standing::start(field, run.subject, &Setup::default());
    let count = run.size(50, 1000);
    let load = Load::start(field, Plan::held(count));
    load.wait_for_live(count);
    standing.drain();
    let refused = refused_after(field, Instant::now());
    run.told("new connects refused after", millis(refused), "ms");
    run.claim(refused < PATIENCE, "new connects are refused", millis(refused));
    pass(Duration::from_millis(300));
    run.claim(load.live() == count, "sessions live on", load.so_far().words());
    let outcome = load.stop();
    let last = outcome.told.iter().map(|told| told.at).max().unwrap();
    run.claim(outcome.failed() == 0, "and finish whole", outcome.words());
    let ended = ended_after(&mut standing, last, PATIENCE);
    run.claim(ended.is_some(), "it ends behind the last one", "not within 20 s");
    run.figure("B13", millis(ended.unwrap_or(PATIENCE)));
    standing.take_lb().map(crate::common::Balancer::finish_stopped);
}

fn at_the_deadline(run: &mut Run, field: &Field) {
    let deadline = Duration::from_millis(run.size(2000, 10_000) as u64);
    let setup = Setup {
        runtime: format!("workers = 2\ndrain_timeout = \"{}ms\"", deadline.as_millis()),
        ..Setup::default()
    };
    let mut standing = Standing::start(field, run.subject, &setup);
    let (count, stuck) = (run.size(90, 900), run.size(10, 100));
    let finishing = Load::start(field, Plan::held(count));
    let staying = Load::start(field, Plan::held(stuck));
    finishing.wait_for_live(count);
    staying.wait_for_live(stuck);
    let from = Instant::now();
    standing.drain();
    pass(deadline / 4);
    let finished = finishing.stop();
    run.claim(finished.failed() == 0, "90 % finish whole", finished.words());
    let ended = ended_after(&mut standing, from, deadline + PATIENCE);
    let took = ended.unwrap_or_default();
    run.told(
        &format!("exit at the deadline of {} s", deadline.as_secs()),
        took.as_secs_f64(),
        "s",
    );
    run.claim(took >= deadline, "not before the deadline", millis(took));
    run.claim(ended.is_some(), "but then", "not in 20 s more");
    let stayed = staying.stop();
    run.claim(
        stayed.ended(Ended::Reset) == stuck,
        "who never finishes is reset",
        stayed.words(),
    );
    let closing = standing.take_lb().map(crate::common::Balancer::finish_stopped);
    let cut = closing.map_or(0, |closing| closing.ended("shutdown"));
    run.claim(cut == stuck as u64, "and counted as such", cut);
}

#[test]
fn t17_killed_and_started_again_it_serves_at_once() {
    drill("T17", "balancer kill -9 and start", EVERYBODY, |run, field| {
        let _servers = field.serve_all();
        let mut standing = cold(run, field);
        for _ in 0..run.size(2, 10) {
            let mut paced = Plan::short(50, usize::MAX).patience(Duration::from_secs(5));
            paced.every = Duration::from_millis(2);
            let load = Load::start(field, paced);
            load.wait_for_over(100, PATIENCE);
            standing.kill();
            standing = Standing::start(field, run.subject, &Setup::default());
            let begun = load.over();
            load.wait_for_over(begun + 200, PATIENCE);
            let outcome = load.stop();
            let refused = outcome.ended(Ended::Refused);
            run.figure("B16", refused as f64);
            run.told("sessions cut by it", (outcome.failed() - refused) as f64, "");
            let mut whole: Vec<Instant> = outcome
                .told
                .iter()
                .filter(|told| told.ended == Ended::Whole)
                .map(|told| told.at)
                .collect();
            whole.sort_unstable();
            let gap = whole.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or_default();
            run.told("longest time without a success", millis(gap), "ms");
            run.claim(outcome.wrong() == 0, "no wrong byte", outcome.words());
            run.claim(gap < PATIENCE / 2, "it is back at once", millis(gap));
        }
        oracle::end(run, standing);
    });
}

/// Starts it; from the start of its process to the first connection it takes.
fn cold<'f>(run: &mut Run, field: &'f Field) -> Standing<'f> {
    let is_over = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&is_over);
    let first = field.clients.spawn(move || {
        while !told.load(SeqCst) {
            if std::net::TcpStream::connect_timeout(&Field::TARGET, Duration::from_secs(1)).is_ok() {
                return Some(Instant::now());
            }
            pass(Duration::from_micros(200));
        }
        None
    });
    let mut begun = Instant::now();
    let standing = Standing::start_with(field, run.subject, &Setup::default(), |command| {
        begun = Instant::now();
        command
    });
    is_over.store(true, SeqCst);
    let first = first.join().unwrap();
    run.figure("B15", millis(first.map_or(PATIENCE, |first| first - begun)));
    run.claim(first.is_some(), "it takes connections once it is there", "");
    standing
}

//! Drills of resets and of clients that are gone without a word: T6, T7.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, Instant};

use std::process::Command;

use super::field::{Field, Rules, said};
use super::load::{Ended, Load, Plan};
use super::oracle;
use super::report::{Run, drill};
use super::subject::{EVERYBODY, Setup, Standing};
use crate::common::{Backend, PATIENCE, Peer, eventually};

/// Bytes before the end, each way.
const BEFORE: usize = 100_000;

#[test]
fn t6_a_reset_is_passed_on_as_a_reset_and_a_storm_of_them_harms_nobody_else() {
    drill(
        "T6",
        "RST from either side; RST storm; sockets destroyed",
        EVERYBODY,
        |run, field| {
            let seen = Arc::new(AtomicUsize::new(0));
            let lines: [_; 3] = std::array::from_fn(|number| {
                let seen = Arc::clone(&seen);
                field.backends[number]
                    .within(|| Backend::serve_at(field.backend(number), move |peer| actor(peer, &seen)))
            });
            let standing = Standing::start(field, run.subject, &Setup::default());
            fidelity(run, field, &seen);
            drop(lines);
            let _servers = field.serve_all();
            eventually("echoing backends are up", || {
                (Load::run(field, Plan::short(3, 6)).failed() == 0).then_some(())
            });
            storm(run, field, &standing);
            oracle::end(run, standing);
        },
    );
}

/// "r": so many bytes, then RST. "w": waits for the end, and counts a RST. Else: a check.
fn actor(peer: &Peer, resets_seen: &AtomicUsize) {
    match peer.take_unless_reset() {
        Some([b'r']) => {
            // All of it is in the balancer's kernel before the RST.
            peer.send_noise(1, BEFORE).wait_until_acknowledged().reset_now();
        }
        Some([b'w']) => {
            // From now on the session stands: a client that resets before is forgotten at once, and meant to be.
            peer.send(b"k");
            peer.expect_noise(2, BEFORE);
            if peer.is_reset_next() {
                resets_seen.fetch_add(1, SeqCst);
            }
        }
        _ => {}
    }
}

fn fidelity(run: &mut Run, field: &Field, seen: &AtomicUsize) {
    let rounds = run.size(20, 300);
    let told = field.clients.within(|| {
        let reset = |_: &usize| {
            let client = Peer::connect(Field::TARGET);
            client.send(b"r").expect_noise(1, BEFORE);
            client.is_reset_next()
        };
        (0..rounds).filter(reset).count()
    });
    run.claim(true, "every byte before a RST arrives", "");
    run.figure("B2", told as f64 * 100.0 / rounds as f64);
    run.claim(
        told == rounds || !run.is_lb(),
        "backend's RST stays RST",
        format!("{told} of {rounds}"),
    );
    field.clients.within(|| {
        for _ in 0..rounds {
            let client = Peer::connect(Field::TARGET);
            client
                .send(b"w")
                .expect(b"k")
                .send_noise(2, BEFORE)
                .wait_until_acknowledged();
            client.reset();
        }
    });
    let from = Instant::now();
    while seen.load(SeqCst) < rounds && from.elapsed() < Duration::from_secs(3) {
        crate::common::pass(Duration::from_millis(5));
    }
    let seen = seen.load(SeqCst);
    run.figure("B3", seen as f64 * 100.0 / rounds as f64);
    run.claim(
        seen == rounds || !run.is_lb(),
        "client's RST stays RST",
        format!("{seen} of {rounds}"),
    );
}

/// Clients that reset by the thousand, and sockets of the balancer destroyed under it, beside sessions that must not notice.
fn storm(run: &mut Run, field: &Field, standing: &Standing<'_>) {
    let quiet = Load::run(field, Plan::short(8, 200)).answer(0.99);
    let beside = Load::start(field, Plan::held(50));
    beside.wait_for_live(50);
    let is_over = Arc::new(AtomicBool::new(false));
    let count = Arc::new(AtomicUsize::new(0));
    let storms: Vec<_> = (0..2)
        .map(|_| {
            let (is_over, count) = (Arc::clone(&is_over), Arc::clone(&count));
            field.clients.spawn(move || {
                while !is_over.load(SeqCst) {
                    let number = count.fetch_add(1, SeqCst);
                    let Some(client) = Peer::connect_unless_reset(Field::TARGET) else {
                        continue;
                    };
                    // In the accept queue, on the way to a backend, and in mid-session.
                    match number % 3 {
                        0 => {}
                        1 => drop(client.is_sent(b"on the way")),
                        _ => drop(client.is_echoed(b"in")),
                    }
                    client.reset();
                }
            })
        })
        .collect();
    let busy = Load::run(field, Plan::short(8, run.size(300, 20_000)));
    is_over.store(true, SeqCst);
    storms.into_iter().for_each(|storm| storm.join().unwrap());
    run.told("resets in the storm", count.load(SeqCst) as f64, "");
    run.claim(busy.failed() == 0, "new sessions in the storm live", busy.words());
    let times = busy.answer(0.99).as_secs_f64() / quiet.as_secs_f64();
    run.told("their p99 to the one before", times, "x");
    // Then the balancer's own sockets, both ends of some sessions: they end, and nothing else.
    let victims = Load::start(field, Plan::held(20));
    victims.wait_for_live(20);
    let destroyed = field.balancer.within(|| destroy(10));
    let outcome = victims.stop();
    let kept = beside.stop();
    let hit = outcome.failed() + kept.failed();
    run.claim(
        destroyed > 0 && hit > 0 && hit <= destroyed,
        "a destroyed socket ends its session, and no other",
        format!("{destroyed} destroyed; {} and {}", outcome.words(), kept.words()),
    );
    run.claim(
        busy.wrong() + outcome.wrong() + kept.wrong() == 0,
        "no wrong byte",
        outcome.words(),
    );
    let left = standing.sockets_left();
    run.claim(left == 0, "no socket left", left);
}

/// Destroys so many of the sockets towards clients (`ss -K`, which is INET_DIAG_DESTROY): how many it did.
fn destroy(count: usize) -> usize {
    let target = format!("{}", Field::TARGET.port());
    let lines = said(Command::new("ss").args(["-Htn", "state", "established", "sport", "=", &format!(":{target}")]));
    let ports = lines
        .lines()
        .filter_map(|line| line.split_ascii_whitespace().nth(3)?.rsplit(':').next());
    let mut destroyed = 0;
    for port in ports.take(count) {
        let filter = [
            "-HKtn",
            "sport",
            "=",
            &format!(":{target}"),
            "and",
            "dport",
            "=",
            &format!(":{port}"),
        ];
        destroyed += said(Command::new("ss").args(filter)).lines().count();
    }
    destroyed
}

#[test]
fn t7_clients_that_are_gone_without_a_word_are_let_go_of() {
    drill(
        "T7",
        "half-open clients: their network is gone",
        EVERYBODY,
        |run, field| {
            let _servers = field.serve_all();
            let limit = run.size(3, 20);
            let Some(setup) = Setup::default().bounded(field, run.subject, limit) else {
                run.pending("half-open clients are let go of in time", "this lb has no peer_timeout");
                return;
            };
            let standing = Standing::start(field, run.subject, &setup);
            let count = run.size(100, 2000);
            // Silent when the network goes: only a keepalive finds out.
            let mut plan = Plan::held(count).patience(Duration::from_secs(1));
            plan.pause = Duration::from_secs(3600);
            let load = Load::start(field, plan);
            load.wait_for_live(count);
            let resident = standing.footprint().resident_kib;
            let rules = Rules::set(&field.clients, &["input drop", "output drop"]);
            let from = Instant::now();
            let patience = Duration::from_secs(limit as u64 * 3)
                + if run.is_long {
                    Duration::from_secs(10)
                } else {
                    PATIENCE / 2
                };
            while standing.sockets() > 0 && from.elapsed() < patience {
                crate::common::pass(Duration::from_millis(50));
            }
            let left = standing.sockets() / 2;
            run.told("half-open clients gone after", from.elapsed().as_secs_f64(), "s");
            run.told("half-open clients left then", left as f64, "");
            run.claim(
                left == 0 || !run.is_lb(),
                "half-open clients are let go of in time",
                format!("{left} of {count} left"),
            );
            let more = standing.footprint().resident_kib.saturating_sub(resident);
            run.claim(more < 1024, "no memory more while they hang", format!("{more} KiB"));
            drop(rules);
            let outcome = load.stop();
            run.claim(outcome.wrong() == 0, "no wrong byte", outcome.words());
            let fresh = Load::run(field, Plan::short(10, 100));
            run.claim(
                fresh.ended(Ended::Whole) == 100,
                "whoever comes later is served",
                fresh.words(),
            );
            oracle::end(run, standing);
        },
    );
}

//! Drills of much: many sessions for long (T1), a bad network (T5), every byte of it (T26).

use std::process::Command;
use std::time::{Duration, Instant};

use super::field::{Field, Rules, said};
use super::load::{Load, Plan};
use super::oracle;
use super::report::{Run, drill, millis};
use super::subject::{EVERYBODY, Setup, Standing, Subject};
use crate::common::{Program, client_command, pass};

#[test]
fn t1_a_load_is_held_without_an_error() {
    drill(
        "T1",
        "load held: many sessions, then many short ones",
        EVERYBODY,
        |run, field| {
            crate::common::raise_fd_limit();
            let _servers = field.serve_all();
            let standing = Standing::start(
                field,
                run.subject,
                &Setup {
                    max_connections: 7900,
                    ..Setup::default()
                },
            );
            idle(run, field, &standing);
            // HAProxy's budget of descriptors has pipes in it.
            let most = if run.subject == Subject::Haproxy { 7800 } else { 9500 };
            let count = run.size(300, most);
            let mut plan = Plan::held(count);
            plan.pause = Duration::from_millis(run.size(100, 2000) as u64);
            let load = Load::start(field, plan);
            load.wait_for_live(count);
            pass(Duration::from_secs(run.size(1, 300) as u64));
            let live = load.live();
            run.told("sessions held", live as f64, "");
            run.claim(live == count, "every session is held", load.so_far().words());
            let outcome = load.stop();
            run.claim(outcome.failed() == 0, "and finishes whole", outcome.words());
            run.told("records", outcome.answers.len() as f64, "");
            run.told("answer p99", millis(outcome.answer(0.99)), "ms");
            short(run, field);
            oracle::end(run, standing);
        },
    );
}

/// What a session costs that has moved a record and rests.
fn idle(run: &mut Run, field: &Field, standing: &Standing<'_>) {
    let count = run.size(300, 3000);
    let mut resting = Plan::held(count);
    resting.pause = Duration::from_secs(3600);
    let before = standing.footprint();
    let load = Load::start(field, resting);
    load.wait_for_live(count);
    let more = standing.footprint().resident_kib.saturating_sub(before.resident_kib);
    run.figure("B11", more as f64 * 1.024 / count as f64);
    let outcome = load.stop();
    run.claim(outcome.failed() == 0, "resting sessions finish whole", outcome.words());
}

/// Short connections as fast as the repository's own client makes them.
fn short(run: &mut Run, field: &Field) {
    let mut command = client_command();
    let target = Field::TARGET.to_string();
    let span = format!("{}s", run.size(1, 15)); // less than anybody waits for it
    let arguments = [
        "--target",
        &target,
        "--conns",
        "64",
        "--new-connection",
        "--duration",
        &span,
        "--size",
        "64",
    ];
    command
        .args(arguments)
        .args(["--admin", "127.0.0.1:1", "--json", "/dev/stdout"]);
    let mut client = field.clients.within(|| Program::captured(command));
    let code = client.exit_code();
    run.claim(code == Some(0), "short connections without an error", client.story());
    let rate = client.stdout().join("\n");
    let rate = rate.split("\"requests_per_second\":").nth(1).and_then(|rest| {
        rest.trim_start()
            .split([',', '}', '\n'])
            .next()?
            .trim()
            .parse::<f64>()
            .ok()
    });
    run.told("short connections", rate.unwrap_or_default(), "/s");
}

#[test]
fn t5_a_bad_network_costs_time_and_no_byte() {
    drill(
        "T5",
        "loss between clients and balancer and backends; 1 Mb/s",
        EVERYBODY,
        |run, field| {
            let _servers = field.serve_all();
            // A SYN is sent again after a second: with less time, one lost packet is a failed connect.
            let setup = Setup {
                connect_ms: 3000,
                ..Setup::default()
            };
            let standing = Standing::start(field, run.subject, &setup);
            let losses: &[u32] = if run.is_long { &[1, 10, 50, 200] } else { &[20] };
            for loss in losses {
                lossy(run, field, *loss);
            }
            let down = if run.is_lb() {
                standing.lb().lines_with("is down").len()
            } else {
                0
            };
            run.told("times that a backend was taken for down", down as f64, "");
            narrow(run, field);
            oracle::end(run, standing);
        },
    );
}

/// `loss` of 1,000 packets are lost, each way, at each side of the balancer.
fn lossy(run: &mut Run, field: &Field, loss: u32) {
    let [input, output] =
        ["input", "output"].map(|way| format!("{way} meta iif != lo numgen random mod 1000 < {loss} drop"));
    let output = output.replace("iif", "oif");
    let percent = f64::from(loss) / 10.0;
    let mut plan = Plan::short(20, run.size(60, if loss < 200 { 400 } else { 60 })).patience(Duration::from_secs(60));
    plan.sizes = vec![100, 20_000, 65_537];
    plan.records = 2;
    let timed = |target| {
        let from = Instant::now();
        let outcome = Load::run(field, Plan { target, ..plan.clone() });
        (outcome, from.elapsed())
    };
    let rules = Rules::set(&field.balancer, &[&input, &output]);
    let (outcome, _) = timed(Field::TARGET);
    drop(rules);
    // At the clients' side alone, so that the same can be had without a balancer.
    let rules = Rules::set(&field.clients, &[&input, &output]);
    let (beside, through) = timed(Field::TARGET);
    let (direct, directly) = timed(field.backend(0));
    drop(rules);
    run.told(
        &format!("rate at {percent} % loss, to that without a balancer"),
        directly.as_secs_f64() / through.as_secs_f64() * 100.0,
        "%",
    );
    run.claim(
        outcome.wrong() + beside.wrong() + direct.wrong() == 0,
        "no wrong byte",
        outcome.words(),
    );
    // At 20 % the kernel itself gives up on some.
    let all_whole = outcome.failed() + beside.failed() == 0 || loss >= 200;
    run.claim(
        all_whole,
        "no session fails",
        format!("{percent} %: {} and {}", outcome.words(), beside.words()),
    );
}

/// A link of 1 Mb/s with a queue of 200 ms, at the balancer.
fn narrow(run: &mut Run, field: &Field) {
    let tc = |action: &str, rest: &[&str]| {
        field.balancer.within(|| {
            said(
                Command::new("tc")
                    .args(["qdisc", action, "dev", "eth0", "root"])
                    .args(rest),
            )
        })
    };
    tc("add", &["tbf", "rate", "1mbit", "burst", "16kb", "latency", "200ms"]);
    let mut plan = Plan::short(4, run.size(8, 60)).patience(Duration::from_secs(60));
    plan.sizes = vec![10_000];
    let outcome = Load::run(field, plan);
    tc("del", &[]);
    run.claim(outcome.failed() == 0, "over 1 Mb/s all finish whole", outcome.words());
}

#[test]
fn t26_every_byte_arrives_whatever_the_size_and_whoever_finishes_first() {
    drill(
        "T26",
        "byte integrity: sizes around the buffers, FIN behind the last byte",
        EVERYBODY,
        |run, field| {
            let _servers = field.serve_all();
            let standing = Standing::start(field, run.subject, &Setup::default());
            let count = run.size(20, 200);
            let mut half = Plan::short(4, count);
            half.finishes_early = true;
            half.sizes = vec![1 << 20];
            let halves = Load::run(field, half);
            run.figure("B1", (count - halves.failed()) as f64 * 100.0 / count as f64);
            run.claim(halves.failed() == 0, "1 MiB up, FIN, 1 MiB down", halves.words());
            let mut plan = Plan::short(16, run.size(200, 20_000));
            plan.finishes_early = true;
            plan.records = 2;
            // 24 bytes of a record are its head.
            let around = |size: usize| [size - 25, size - 24, size - 23];
            plan.sizes = [
                vec![0, 1, 1000],
                around(4096).to_vec(),
                around(16_384).to_vec(),
                around(65_536).to_vec(),
            ]
            .concat();
            plan.sizes.extend(around(if run.is_long { 1 << 20 } else { 131_072 }));
            // Packets are lost meanwhile, and the file is read anew.
            let lost = ["input meta iif != lo numgen random mod 1000 < 2 drop"];
            let rules = Rules::set(&field.balancer, &lost);
            let load = Load::start(field, plan.clone());
            while !load.wait_for_over(plan.total, Duration::from_millis(500)) {
                if run.is_lb() {
                    standing.reload(&Setup::default());
                }
            }
            let outcome = load.stop();
            drop(rules);
            run.told("sessions", outcome.told.len() as f64, "");
            run.told("wrong bytes", outcome.wrong() as f64, "");
            run.claim(outcome.wrong() == 0, "no wrong byte", outcome.words());
            run.claim(outcome.failed() == 0, "no end that isn't explained", outcome.words());
            oracle::end(run, standing);
        },
    );
}

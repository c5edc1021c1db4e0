//! Drills of clients that are slow or silent: T8, T9.

use std::process::Command;
use std::time::{Duration, Instant};

use super::field::{BACKENDS, Field, said};
use super::load::{Load, Plan};
use super::oracle;
use super::report::{Run, drill, millis};
use super::subject::{EVERYBODY, Setup, Standing};
use crate::common::{Backend, Peer, pass};

/// Noise that every endless sender sends.
const SEED: u64 = 8;

#[test]
fn t8_clients_that_do_not_read_cost_little_and_lose_nothing() {
    drill(
        "T8",
        "clients that don't read, backends that don't stop",
        EVERYBODY,
        |run, field| {
            // "e": sends without end. Anything else is echoed.
            let _backends: [_; BACKENDS] = std::array::from_fn(|number| {
                field.backends[number].within(|| {
                    Backend::serve_at(field.backend(number), |peer| match peer.take_unless_reset() {
                        Some([b'e']) => peer.send_noise_until_end(SEED),
                        Some(byte) if peer.is_sent(&byte) => peer.echo(),
                        _ => {}
                    })
                })
            });
            let standing = Standing::start(field, run.subject, &Setup::default());
            let quiet = rate(run, field);
            let count = run.size(40, 500);
            let before = standing.footprint();
            let readers: Vec<Peer> = field.clients.within(|| {
                (0..count)
                    .map(|_| {
                        let reader = Peer::connect_small(Field::TARGET, 4096);
                        reader.send(b"e");
                        reader
                    })
                    .collect()
            });
            let held = kernel_when_full(&standing);
            let now = standing.footprint();
            let each = |whole: f64| whole / count as f64;
            run.figure("B10", each(held as f64 / 1_048_576.0));
            run.figure(
                "B10b",
                each(now.resident_kib.saturating_sub(before.resident_kib) as f64 * 1.024),
            );
            run.told(
                "descriptors a non-reading client",
                each(now.fds as f64 - before.fds as f64),
                "",
            );
            let busy = rate(run, field);
            run.told("others' rate meanwhile", busy / quiet * 100.0, "%");
            let cpu = standing.cpu_percent(Duration::from_millis(500));
            run.told("CPU while nobody reads", cpu, "%");
            run.claim(
                cpu < 50.0,
                "nobody who doesn't read keeps it busy",
                format!("{cpu:.1} % of a processor"),
            );
            // They wake, and nothing is missing of what waited for them.
            field.clients.within(|| {
                for reader in readers.iter().take(10) {
                    reader.expect_noise(SEED, 2 << 20);
                }
            });
            run.claim(true, "who reads at last gets every byte", "");
            readers.into_iter().for_each(Peer::reset);
            oracle::end(run, standing);
        },
    );
}

/// Sessions a second, with eight at a time.
fn rate(run: &Run, field: &Field) -> f64 {
    let from = Instant::now();
    let count = run.size(400, 5000);
    let outcome = Load::run(field, Plan::short(8, count));
    assert_eq!(outcome.failed(), 0, "{}", outcome.words());
    count as f64 / from.elapsed().as_secs_f64()
}

/// Bytes that the balancer's sockets hold in the kernel, when they hold no more than a moment before.
fn kernel_when_full(standing: &Standing<'_>) -> u64 {
    let mut last = 0;
    // Autotuning goes on for as long as somebody reads; nobody does.
    for _ in 0..60 {
        pass(Duration::from_millis(300));
        let now = kernel(standing);
        if now <= last + last / 100 {
            return now;
        }
        last = now;
    }
    last
}

/// `r`, `w` and `f` of each socket's skmem: received, queued for sending, and set aside (ss(8)).
fn kernel(standing: &Standing<'_>) -> u64 {
    let lines = standing
        .field
        .balancer
        .within(|| said(Command::new("ss").args(["-Htmn", "state", "connected"])));
    let fields = lines.split("skmem:(").skip(1).filter_map(|rest| rest.split(')').next());
    let value = |field: &str, key: &str| -> u64 {
        let value = field.split(',').find_map(|part| part.strip_prefix(key)?.parse().ok());
        value.unwrap_or(0)
    };
    fields
        .map(|field| value(field, "r") + value(field, "w") + value(field, "f"))
        .sum()
}

#[test]
fn t9_slow_writers_are_ended_when_they_are_silent_and_hold_nobody_up() {
    drill(
        "T9",
        "slow writers, slowloris, silent PROXY clients",
        EVERYBODY,
        |run, field| {
            let _servers = field.serve_all();
            let setup = Setup {
                idle_ms: run.size(4000, 9000) as u64,
                ..Setup::default()
            };
            let standing = Standing::start(field, run.subject, &setup);
            let count = run.size(100, 5000);
            let (slow, silent) = field.clients.within(|| {
                let open = |count: usize| (0..count).map(|_| Peer::connect(Field::TARGET)).collect::<Vec<_>>();
                (open(count), open(20))
            });
            // A byte every quarter of the idle timeout: alive for as long as they like.
            let from = Instant::now();
            let step = Duration::from_millis(setup.idle_ms / 4);
            let mut slowest = Duration::ZERO;
            for _ in 0..5 {
                field.clients.within(|| {
                    for peer in &slow {
                        peer.send(b"s").expect(b"s");
                    }
                });
                let others = Load::run(field, Plan::short(8, 100));
                run.claim(others.failed() == 0, "others are served meanwhile", others.words());
                slowest = slowest.max(others.first_answer(0.99));
                pass(step.saturating_sub(Duration::from_millis(
                    from.elapsed().as_millis() as u64 % step.as_millis() as u64,
                )));
            }
            run.told("others' p99", millis(slowest), "ms");
            run.claim(true, "a byte now and then keeps a session", "");
            let ended = field.clients.within(|| {
                silent.iter().for_each(Peer::wait_for_end);
                from.elapsed()
            });
            run.told("silent ones are ended after", ended.as_secs_f64(), "s");
            run.claim(
                ended < Duration::from_secs(60),
                "silence is ended by the idle timeout",
                millis(ended),
            );
            drop((slow, silent));
            oracle::end(run, standing);
            silent_proxy(run, field);
        },
    );
}

/// A listener that wants a PROXY header, and clients that never send one, or a byte a second of it.
fn silent_proxy(run: &mut Run, field: &Field) {
    let claim = "who sends no PROXY header is cut at an absolute deadline";
    let setup = Setup {
        proxy_protocol: true,
        idle_ms: 60_000,
        ..Setup::default()
    };
    if run.is_lb() && !setup.is_understood(field) {
        run.pending(claim, "this lb has no [service.proxy_protocol]");
        return;
    }
    let standing = Standing::start(field, run.subject, &setup);
    let patience = Duration::from_secs(if run.is_long { 65 } else { 5 });
    let from = Instant::now();
    let (silent, slow) = field
        .clients
        .within(|| (Peer::connect(Field::TARGET), Peer::connect(Field::TARGET)));
    let mut header = b"PROXY TCP4 10.0.0.1 10.0.0.2 1 2\r\n".iter();
    let (mut silent_for, mut slow_for) = (None, None);
    while from.elapsed() < patience && (silent_for.is_none() || slow_for.is_none()) {
        if slow_for.is_none() && header.next().is_none_or(|byte| !slow.is_sent(&[*byte])) {
            slow_for = Some(from.elapsed());
        }
        let until = Instant::now() + Duration::from_secs(1);
        while Instant::now() < until {
            if silent_for.is_none() && silent.has_ended() {
                silent_for = Some(from.elapsed());
            }
            if slow_for.is_none() && slow.has_ended() {
                slow_for = Some(from.elapsed());
            }
            pass(Duration::from_millis(10));
        }
    }
    // One that is still there is held at least so long.
    run.figure("B14", silent_for.unwrap_or(patience).as_secs_f64());
    run.told(
        "a byte a second of the header: held",
        slow_for.unwrap_or(patience).as_secs_f64(),
        "s",
    );
    run.claim(
        !run.is_lb() || (silent_for.is_some() && slow_for.is_some()),
        claim,
        format!("{silent_for:?}, {slow_for:?}"),
    );
    drop((silent, slow));
    oracle::end(run, standing);
}

//! Each timeout, in a second of its due, and never early.

use std::time::{Duration, Instant};

use super::common::{Backend, Balancer, Blackhole, Config, Peer, Signal, run_by, tell};

/// A span that is due after `due`, as seen from a moment before it began: never early, and at most a second late.
fn assert_due(took: Duration, due: Duration) {
    assert!(took >= due, "after {took:?} already, due after {due:?}");
    assert!(
        took <= due + Duration::from_secs(1),
        "after {took:?} only, due after {due:?}"
    );
}

fn pair(lines: &str) -> (Balancer, Backend, Peer, Peer) {
    let backend = Backend::listen();
    let lb = Balancer::start(&Config::with_backends(&[("a", backend.address())]).service(lines));
    let client = Peer::connect(lb.address());
    let server = backend.accept();
    (lb, backend, client, server)
}

#[test]
fn a_session_without_a_byte_ends_at_the_idle_timeout_for_both_sides() {
    let from = Instant::now();
    let (lb, _backend, client, server) = pair("idle_timeout = \"1500ms\"");
    assert_due(client.time_to_reset(from), Duration::from_millis(1500));
    server.expect_reset();
    assert_eq!(lb.finish().ended("idle_timeout"), 1);
}

#[test]
fn every_byte_either_way_puts_the_idle_timeout_off() {
    let (lb, _backend, client, server) = pair("idle_timeout = \"1s\"");
    for round in 0..4 {
        let (from, to) = if round % 2 == 0 {
            (&client, &server)
        } else {
            (&server, &client)
        };
        to.expect_silence(Duration::from_millis(600));
        from.send(b"here");
        to.expect(b"here");
    }
    let from = Instant::now();
    client.time_to_reset(from);
    assert!(from.elapsed() <= Duration::from_secs(2), "{:?}", from.elapsed());
    assert_eq!(lb.finish().ended("idle_timeout"), 1);
}

#[test]
fn a_half_closed_session_that_is_silent_ends_at_its_own_timeout() {
    let (lb, backend, client, server) = pair("half_close_timeout = \"1500ms\"");
    let from = Instant::now();
    client.fin();
    server.expect_eof();
    assert_due(client.time_to_reset(from), Duration::from_millis(1500));
    server.expect_reset_after_fin();
    // The same with the backend first.
    let client = Peer::connect(lb.address());
    let server = backend.accept();
    let from = Instant::now();
    server.fin();
    client.expect_eof();
    assert_due(server.time_to_reset(from), Duration::from_millis(1500));
    client.expect_reset_after_fin();
    assert_eq!(lb.finish().ended("half_close_timeout"), 2);
}

#[test]
fn a_half_closed_session_that_moves_bytes_lives_on() {
    let (lb, _backend, client, server) = pair("half_close_timeout = \"1s\"");
    client.fin();
    server.expect_eof();
    for _ in 0..4 {
        client.expect_silence(Duration::from_millis(600));
        server.send(b"more");
        client.expect(b"more");
    }
    server.fin();
    client.expect_eof();
    assert_eq!(lb.finish().ended("client_closed"), 1);
}

#[test]
fn a_blocked_session_ends_at_the_idle_timeout_with_data_pending() {
    let (lb, _backend, client, server) = pair("idle_timeout = \"1500ms\"");
    // Nobody reads: bytes wait in lb, and the way back is silent.
    server.send_until_stuck(1, Duration::from_millis(200));
    let from = Instant::now();
    server.send_until_end();
    assert!(from.elapsed() <= Duration::from_millis(2500), "{:?}", from.elapsed());
    client.expect_reset_after_any_bytes();
    assert_eq!(lb.finish().ended("idle_timeout"), 1);
}

#[test]
fn a_blocked_half_closed_session_costs_no_processor_time_and_ends_at_idle_timeout() {
    // Not at half_close_timeout: the client isn't asked for anything but to read, and may be slow.
    let (lb, _backend, client, server) = pair("half_close_timeout = \"1s\"\nidle_timeout = \"3s\"");
    server.send_until_stuck(1, Duration::from_millis(300));
    client.fin();
    server.expect_eof().fin();
    let cpu = lb.process().cpu_during(Duration::from_secs(2));
    assert!(cpu <= Duration::from_millis(100), "{cpu:?} of 2 s, with nothing to do");
    lb.wait_until_idle(); // before anybody reads
    client.expect_reset_after_any_bytes();
    assert_eq!(lb.finish().ended("idle_timeout"), 1);
}

#[test]
fn a_connect_without_an_answer_ends_at_the_connect_timeout() {
    let blackhole = Blackhole::open();
    let config = Config::with_backends(&[("a", blackhole.address())]).service("connect_timeout = \"1500ms\"");
    let lb = Balancer::start(&config);
    let from = Instant::now();
    let client = Peer::connect(lb.address());
    client.send(b"anybody there?");
    assert_due(client.time_to_reset(from), Duration::from_millis(1500));
    let closing = lb.finish();
    assert_eq!(
        (
            closing.ended("connect_failed"),
            closing.backend("a", " failed connects")
        ),
        (1, 1)
    );
}

#[test]
fn a_drain_ends_at_the_drain_timeout_and_resets_what_is_left() {
    let backend = Backend::echo();
    let config = Config::with_backends(&[("a", backend.address())]).runtime("workers = 2\ndrain_timeout = \"1500ms\"");
    let lb = Balancer::start(&config);
    let clients: Vec<_> = (0..20).map(|_| Peer::connect(lb.address())).collect();
    for client in &clients {
        client.send(b"in").expect(b"in");
    }
    let from = Instant::now();
    lb.signal(Signal::TERM);
    assert_due(clients[0].time_to_reset(from), Duration::from_millis(1500));
    for client in &clients[1..] {
        client.expect_reset();
    }
    let closing = lb.finish_stopped();
    assert_eq!(closing.ended("shutdown"), 20, "{closing:?}");
}

#[test]
fn a_thousand_idle_sessions_end_together_at_their_due() {
    let backend = Backend::listen();
    let config = Config::with_backends(&[("a", backend.address())]).service("idle_timeout = \"3s\"");
    let lb = Balancer::start(&config);
    let clients: Vec<_> = (0..1000)
        .map(|_| (Peer::connect(lb.address()), Instant::now()))
        .collect();
    for (client, from) in clients {
        // Those behind are read later than they end: only the earliest is a bound on each.
        assert!(
            client.time_to_reset(from) <= Duration::from_secs(5),
            "{:?}",
            from.elapsed()
        );
    }
    assert_eq!(lb.finish().ended("idle_timeout"), 1000);
}

#[test]
fn timeouts_are_kept_when_the_machine_has_been_up_for_49_days_and_17_hours() {
    // The clock of lb passes 2^32 milliseconds in the middle of the test.
    if !rustix::process::geteuid().is_root() {
        tell("timeouts_are_kept_when…: skipped: a time namespace needs root");
        return;
    }
    let uptime = std::fs::read_to_string("/proc/uptime").unwrap();
    let uptime: f64 = uptime.split(' ').next().unwrap().parse().unwrap();
    let offset = (u32::MAX / 1000) - uptime as u32 - 2;
    let backend = Backend::listen();
    let config = Config::with_backends(&[("a", backend.address())]).service("idle_timeout = \"3s\"");
    let lb = Balancer::start_with(&config, |command| {
        run_by(&["unshare", "--time", "--monotonic", &offset.to_string()], &command)
    });
    let clients: Vec<_> = (0..4)
        .map(|_| {
            let from = Instant::now();
            let client = Peer::connect(lb.address());
            client.expect_silence(Duration::from_millis(700));
            (client, from)
        })
        .collect();
    for (client, from) in clients {
        assert_due(client.time_to_reset(from), Duration::from_secs(3));
    }
    let ended = std::fs::read_to_string(format!("/proc/{}/timens_offsets", lb.process().0)).unwrap();
    assert!(
        ended.contains(&offset.to_string()),
        "it ran in the time of the machine: {ended}"
    );
    assert_eq!(lb.finish().ended("idle_timeout"), 4);
}

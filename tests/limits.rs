//! Limits that are exact, and what is told to whom they turn away.

use std::time::Duration;

use rustix::process::{Resource, Rlimit, prlimit};

use super::common::{
    Backend, Balancer, Config, Peer, Program, at_once, expect_refusal, lb_command, raise_fd_limit, run_by, tcp_server,
};

const THREADS: usize = 16;
const EACH: usize = 20;

/// Storms `lb` with 320 connections from 16 threads, all held to the end: how many were let in. The others must be told by RST.
fn storm(lb: &Balancer) -> Vec<Peer> {
    let mut kept = Vec::new();
    let outcomes = at_once(THREADS, |_| {
        (0..EACH)
            .map(|_| Peer::connect_unless_reset(lb.address()))
            .collect::<Vec<_>>()
    });
    for peer in outcomes.into_iter().flatten().flatten() {
        // Whoever is let in is greeted, all others are reset.
        if peer.is_greeted() {
            kept.push(peer);
        }
    }
    kept
}

fn check(config: &Config, limit: usize, end: &str) {
    let lb = Balancer::start(config);
    let kept = storm(&lb);
    assert_eq!(kept.len(), limit);
    expect_refusal(lb.address());
    // One leaves: exactly one place is free.
    let mut kept = kept;
    kept.pop().unwrap().fin().expect_eof();
    lb.wait_for_fds_more(2 * (limit - 1));
    kept.push(Peer::connect(lb.address()));
    assert!(kept.last().unwrap().is_greeted());
    expect_refusal(lb.address());
    drop(kept);
    let closing = lb.finish();
    assert_eq!(closing.ended(end) as usize, THREADS * EACH - limit + 2, "{closing:?}");
}

#[test]
fn a_backends_max_connections_is_never_overshot_by_16_storming_threads() {
    for balance in ["round_robin", "least_connections"] {
        let backends = [Backend::named("x"), Backend::named("x")];
        let config = backends
            .iter()
            .zip(["a", "b"])
            .fold(Config::new().runtime("workers = 4"), |config, (backend, name)| {
                config.backend(name, backend.address(), "max_connections = 25")
            });
        check(&config.service(&format!("balance = \"{balance}\"")), 50, "no_backend");
        for backend in &backends {
            assert_eq!(
                backend.accepted(),
                25 + usize::from(backend.accepted() > 25),
                "held to the end"
            );
        }
    }
}

#[test]
fn a_services_max_connections_is_never_overshot_by_16_storming_threads() {
    let backend = Backend::named("x");
    let config = Config::new()
        .runtime("workers = 4")
        .service("max_connections = 100")
        .backend("a", backend.address(), "");
    check(&config, 100, "refused");
    assert_eq!(backend.accepted(), 101);
}

#[test]
fn the_process_max_connections_is_never_overshot_by_16_storming_threads() {
    let backend = Backend::named("x");
    let config = Config::new()
        .runtime("workers = 4\nmax_connections = 100")
        .backend("a", backend.address(), "");
    check(&config, 100, "refused");
    assert_eq!(backend.accepted(), 101);
}

#[test]
fn a_limit_of_one_service_is_no_limit_of_another() {
    let backend = Backend::named("x");
    let config = Config::new()
        .service("max_connections = 1")
        .backend("a", backend.address(), "")
        .and_service("other")
        .backend("a", backend.address(), "");
    let lb = Balancer::start(&config);
    let held = Peer::connect(lb.address());
    held.expect(b"x\n");
    expect_refusal(lb.address());
    Peer::connect(lb.addresses_of("other")[0])
        .expect(b"x\n")
        .fin()
        .expect_eof();
    held.send(b"still here").expect(b"still here");
}

/// Starts `lb` under a limit of descriptors, and expects it to refuse: what it says.
fn refusal(fd_limit: u32, config: &Config) -> String {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("lb.toml"), config.text()).unwrap();
    let mut program = Program::captured(limited(fd_limit, &lb_command(folder.path())));
    assert_eq!(program.exit_code(), Some(1), "{}", program.story());
    program.line("file-descriptor limit")
}

#[test]
fn more_connections_than_the_descriptors_carry_are_refused_at_the_start() {
    let config = |max: u32| {
        Config::new()
            .runtime(&format!("workers = 2\nmax_connections = {max}"))
            .backend("a", "127.0.0.1:9".parse().unwrap(), "")
    };
    let line = refusal(500, &config(400));
    assert!(
        line.contains("runtime.max_connections: 400 found; the file-descriptor limit of 500 carries at most "),
        "{line}"
    );
    let line = refusal(40, &config(0));
    assert!(
        line.contains("the file-descriptor limit of 40 leaves room for "),
        "{line}"
    );
    let (_, carried) = refusal(500, &config(499))
        .split_once("at most ")
        .map(|(a, b)| (a.to_owned(), b.to_owned()))
        .unwrap();
    let carried: u32 = carried.split_once(':').unwrap().0.parse().unwrap();
    // Exactly so many start.
    let lb = Balancer::start_with(&config(carried), |command| limited(500, &command));
    drop(lb);
    refusal(500, &config(carried + 1));
}

/// The same command under a limit of descriptors.
pub(crate) fn limited(fd_limit: u32, command: &std::process::Command) -> std::process::Command {
    run_by(&["prlimit", &format!("--nofile={fd_limit}")], command)
}

#[test]
fn every_place_under_the_descriptor_limit_can_be_taken() {
    // What the start promised is kept: all places are taken at once, by sessions that move more than a buffer.
    let backend = Backend::echo();
    let config = Config::new().runtime("workers = 2").backend("a", backend.address(), "");
    let lb = Balancer::start_with(&config, |command| limited(300, &command));
    let ready = lb.line("ready: ");
    let places: usize = ready
        .rsplit_once("up to ")
        .unwrap()
        .1
        .split(' ')
        .next()
        .unwrap()
        .parse()
        .unwrap();
    let peers: Vec<_> = (0..places).map(|_| Peer::connect(lb.address())).collect();
    for (peer, seed) in peers.iter().zip(0..) {
        peer.send_noise(seed, 50_000);
    }
    for (peer, seed) in peers.iter().zip(0..) {
        peer.expect_noise(seed, 50_000);
    }
    expect_refusal(lb.address());
    assert!(lb.lines_with("can't").is_empty(), "{}", lb.story());
    drop(peers);
}

#[test]
fn without_descriptors_it_waits_quietly_and_goes_on_when_some_are_free() {
    let backend = Backend::echo();
    let lb = Balancer::start(&Config::new().backend("a", backend.address(), ""));
    let kept: Vec<_> = (0..100).map(|_| Peer::connect(lb.address())).collect();
    for peer in &kept {
        peer.send(b"in").expect(b"in");
    }
    // From now on not one descriptor more. The kernel still completes connects for us.
    let limit = Rlimit {
        current: Some(lb.process().next_fd()),
        maximum: Some(20_000),
    };
    prlimit(Some(lb.pid()), Resource::Nofile, limit).unwrap();
    let waiting: Vec<_> = (0..50).map(|_| Peer::connect(lb.address())).collect();
    lb.line("can't accept");
    let cpu = lb.process().cpu_during(Duration::from_secs(2));
    assert!(
        cpu <= Duration::from_millis(100),
        "{cpu:?} of 2 s, waiting for descriptors"
    );
    assert!(lb.lines_with("can't accept").len() <= 4, "{}", lb.story());
    for peer in kept {
        peer.send(b"alive").expect(b"alive").fin().expect_eof();
    }
    for peer in waiting {
        peer.send(b"at last").expect(b"at last").fin().expect_eof();
    }
    for _ in 0..50 {
        Peer::connect(lb.address())
            .send(b"new")
            .fin()
            .expect(b"new")
            .expect_eof();
    }
    let closing = lb.finish();
    assert_eq!(closing.ended("client_closed"), 200, "{closing:?}");
}

#[test]
fn an_idle_session_costs_at_most_512_bytes() {
    const SESSIONS: usize = 4000;
    raise_fd_limit();
    let (_server, address) = tcp_server(&["0"]);
    let lb = Balancer::start(&Config::with_backends(&[("a", address)]));
    let session = |_| {
        let peer = Peer::connect(lb.address());
        peer.send_noise(1, 1024).expect_noise(1, 1024);
        peer
    };
    // The first ones pay for what all share.
    let mut peers: Vec<_> = (0..500).map(session).collect();
    let before = lb.process().resident_kib();
    peers.extend((0..SESSIONS).map(session));
    let bytes = (lb.process().resident_kib() - before) as usize * 1024 / SESSIONS;
    assert!(bytes <= 512, "{bytes} bytes for each of {SESSIONS} idle sessions");
    drop(peers);
}

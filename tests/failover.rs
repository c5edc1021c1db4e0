//! Backends that can't be reached: another takes the connection, no byte is lost, and a client is never left waiting.

use std::time::{Duration, Instant};

use super::common::{
    Backend, Balancer, Blackhole, Config, Peer, Refusing, Signal, at_once, eventually, expect_refusal, tcp_server,
};

/// Longer than any test waits: what is seen before isn't its doing.
const NEVER: &str = "connect_timeout = \"10m\"";

#[test]
fn a_refused_connect_goes_to_another_backend_and_no_client_notices() {
    let (gone, backend) = (Refusing::bind(), Backend::echo());
    let config = Config::with_backends(&[("gone", gone.address()), ("here", backend.address())]);
    let lb = Balancer::start(&config);
    at_once(10, |_| {
        for _ in 0..20 {
            Peer::connect(lb.address()).send(b"hi").fin().expect(b"hi").expect_eof();
        }
    });
    let closing = lb.finish();
    assert_eq!(closing.ended("client_closed"), 200);
    assert_eq!(closing.backend("here", " connections"), 200);
    assert!(closing.backend("gone", " failed connects") >= 50, "{closing:?}");
}

#[test]
fn without_retries_the_client_is_told_by_a_reset() {
    let gone = Refusing::bind();
    let lb = Balancer::start(&Config::with_backends(&[("gone", gone.address())]).service("connect_retries = 0"));
    for _ in 0..10 {
        expect_refusal(lb.address());
    }
    assert_eq!(lb.finish().ended("connect_failed"), 10);
}

#[test]
fn connect_retries_is_how_many_other_backends_are_tried() {
    let gone: Vec<_> = (0..4).map(|_| Refusing::bind()).collect();
    for retries in 0..=3 {
        let config = gone
            .iter()
            .zip(["a", "b", "c", "d"])
            .fold(Config::new(), |config, (gone, name)| {
                config.backend(name, gone.address(), "")
            });
        let lb = Balancer::start(&config.service(&format!("connect_retries = {retries}")));
        expect_refusal(lb.address());
        let closing = lb.finish();
        let failed: u64 = ["a", "b", "c", "d"]
            .map(|name| closing.backend(name, " failed connects"))
            .iter()
            .sum();
        assert_eq!(failed, retries + 1, "{closing:?}");
    }
}

#[test]
fn a_silent_connect_is_raced_by_another_backend_and_the_loser_is_closed() {
    let (blackhole, backend) = (Blackhole::open(), Backend::named("here"));
    let config = Config::with_backends(&[("hole", blackhole.address()), ("here", backend.address())]);
    let lb = Balancer::start(&config.service(NEVER));
    for _ in 0..10 {
        let client = Peer::connect(lb.address());
        client.expect(b"here\n"); // before a connect timeout that is ten minutes away
        lb.wait_for_fds_more(2); // the client and its backend: the loser is closed, with its race
        client.fin().expect_eof();
        lb.wait_until_idle();
    }
    let closing = lb.finish();
    assert_eq!(
        (closing.ended("client_closed"), closing.backend("here", " connections")),
        (10, 10)
    );
}

#[test]
fn without_hedging_a_silent_connect_is_given_up_after_its_timeout() {
    let (blackhole, backend) = (Blackhole::open(), Backend::named("here"));
    let config = Config::with_backends(&[("hole", blackhole.address()), ("here", backend.address())])
        .service("hedge_after = \"off\"\nconnect_timeout = \"700ms\"");
    let lb = Balancer::start(&config);
    let from = Instant::now();
    let client = Peer::connect(lb.address());
    client.expect(b"here\n");
    assert!(from.elapsed() >= Duration::from_millis(700), "{:?}", from.elapsed());
    client.fin().expect_eof();
    let closing = lb.finish();
    assert_eq!(closing.backend("hole", " failed connects"), 1);
}

#[test]
fn a_backend_that_dies_ends_only_its_own_sessions() {
    let mut servers: Vec<_> = (0..3).map(|_| tcp_server(&["0"])).collect();
    let config = servers
        .iter()
        .zip(["a", "b", "c"])
        .fold(Config::new(), |config, ((_, address), name)| {
            config.backend(name, *address, "")
        });
    let lb = Balancer::start(&config.health("interval = \"1h\""));
    // Each is answered before the next comes: connection n goes to backend n modulo 3.
    let peers: Vec<_> = (0..30)
        .map(|_| Peer::connect(lb.address()))
        .inspect(|peer| {
            peer.send(b"ping").expect(b"ping");
        })
        .collect();
    servers[1].0.kill();
    // Round robin: every third connection is its, and ends. All others go on.
    for peer in peers.iter().skip(1).step_by(3) {
        peer.wait_for_end();
    }
    for (peer, _) in peers.iter().zip(0..).filter(|(_, number)| number % 3 != 1) {
        peer.send(b"pong").expect(b"pong");
    }
    for _ in 0..30 {
        Peer::connect(lb.address())
            .send(b"new")
            .fin()
            .expect(b"new")
            .expect_eof();
    }
    for (peer, _) in peers.iter().zip(0..).filter(|(_, number)| number % 3 != 1) {
        peer.fin().expect_eof();
    }
    drop(peers);
    let closing = lb.finish();
    assert_eq!(closing.ended("client_closed"), 50, "{closing:?}");
    assert_eq!(
        closing.ended("connect_failed") + closing.ended("no_backend"),
        0,
        "{closing:?}"
    );
}

#[test]
fn failed_connects_of_clients_take_a_backend_out_long_before_its_next_check() {
    let (going, backend) = (Backend::echo(), Backend::echo());
    let config = Config::with_backends(&[("going", going.address()), ("here", backend.address())]);
    let lb = Balancer::start(&config.health("interval = \"1h\"\nfall = 3"));
    // The first check of each is over, or it would be the one that finds out.
    eventually("both are checked", || {
        (going.accepted() >= 1 && backend.accepted() >= 1).then_some(())
    });
    let gone = going.stop();
    let mut clients = 0;
    while lb.lines_with("going is down").is_empty() {
        Peer::connect(lb.address()).send(b"hi").fin().expect(b"hi").expect_eof();
        clients += 1;
        assert!(clients < 1000, "{}", lb.story());
    }
    let line = lb.line("going is down");
    assert!(
        line.contains(&format!("connection refused by {}", gone.address())),
        "{line}"
    );
    let closing = lb.finish();
    assert_eq!(closing.ended("client_closed"), clients);
}

#[test]
fn with_all_backends_down_clients_are_told_at_once_and_served_again_when_one_is_back() {
    let (a, b) = (Backend::named("a"), Backend::named("b"));
    let config = Config::with_backends(&[("a", a.address()), ("b", b.address())]);
    let lb = Balancer::start(&config.health("interval = \"100ms\"\nfall = 2\nrise = 2"));
    let (a, b) = (a.stop(), b.stop());
    lb.line("no backend is up");
    for _ in 0..20 {
        expect_refusal(lb.address());
    }
    let b_again = Backend::named_at(b.release(), "b again");
    lb.line("b is up");
    for _ in 0..20 {
        Peer::connect(lb.address()).expect(b"b again\n").fin().expect_eof();
    }
    let a_again = Backend::named_at(a.release(), "a again");
    lb.line("a is up");
    let mut names: Vec<_> = (0..2).map(|_| Peer::connect(lb.address()).line()).collect();
    names.sort();
    assert_eq!(names, ["a again", "b again"]);
    drop((a_again, b_again));
    assert_eq!(lb.finish().ended("no_backend"), 20);
}

#[test]
fn a_stopped_process_takes_no_new_connection_once_its_checks_fail() {
    // SIGSTOP: its kernel still accepts, so only a check that wants an answer sees it.
    let (hung, hung_address) = tcp_server(&["0"]);
    let (_fine, fine_address) = tcp_server(&["0"]);
    let config = Config::with_backends(&[("hung", hung_address), ("fine", fine_address)])
        .health("kind = \"expect\"\nsend = \"ping\\n\"\nexpect = \"ping\\n\"\ninterval = \"100ms\"\ntimeout = \"300ms\"\nfall = 2");
    let lb = Balancer::start(&config);
    hung.signal(Signal::STOP);
    let line = lb.line("hung is down");
    assert!(
        line.contains("took the connection and said nothing in time, 2 checks in a row"),
        "{line}"
    );
    for _ in 0..20 {
        Peer::connect(lb.address()).send(b"hi").fin().expect(b"hi").expect_eof();
    }
    hung.signal(Signal::CONT);
    lb.line("hung is up");
    for _ in 0..20 {
        Peer::connect(lb.address()).send(b"hi").fin().expect(b"hi").expect_eof();
    }
    let closing = lb.finish();
    assert_eq!(closing.ended("client_closed"), 40);
    assert!(closing.backend("hung", " connections") >= 10, "{closing:?}");
}

#[test]
fn a_failed_connect_gives_its_place_back() {
    let gone = Refusing::bind();
    let config = Config::new().backend("a", gone.address(), "max_connections = 1");
    let lb = Balancer::start(&config);
    at_once(8, |_| (0..25).for_each(|_| expect_refusal(lb.address())));
    let back = Backend::echo_at(gone.release());
    for _ in 0..10 {
        let client = Peer::connect(lb.address());
        client.send(b"hi").expect(b"hi");
        expect_refusal(lb.address());
        client.fin().expect_eof();
        lb.wait_until_idle();
    }
    drop(back);
}

#[test]
fn connects_that_fail_by_the_hundred_leave_no_descriptor_behind() {
    let (gone, blackhole) = (Refusing::bind(), Blackhole::open());
    let config = Config::with_backends(&[("gone", gone.address()), ("hole", blackhole.address())])
        .service("connect_timeout = \"30ms\"\nhedge_after = \"10ms\"");
    let lb = Balancer::start(&config);
    at_once(16, |_| (0..25).for_each(|_| expect_refusal(lb.address())));
    lb.wait_until_idle();
    let closing = lb.finish();
    assert_eq!(closing.ended("connect_failed"), 400);
    assert!(closing.backend("hole", " failed connects") >= 200, "{closing:?}");
}

#[test]
fn a_backend_that_resets_what_it_accepts_ends_only_those_clients() {
    let (bad, good) = (Backend::serve(Peer::reset_now), Backend::echo());
    let lb = Balancer::start(&Config::with_backends(&[
        ("bad", bad.address()),
        ("good", good.address()),
    ]));
    let echoed = (0..40).filter(|_| {
        let client = Peer::connect_unless_reset(lb.address());
        client.is_some_and(|client| client.is_echoed(b"hi"))
    });
    // Those of the bad one end by its reset, or go to the good one if it came before the connect was seen.
    assert!(echoed.count() >= 20);
    assert_eq!(lb.finish().service("echo").0, 40);
}

//! RST stays RST and FIN stays FIN, each way, in every phase of a session, with every byte before it delivered.

use super::common::{Backend, Balancer, Blackhole, Config, Peer};

/// What is delivered before the end.
const BEFORE: usize = 100_000;

fn start() -> (Balancer, Backend) {
    let backend = Backend::listen();
    let lb = Balancer::start(&Config::with_backends(&[("a", backend.address())]));
    (lb, backend)
}

#[test]
fn a_backends_reset_reaches_the_client_as_a_reset_after_every_byte() {
    let (lb, backend) = start();
    for seed in 0..20 {
        let client = Peer::connect(lb.address());
        let server = backend.accept();
        client.send(b"go");
        server.expect(b"go").send_noise(seed, BEFORE);
        // The client has it all, or the reset would destroy it on its way between backend and lb.
        client.expect_noise(seed, BEFORE);
        server.reset();
        client.expect_reset();
    }
    assert_eq!(lb.finish().ended("backend_reset"), 20);
}

#[test]
fn bytes_that_had_reached_lb_before_a_backends_reset_still_reach_the_client() {
    let (lb, backend) = start();
    for seed in 0..20 {
        let client = Peer::connect(lb.address());
        let server = backend.accept();
        server.send_noise(seed, BEFORE).wait_until_acknowledged();
        server.reset();
        client.expect_noise(seed, BEFORE).expect_reset();
    }
    assert_eq!(lb.finish().ended("backend_reset"), 20);
}

#[test]
fn a_clients_reset_reaches_the_backend_as_a_reset_after_every_byte() {
    let (lb, backend) = start();
    for seed in 0..20 {
        let client = Peer::connect(lb.address());
        let server = backend.accept();
        client.send_noise(seed, BEFORE).wait_until_acknowledged();
        client.reset();
        server.expect_noise(seed, BEFORE).expect_reset();
    }
    assert_eq!(lb.finish().ended("client_reset"), 20);
}

#[test]
fn a_slow_reader_gets_every_byte_that_had_reached_lb_before_the_other_sides_reset() {
    let (lb, backend) = start();
    for seed in 0..3 {
        let client = Peer::connect(lb.address());
        let taken = backend.accept().send_until_stuck_then_reset(seed);
        client.expect_noise(seed, taken).expect_reset();
        let client = Peer::connect(lb.address());
        let server = backend.accept();
        let taken = client.send_until_stuck_then_reset(seed);
        server.expect_noise(seed, taken).expect_reset();
    }
    let closing = lb.finish();
    assert_eq!((closing.ended("backend_reset"), closing.ended("client_reset")), (3, 3));
}

#[test]
fn a_reset_after_the_other_sides_fin_is_still_a_reset() {
    let (lb, backend) = start();
    for _ in 0..10 {
        let client = Peer::connect(lb.address());
        let server = backend.accept();
        client.send(b"question").fin();
        server.expect(b"question").expect_eof().send(b"half an ans");
        client.expect(b"half an ans");
        server.reset();
        client.expect_reset();
    }
    for _ in 0..10 {
        let client = Peer::connect(lb.address());
        let server = backend.accept();
        server.send(b"bye").fin();
        client.expect(b"bye").expect_eof().send(b"but");
        server.expect(b"but");
        client.reset();
        server.expect_reset();
    }
    let closing = lb.finish();
    assert_eq!(
        (closing.ended("backend_reset"), closing.ended("client_reset")),
        (10, 10)
    );
}

#[test]
fn a_side_that_resets_after_its_own_fin_has_reset() {
    let (lb, backend) = start();
    for _ in 0..10 {
        let client = Peer::connect(lb.address());
        let server = backend.accept();
        client.fin();
        server.expect_eof();
        client.reset();
        // Nothing crosses from here on, but the backend learns that nobody is left, as soon as it speaks at the latest.
        server.send_until_end();
    }
    assert_eq!(lb.finish().service("echo").0, 10);
}

#[test]
fn a_client_that_resets_while_much_is_on_its_way_to_it_leaves_nothing_behind() {
    let (lb, backend) = start();
    for _ in 0..5 {
        let client = Peer::connect(lb.address());
        let server = backend.accept();
        server.send_until_stuck(1, std::time::Duration::from_millis(300));
        client.reset();
        server.send_until_end();
    }
    assert_eq!(lb.finish().ended("client_reset"), 5);
}

#[test]
fn a_backend_that_resets_while_much_is_on_its_way_to_it_leaves_nothing_behind() {
    let (lb, backend) = start();
    for _ in 0..5 {
        let client = Peer::connect(lb.address());
        let server = backend.accept();
        client.send_until_stuck(1, std::time::Duration::from_millis(300));
        server.reset();
        client.send_until_end();
    }
    assert_eq!(lb.finish().ended("backend_reset"), 5);
}

#[test]
fn a_client_that_resets_before_its_backend_is_connected_is_forgotten_at_once() {
    let blackhole = Blackhole::open();
    let config = Config::with_backends(&[("a", blackhole.address())]).service("connect_timeout = \"10m\"");
    let lb = Balancer::start(&config);
    for _ in 0..10 {
        let client = Peer::connect(lb.address());
        lb.wait_for_fds_more(2);
        client.send(b"hello?").reset_now();
        drop(client);
        lb.wait_until_idle();
    }
    assert_eq!(lb.finish().ended("client_reset"), 10);
}

#[test]
fn a_client_that_sends_and_finishes_before_its_backend_is_connected_loses_nothing() {
    let (blackhole, backend) = (Blackhole::open(), Backend::listen());
    let config = Config::with_backends(&[("a", blackhole.address()), ("b", backend.address())])
        .service("connect_timeout = \"10m\"\nhedge_after = \"300ms\"");
    let lb = Balancer::start(&config);
    let client = Peer::connect(lb.address());
    lb.wait_for_fds_more(2); // it hangs in the blackhole
    client.send_noise(5, 30_000).fin();
    let server = backend.accept();
    server
        .expect_noise(5, 30_000)
        .expect_eof()
        .send_with_fin(b"got all of it");
    client.expect(b"got all of it").expect_eof();
    assert_eq!(lb.finish().ended("client_closed"), 1);
}

#[test]
fn a_client_that_finishes_without_a_word_gets_what_the_backend_has_to_say() {
    let (lb, backend) = start();
    let client = Peer::connect(lb.address());
    client.fin();
    let server = backend.accept();
    server.expect_eof().send_noise(1, 200_000).fin();
    client.expect_noise(1, 200_000).expect_eof();
    assert_eq!(lb.finish().ended("client_closed"), 1);
}

#[test]
fn a_backend_that_accepts_speaks_and_finishes_at_once_is_heard() {
    let backend = Backend::serve(|peer| {
        peer.send_with_fin(b"no time\n").wait_for_end();
    });
    let lb = Balancer::start(&Config::with_backends(&[("a", backend.address())]));
    for _ in 0..200 {
        Peer::connect(lb.address()).expect(b"no time\n").expect_eof();
    }
    let closing = lb.finish();
    assert_eq!(closing.service("echo").0, 200);
    assert_eq!(
        closing.backend("a", " failed connects"),
        0,
        "R6: a FIN while connecting is no failure"
    );
}

#[test]
fn a_thousand_sessions_cut_by_resets_from_both_sides_leave_nothing_behind() {
    let backend = Backend::serve(|peer| {
        let Some(first) = peer.take_unless_reset() else { return };
        if first == *b"r" {
            peer.reset_now();
        } else {
            peer.send(&first).echo();
        }
    });
    let lb = Balancer::start(&Config::with_backends(&[("a", backend.address())]));
    super::common::at_once(10, |_| {
        for round in 0..100 {
            let client = Peer::connect(lb.address());
            match round % 4 {
                0 => client.reset_now(),
                1 => client.send(b"r").expect_reset_after_any_bytes().reset_now(),
                2 => client.send(b"x").reset_now(),
                _ => {
                    client.send(b"x").expect(b"x").fin().expect_eof();
                }
            }
        }
    });
    let closing = lb.finish();
    assert_eq!(closing.service("echo").0, 1000);
    assert_eq!(
        (closing.ended("backend_reset"), closing.ended("client_closed")),
        (250, 250),
        "{closing:?}"
    );
}

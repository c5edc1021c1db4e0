//! Every byte arrives, both ways, however fast or slow either side is; by splice, and by copy where no pipe can be had.

use std::process::Command;
use std::time::Duration;

use super::common::{Backend, Balancer, Config, Peer, Program, eventually, lb_command};
use super::limits::limited;

/// How bytes are moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Relaying {
    Splice,
    Copy,
}

const BOTH: [Relaying; 2] = [Relaying::Splice, Relaying::Copy];

/// Descriptors that leave none for a pipe, once `max_connections` takes all the rest.
const FDS_WITHOUT_PIPES: u32 = 58;

fn start(relaying: Relaying, config: &Config) -> Balancer {
    match relaying {
        Relaying::Splice => Balancer::start(config),
        Relaying::Copy => {
            let config = |max: u32| config.clone().runtime(&format!("workers = 1\nmax_connections = {max}"));
            let carried = carried_by(FDS_WITHOUT_PIPES, &config(9999));
            Balancer::start_with(&config(carried), |command| limited(FDS_WITHOUT_PIPES, &command))
        }
    }
}

/// How many connections a limit of descriptors carries, as `lb` says when more are wanted.
fn carried_by(fd_limit: u32, config: &Config) -> u32 {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("lb.toml"), config.text()).unwrap();
    let command: Command = limited(fd_limit, &lb_command(folder.path()));
    let mut program = Program::captured(command);
    assert_eq!(program.exit_code(), Some(1));
    let line = program.line("carries at most ");
    let (_, rest) = line.split_once("carries at most ").unwrap();
    rest.split_once(':').unwrap().0.parse().unwrap()
}

/// A client and its backend, joined.
fn pair(relaying: Relaying) -> (Balancer, Backend, Peer, Peer) {
    let backend = Backend::listen();
    let lb = start(relaying, &Config::with_backends(&[("a", backend.address())]));
    let client = Peer::connect(lb.address());
    let server = backend.accept();
    (lb, backend, client, server)
}

#[test]
fn client_fin_still_delivers_all_backend_bytes() {
    for relaying in BOTH {
        let (lb, _backend, client, server) = pair(relaying);
        std::thread::scope(|scope| {
            scope.spawn(|| client.send_noise(1, 3 << 20).fin());
            server.expect_noise(1, 3 << 20).expect_eof();
            scope.spawn(|| server.send_noise(2, 3 << 20).fin());
            client.expect_noise(2, 3 << 20).expect_eof();
        });
        assert_eq!(lb.finish().ended("client_closed"), 1);
    }
}

#[test]
fn backend_fin_still_delivers_all_client_bytes() {
    for relaying in BOTH {
        let (lb, _backend, client, server) = pair(relaying);
        std::thread::scope(|scope| {
            scope.spawn(|| server.send_noise(1, 3 << 20).fin());
            client.expect_noise(1, 3 << 20).expect_eof();
            scope.spawn(|| client.send_noise(2, 3 << 20).fin());
            server.expect_noise(2, 3 << 20).expect_eof();
        });
        assert_eq!(lb.finish().ended("backend_closed"), 1);
    }
}

#[test]
fn both_fins_with_data_in_flight_both_ways_lose_nothing() {
    for relaying in BOTH {
        let (_lb, _backend, client, server) = pair(relaying);
        std::thread::scope(|scope| {
            scope.spawn(|| client.send_noise(1, 5_000_001).fin());
            scope.spawn(|| server.send_noise(2, 5_000_003).fin());
            scope.spawn(|| server.expect_noise(1, 5_000_001).expect_eof());
            client.expect_noise(2, 5_000_003).expect_eof();
        });
    }
}

#[test]
fn data_and_fin_in_one_segment_arrive_as_data_and_fin() {
    let backend = Backend::listen();
    let lb = Balancer::start(&Config::with_backends(&[("a", backend.address())]));
    for _ in 0..20 {
        let client = Peer::connect(lb.address());
        let server = backend.accept();
        client.send_with_fin(b"all I have to say");
        server.expect(b"all I have to say").expect_eof();
        server.send_with_fin(b"me too");
        client.expect(b"me too").expect_eof();
    }
    for _ in 0..20 {
        let client = Peer::connect(lb.address());
        let server = backend.accept();
        server.send_with_fin(b"me first");
        client.expect(b"me first").expect_eof().send_with_fin(b"bye");
        server.expect(b"bye").expect_eof();
    }
    let closing = lb.finish();
    assert_eq!(
        (closing.ended("client_closed"), closing.ended("backend_closed")),
        (20, 20)
    );
}

#[test]
fn a_payload_around_a_multiple_of_the_buffer_then_fin_ends_at_once() {
    for relaying in BOTH {
        let backend = Backend::listen();
        let lb = start(relaying, &Config::with_backends(&[("a", backend.address())]));
        for multiple in [16_384, 65_536, 131_072] {
            for count in [1, 2, 3, 7]
                .into_iter()
                .flat_map(|k| [k * multiple - 1, k * multiple, k * multiple + 1])
            {
                let client = Peer::connect(lb.address());
                let server = backend.accept();
                std::thread::scope(|scope| {
                    scope.spawn(|| client.send_noise(1, count).fin());
                    server.expect_noise(1, count).expect_eof();
                    scope.spawn(|| server.send_noise(2, count).fin());
                    client.expect_noise(2, count).expect_eof();
                });
            }
        }
    }
}

#[test]
fn sixty_four_mebibytes_both_ways_at_once_are_the_very_same_bytes() {
    const BYTES: usize = 64 << 20;
    for relaying in BOTH {
        let (lb, _backend, client, server) = pair(relaying);
        let pipes = lb.process().pipes();
        std::thread::scope(|scope| {
            scope.spawn(|| client.send_noise(1, BYTES).fin());
            scope.spawn(|| server.send_noise(2, BYTES).fin());
            scope.spawn(|| server.expect_noise(1, BYTES).expect_eof());
            let reader = scope.spawn(|| client.expect_noise(2, BYTES).expect_eof());
            if relaying == Relaying::Splice {
                eventually("a pipe is in use", || {
                    assert!(!reader.is_finished(), "64 MiB came without a pipe");
                    (lb.process().pipes() > pipes).then_some(())
                });
            }
        });
        if relaying == Relaying::Copy {
            assert_eq!(lb.process().pipes(), pipes, "there was none to be had");
        }
        let closing = lb.finish();
        assert_eq!(closing.backend("a", " bytes to it") as usize, BYTES);
        assert_eq!(closing.backend("a", " bytes from it") as usize, BYTES);
    }
}

#[test]
fn ten_thousand_small_messages_come_back_one_by_one() {
    let backend = Backend::echo();
    let lb = Balancer::start(&Config::with_backends(&[("a", backend.address())]));
    let client = Peer::connect(lb.address());
    for number in 0..10_000_u32 {
        let message = number.to_le_bytes();
        client.send(&message);
        assert_eq!(client.take(4), message);
    }
    client.fin().expect_eof();
}

#[test]
fn a_server_that_speaks_first_is_heard() {
    let backend = Backend::serve(|peer| {
        peer.send(b"220 ready\r\n")
            .expect(b"QUIT\r\n")
            .send(b"221 bye\r\n")
            .fin()
            .wait_for_end()
    });
    let lb = Balancer::start(&Config::with_backends(&[("a", backend.address())]));
    Peer::connect(lb.address())
        .expect(b"220 ready\r\n")
        .send(b"QUIT\r\n")
        .expect(b"221 bye\r\n")
        .expect_eof();
}

#[test]
fn a_slow_reader_stops_the_sender_and_then_gets_every_byte() {
    for relaying in BOTH {
        let (lb, _backend, client, server) = pair(relaying);
        let before = lb.process().resident_kib();
        let held = server.send_until_stuck(7, Duration::from_secs(1));
        let grown = lb.process().resident_kib().saturating_sub(before);
        assert!(
            grown < 2048,
            "lb grew by {grown} KiB while {held} bytes were on their way"
        );
        assert!(held < 32 << 20, "{held} bytes were taken from the sender");
        server.fin(); // behind all of it
        client.expect_noise(7, held).expect_eof().send(b"and thanks").fin();
        server.expect(b"and thanks").expect_eof();
    }
}

#[test]
fn a_slow_backend_stops_the_client_and_then_gets_every_byte() {
    for relaying in BOTH {
        let (lb, _backend, client, server) = pair(relaying);
        let before = lb.process().resident_kib();
        let held = client.send_until_stuck(8, Duration::from_secs(1));
        let grown = lb.process().resident_kib().saturating_sub(before);
        assert!(
            grown < 2048,
            "lb grew by {grown} KiB while {held} bytes were on their way"
        );
        client.fin();
        server.expect_noise(8, held).expect_eof().send_with_fin(b"got it");
        client.expect(b"got it").expect_eof();
    }
}

#[test]
fn the_other_way_flows_while_one_is_stuck() {
    for relaying in BOTH {
        let (_lb, _backend, client, server) = pair(relaying);
        let held = server.send_until_stuck(3, Duration::from_millis(500));
        std::thread::scope(|scope| {
            scope.spawn(|| client.send_noise(4, 4 << 20).fin());
            server.expect_noise(4, 4 << 20).expect_eof();
        });
        server.fin();
        client.expect_noise(3, held).expect_eof();
    }
}

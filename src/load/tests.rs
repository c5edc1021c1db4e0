//! The client against servers that echo, lie, hang up and stall, all over real sockets.

use super::{LoadOptions, LoadReport, StopHandle, parse_size, run};
use crate::echo::{EchoOptions, EchoServer, MessageSizes};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::num::NonZeroUsize;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

const STALL: Duration = Duration::from_millis(500);

fn echo_server() -> EchoServer {
    server_of(None)
}

fn server_of(sizes: Option<(u64, u64)>) -> EchoServer {
    EchoServer::start(&EchoOptions {
        host: "127.0.0.1".to_owned(),
        port: 0,
        id: None,
        http_port: None,
        delay: Duration::ZERO,
        sizes: sizes.map(|(request, reply)| MessageSizes::new(request, reply).unwrap()),
        threads: NonZeroUsize::new(2),
    })
    .unwrap()
}

/// A server that does to each connection, one after the other, what `play` says.
fn fake_server(play: impl Fn(TcpStream) + Send + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            play(stream.unwrap());
        }
    });
    address
}

fn echo_with(mut stream: TcpStream, mut change: impl FnMut(&mut [u8])) {
    let mut buffer = [0; 4096];
    while let Ok(count @ 1..) = stream.read(&mut buffer) {
        change(&mut buffer[..count]);
        if stream.write_all(&buffer[..count]).is_err() {
            return;
        }
    }
}

fn load(options: &LoadOptions) -> LoadReport {
    run(options, &StopHandle::new()).unwrap()
}

fn kinds(report: &LoadReport) -> Vec<(String, u64)> {
    report.failures()
}

fn one(kind: &str, count: u64) -> Vec<(String, u64)> {
    vec![(kind.to_owned(), count)]
}

#[test]
fn every_size_comes_back_on_every_connection() {
    let server = echo_server();
    for size in ["1", "64", "65535", "65536", "65537", "8MiB"] {
        let size = parse_size(size).unwrap();
        let report = load(&LoadOptions {
            size,
            connections: 5,
            requests: 3,
            concurrency: 3,
            threads: 2,
            ..LoadOptions::new(server.address())
        });
        assert!(report.is_success(), "{size}: {report}");
        assert_eq!(report.answered(), 15);
        assert_eq!(report.to_json()["bytes"], 15 * size);
    }
}

#[test]
fn replies_of_other_sizes_are_right_to_the_last_byte() {
    for (request, reply) in [
        (2, 1),
        (65_536, 64),
        (100_003, 65_536),
        (8 << 20, 100),
        (1, 2),
        (64, 65_536),
        (65_536, 100_003),
        (100, 8 << 20),
    ] {
        let server = server_of(Some((request, reply)));
        let report = load(&LoadOptions {
            size: request,
            reply_size: Some(reply),
            connections: 5,
            requests: 3,
            concurrency: 3,
            threads: 2,
            ..LoadOptions::new(server.address())
        });
        assert!(report.is_success(), "{request}, {reply}: {report}");
        let json = report.to_json();
        assert_eq!(
            (&json["bytes_sent"], &json["bytes_received"]),
            (&(15 * request).into(), &(15 * reply).into())
        );
        assert_eq!(json["bytes"], json["bytes_received"]);
        assert_eq!(server.stop().bytes, 15 * reply);
    }
}

#[test]
fn replies_of_other_sizes_than_expected_are_found() {
    for (served, expected, kind) in [
        (None, (100_000, 64), "wrong_bytes"),
        (None, (64, 128), "timeout"),
        (Some((100, 64)), (100, 63), "wrong_bytes"),
        (Some((50, 64)), (100, 64), "wrong_bytes"),
        (Some((100, 64)), (100, 65), "wrong_bytes"),
        (Some((64, 100)), (32, 100), "timeout"),
    ] {
        let server = server_of(served);
        let report = load(&LoadOptions {
            size: expected.0,
            reply_size: Some(expected.1),
            timeout: Duration::from_millis(200),
            ..LoadOptions::new(server.address())
        });
        assert_eq!(kinds(&report), one(kind, 1), "{served:?}, {expected:?}");
    }
}

#[test]
fn a_new_connection_for_each_request_opens_as_many() {
    let server = echo_server();
    for size in [0, 64] {
        let report = load(&LoadOptions {
            size,
            connections: 10,
            requests: 20,
            concurrency: 4,
            threads: 2,
            new_connection: true,
            ..LoadOptions::new(server.address())
        });
        assert!(report.is_success(), "{report}");
        assert_eq!(report.to_json()["connections"]["opened"], 200);
    }
    assert_eq!(server.stop().connections, 400);
}

#[test]
fn all_connections_stand_at_once_when_the_window_has_room_for_them() {
    let server = echo_server();
    let report = load(&LoadOptions {
        connections: 300,
        concurrency: 300,
        threads: 2,
        ..LoadOptions::new(server.address())
    });
    assert!(report.is_success(), "{report}");
    assert_eq!(report.open_max(), 300);
}

#[test]
fn no_more_connections_stand_than_the_window_allows() {
    let server = echo_server();
    let report = load(&LoadOptions {
        connections: 50,
        concurrency: 7,
        threads: 2,
        ..LoadOptions::new(server.address())
    });
    assert_eq!(report.answered(), 50);
    assert!(report.open_max() <= 7, "{}", report.open_max());
}

#[test]
fn against_the_clock_connections_send_until_it_ends() {
    let server = echo_server();
    for (rate, new_connection) in [(None, false), (None, true), (Some(200.0), false), (Some(200.0), true)] {
        let report = load(&LoadOptions {
            connections: 4,
            concurrency: 4,
            threads: 2,
            rate,
            new_connection,
            duration: Some(Duration::from_millis(300)),
            ..LoadOptions::new(server.address())
        });
        assert!(report.is_success(), "{report}");
        match rate {
            Some(_) => assert_eq!(report.answered(), 60),
            None => assert!(report.answered() > 4),
        }
    }
}

#[test]
fn a_stalled_server_shows_in_every_request_that_was_due_meanwhile() {
    let address = fake_server(|stream| {
        let mut is_first = true;
        echo_with(stream, |_| {
            if std::mem::take(&mut is_first) {
                // The stall is what this server is for; nothing is awaited by it.
                let (_kept, never) = mpsc::channel::<()>();
                never.recv_timeout(STALL).unwrap_err();
            }
        });
    });
    let report = load(&LoadOptions {
        requests: 100,
        rate: Some(200.0),
        ..LoadOptions::new(address)
    });
    assert!(report.is_success(), "{report}");
    // Due in the stall's first half, 5 ms apart: each waited for its second half at least. A closed loop would see one.
    let slow = report.answered_slower_than(STALL / 2);
    assert!(slow >= 40, "{slow}: {report}");
}

#[test]
fn an_open_loop_on_few_connections_makes_every_request() {
    let server = echo_server();
    let report = load(&LoadOptions {
        connections: 10,
        requests: 30,
        concurrency: 3,
        threads: 2,
        rate: Some(5000.0),
        ..LoadOptions::new(server.address())
    });
    assert!(report.is_success(), "{report}");
    assert_eq!(report.answered(), 300);
}

#[test]
fn a_changed_byte_is_found() {
    let address = fake_server(|stream| {
        let mut seen = 0_usize;
        echo_with(stream, |bytes| {
            for byte in bytes {
                seen += 1;
                *byte ^= u8::from(seen == 70_000);
            }
        });
    });
    let report = load(&LoadOptions {
        size: 100_000,
        ..LoadOptions::new(address)
    });
    assert_eq!(kinds(&report), one("wrong_bytes", 1));
    assert_eq!(report.failed(), 1);
}

#[test]
fn crossed_connections_are_found() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        let mut pair = [listener.accept().unwrap().0, listener.accept().unwrap().0];
        let mut messages = [[0; 64]; 2];
        for (stream, message) in pair.iter_mut().zip(&mut messages) {
            stream.read_exact(message).unwrap();
        }
        for (stream, message) in pair.iter_mut().zip(messages.iter().rev()) {
            stream.write_all(message).unwrap();
        }
    });
    let report = load(&LoadOptions {
        connections: 2,
        concurrency: 2,
        ..LoadOptions::new(address)
    });
    assert_eq!(kinds(&report), one("wrong_bytes", 2));
}

#[test]
fn a_byte_too_many_at_the_end_is_an_error_though_every_request_was_answered() {
    let address = fake_server(|mut stream| {
        echo_with(stream.try_clone().unwrap(), |_| {});
        stream.write_all(b"x").unwrap();
    });
    let report = load(&LoadOptions::new(address));
    assert_eq!(kinds(&report), one("wrong_bytes", 1));
    assert_eq!((report.answered(), report.failed()), (1, 0));
    assert!(!report.is_success());
}

#[test]
fn a_fin_before_all_bytes_is_closed_early() {
    let address = fake_server(|mut stream| {
        let mut message = [0; 64];
        stream.read_exact(&mut message).unwrap();
        stream.write_all(&message[..63]).unwrap();
    });
    let report = load(&LoadOptions::new(address));
    assert_eq!(kinds(&report), one("closed_early", 1));
}

#[test]
fn a_reset_is_told_and_the_next_request_has_a_connection_of_its_own() {
    let address = fake_server(|mut stream| {
        stream.read_exact(&mut [0; 64]).unwrap();
        socket2::SockRef::from(&stream)
            .set_linger(Some(Duration::ZERO))
            .unwrap();
    });
    let report = load(&LoadOptions {
        requests: 3,
        ..LoadOptions::new(address)
    });
    assert_eq!(kinds(&report), one("reset", 3));
    assert_eq!(report.to_json()["connections"]["opened"], 3);
}

#[test]
fn a_refused_connect_fails_each_request_in_every_mode() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    for (rate, new_connection) in [
        (None, false),
        (None, true),
        (Some(10_000.0), false),
        (Some(10_000.0), true),
    ] {
        let report = load(&LoadOptions {
            connections: 4,
            requests: 5,
            concurrency: 2,
            threads: 2,
            rate,
            new_connection,
            ..LoadOptions::new(address)
        });
        assert_eq!(kinds(&report), one("connect_refused", 20), "{rate:?} {new_connection}");
        assert_eq!((report.answered(), report.failed()), (0, 20));
    }
}

#[test]
fn a_silent_server_times_out() {
    let (keep, _kept) = mpsc::channel();
    let address = fake_server(move |stream| keep.send(stream).unwrap());
    let report = load(&LoadOptions {
        timeout: Duration::from_millis(50),
        ..LoadOptions::new(address)
    });
    assert_eq!(kinds(&report), one("timeout", 1));
}

#[test]
fn an_unanswered_connect_times_out() {
    let listener = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    let any: SocketAddr = ([127, 0, 0, 1], 0).into();
    listener.bind(&any.into()).unwrap();
    listener.listen(0).unwrap();
    let address = listener.local_addr().unwrap().as_socket().unwrap();
    // Nobody accepts and one place is all there is: the second connect has no answer.
    let _taken = TcpStream::connect(address).unwrap();
    let report = load(&LoadOptions {
        connect_timeout: Duration::from_millis(50),
        ..LoadOptions::new(address)
    });
    assert_eq!(kinds(&report), one("connect_timeout", 1));
}

#[test]
fn a_stopped_run_reports_what_was_done_and_is_no_success() {
    let server = echo_server();
    let stop = StopHandle::new();
    let options = LoadOptions {
        duration: Some(Duration::from_secs(3600)),
        ..LoadOptions::new(server.address())
    };
    let report = thread::scope(|scope| {
        let running = scope.spawn(|| run(&options, &stop).unwrap());
        while server.totals().bytes == 0 {
            thread::yield_now();
        }
        stop.stop();
        running.join().unwrap()
    });
    assert!(!report.is_success());
    assert_eq!(report.to_json()["interrupted"], true);
    assert_eq!(kinds(&report), vec![]);
}

#[test]
fn contradictions_are_refused() {
    let options = LoadOptions {
        size: 0,
        ..LoadOptions::new(([127, 0, 0, 1], 9).into())
    };
    let error = run(&options, &StopHandle::new()).unwrap_err().to_string();
    assert!(error.contains("--size 0"), "{error}");
}

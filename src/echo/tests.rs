//! The echo server over real sockets, talked to by std's.

use super::{EchoOptions, EchoServer, EchoTotals, MessageSizes};
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::num::NonZeroUsize;
use std::thread;
use std::time::Duration;

const DEADLINE: Duration = Duration::from_secs(20);

fn options() -> EchoOptions {
    EchoOptions {
        host: "127.0.0.1".to_owned(),
        port: 0,
        id: None,
        http_port: None,
        delay: Duration::ZERO,
        sizes: None,
        threads: NonZeroUsize::new(2),
    }
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    stream.set_write_timeout(Some(DEADLINE)).unwrap();
    stream
}

fn pattern(size: usize) -> Vec<u8> {
    let mut state = size as u32 | 1;
    let step = |_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    (0..size).map(step).collect()
}

/// Sends all and a FIN on one thread, reads to the end on this one.
fn send_fin_and_read(mut stream: TcpStream, bytes: &[u8]) -> Vec<u8> {
    let mut sender = stream.try_clone().unwrap();
    let mut received = Vec::new();
    thread::scope(|scope| {
        scope.spawn(move || {
            sender.write_all(bytes).unwrap();
            sender.shutdown(Shutdown::Write).unwrap();
        });
        stream.read_to_end(&mut received).unwrap();
    });
    received
}

#[test]
fn after_the_clients_fin_all_bytes_and_then_a_fin_come_back() {
    for delay_ms in [0, 2] {
        let server = EchoServer::start(&EchoOptions {
            delay: Duration::from_millis(delay_ms),
            ..options()
        })
        .unwrap();
        let sizes = [0, 1, 64, 65_535, 65_536, 65_537, 8 * 1024 * 1024];
        for size in sizes {
            let bytes = pattern(size);
            let received = send_fin_and_read(connect(server.address()), &bytes);
            assert!(received == bytes, "{size} bytes, delay {delay_ms} ms");
        }
        let totals = EchoTotals {
            connections: sizes.len() as u64,
            bytes: sizes.iter().sum::<usize>() as u64,
        };
        assert_eq!(server.stop(), totals);
    }
}

fn reply_to(request: &[u8], reply_bytes: usize) -> Vec<u8> {
    let mut reply = vec![0; reply_bytes];
    for place in 0..request.len().max(reply_bytes) {
        match reply_bytes < request.len() {
            true => reply[place % reply_bytes] ^= request[place],
            false => reply[place] = request[place % request.len()],
        }
    }
    reply
}

#[test]
fn whole_requests_are_answered_and_half_a_one_ends_with_its_connection() {
    for delay_ms in [0, 2] {
        for (request, reply) in [
            (2, 1),
            (100, 64),
            (65_536, 64),
            (3_000_000, 65_536),
            (1, 2),
            (64, 65_536),
            (65_536, 3_000_000),
            (64, 64),
        ] {
            let server = EchoServer::start(&EchoOptions {
                delay: Duration::from_millis(delay_ms),
                sizes: Some(MessageSizes::new(request, reply).unwrap()),
                ..options()
            })
            .unwrap();
            let (request, reply) = (request as usize, reply as usize);
            let bytes = pattern(3 * request + request / 2);
            let mut wanted: Vec<u8> = bytes
                .chunks_exact(request)
                .flat_map(|one| reply_to(one, reply))
                .collect();
            if request == reply {
                wanted.clone_from(&bytes); // the plain echo doesn't wait for a whole one
            }
            let received = send_fin_and_read(connect(server.address()), &bytes);
            assert!(received == wanted, "{request}, {reply}, delay {delay_ms} ms");
        }
    }
}

#[test]
fn a_reply_without_end_does_not_keep_other_connections_waiting() {
    let server = EchoServer::start(&EchoOptions {
        sizes: Some(MessageSizes::new(2, u64::MAX).unwrap()),
        threads: NonZeroUsize::new(1),
        ..options()
    })
    .unwrap();
    let mut streams = [connect(server.address()), connect(server.address())];
    let mut received = vec![0; 4 * 1024 * 1024];
    for stream in &mut streams {
        stream.write_all(b"ab").unwrap();
    }
    for _ in 0..4 {
        for stream in &mut streams {
            stream.read_exact(&mut received).unwrap();
            assert!(received.chunks_exact(2).all(|pair| pair == b"ab"));
        }
    }
}

#[test]
fn a_peer_that_does_not_read_is_not_read_from_and_loses_nothing() {
    for delay_ms in [0, 1] {
        let server = EchoServer::start(&EchoOptions {
            delay: Duration::from_millis(delay_ms),
            ..options()
        })
        .unwrap();
        let mut stream = connect(server.address());
        stream.set_write_timeout(Some(Duration::from_millis(300))).unwrap();
        let block = pattern(1024 * 1024);
        let mut sent = Vec::new();
        // The buffers of both kernels' sides end well before this.
        while sent.len() < 256 * block.len() {
            match stream.write(&block) {
                Ok(count) => sent.extend_from_slice(&block[..count]),
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::WouldBlock);
                    break;
                }
            }
        }
        assert!(sent.len() < 256 * block.len(), "the server took everything");
        stream.shutdown(Shutdown::Write).unwrap();
        let mut received = Vec::new();
        stream.read_to_end(&mut received).unwrap();
        assert!(received == sent, "{} of {} bytes", received.len(), sent.len());
    }
}

#[test]
fn delayed_echoes_keep_their_order() {
    let server = EchoServer::start(&EchoOptions {
        delay: Duration::from_millis(5),
        ..options()
    })
    .unwrap();
    let mut stream = connect(server.address());
    stream.set_nodelay(true).unwrap();
    for byte in 0..200_u8 {
        stream.write_all(&[byte]).unwrap();
    }
    let mut received = [0; 200];
    stream.read_exact(&mut received).unwrap();
    assert!(received.iter().copied().eq(0..200), "{received:?}");
}

#[test]
fn a_reset_connection_does_not_disturb_another() {
    let server = EchoServer::start(&EchoOptions {
        threads: NonZeroUsize::new(1),
        ..options()
    })
    .unwrap();
    let mut kept = connect(server.address());
    for _ in 0..50 {
        let mut reset = connect(server.address());
        reset.write_all(b"lost").unwrap();
        socket2::SockRef::from(&reset).set_linger(Some(Duration::ZERO)).unwrap();
    }
    kept.write_all(b"kept").unwrap();
    let mut received = [0; 4];
    kept.read_exact(&mut received).unwrap();
    assert_eq!(&received, b"kept");
}

#[test]
fn many_connections_at_once_each_get_their_own_bytes() {
    let server = EchoServer::start(&options()).unwrap();
    let mut streams: Vec<TcpStream> = (0..300).map(|_| connect(server.address())).collect();
    for (number, stream) in streams.iter_mut().enumerate() {
        stream.write_all(&(number as u32).to_be_bytes()).unwrap();
    }
    for (number, stream) in streams.iter_mut().enumerate() {
        let mut received = [0; 4];
        stream.read_exact(&mut received).unwrap();
        assert_eq!(u32::from_be_bytes(received), number as u32);
    }
}

#[test]
fn a_taken_port_is_named_with_the_reason() {
    let first = EchoServer::start(&options()).unwrap();
    let second = EchoServer::start(&EchoOptions {
        port: first.address().port(),
        ..options()
    });
    assert_eq!(
        second.unwrap_err().to_string(),
        format!(
            "cannot listen on {}: address in use (another program has this port)",
            first.address()
        )
    );
}

#[test]
fn the_default_id_has_the_port_that_was_chosen() {
    let server = EchoServer::start(&options()).unwrap();
    assert_eq!(server.id(), format!("server-{}", server.address().port()));
}

fn http(address: SocketAddr, request: &str) -> io::Result<String> {
    let mut stream = connect(address);
    stream.write_all(request.as_bytes())?;
    let mut response = String::new();
    stream.read_to_string(&mut response)?;
    Ok(response)
}

#[test]
fn http_answers_while_other_clients_are_silent() {
    let server = EchoServer::start(&EchoOptions {
        id: Some("eu-1".to_owned()),
        http_port: Some(0),
        ..options()
    })
    .unwrap();
    let address = server.http_address().unwrap();
    // More than may be held at once: the oldest make way.
    let _silent: Vec<TcpStream> = (0..200).map(|_| connect(address)).collect();
    send_fin_and_read(connect(server.address()), b"four");
    let home = http(address, "GET /home HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    assert!(
        home.ends_with(r#"{"message":"Hello from Server: eu-1","status":"successful"}"#),
        "{home}"
    );
    let metrics = http(address, "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    for line in ["echo_connections_total 1", "echo_bytes_total 4"] {
        assert!(metrics.lines().any(|found| found == line), "{metrics}");
    }
    for name in [
        "process_cpu_seconds_total",
        "process_resident_memory_bytes",
        "process_start_time_seconds",
    ] {
        assert!(metrics.contains(&format!("# TYPE {name} ")), "{metrics}");
    }
}

#[test]
fn http_answers_a_request_that_comes_with_a_body() {
    let server = EchoServer::start(&EchoOptions {
        http_port: Some(0),
        ..options()
    })
    .unwrap();
    let body = "x".repeat(100_000);
    let request = format!("POST /home HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n{body}");
    let response = http(server.http_address().unwrap(), &request).unwrap();
    assert!(response.starts_with("HTTP/1.1 405 "), "{response}");
}

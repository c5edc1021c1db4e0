//! Checks of each kind: what they find, when it counts, what the log says of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use super::common::{Backend, Balancer, Config, Peer, Refusing, Signal, eventually, tcp_server};

const FAST: &str = "interval = \"50ms\"\ntimeout = \"5s\"\nrise = 2\nfall = 3";

/// Checks are answered as told: the n-th of them with the n-th part of `script`, all later ones with the last.
struct Scripted {
    backend: Backend,
    asked: Arc<AtomicUsize>,
}

impl Scripted {
    fn new(answer: impl Fn(usize, &Peer) + Send + Sync + 'static) -> Self {
        let asked = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&asked);
        let backend = Backend::serve(move |peer| answer(count.fetch_add(1, SeqCst), peer));
        Self { backend, asked }
    }

    fn asked(&self) -> usize {
        self.asked.load(SeqCst)
    }
}

fn start(kind: &str, backend: &Backend) -> Balancer {
    let config = Config::with_backends(&[("a", backend.address())]);
    Balancer::start(&config.health(&format!("{kind}\n{FAST}")))
}

#[test]
fn a_tcp_check_finds_a_backend_gone_and_back_and_says_so_once() {
    let backend = Backend::listen();
    let address = backend.address();
    let lb = start("kind = \"tcp\"", &backend);
    let mut backend = Some(backend);
    for round in 1..=2 {
        let gone = backend.take().unwrap().stop();
        let downs = lb.wait_for_lines(round, "a is down");
        assert!(
            downs[round - 1].contains(&format!(
                "a is down: connection refused by {address}, 3 checks in a row"
            )),
            "{downs:?}"
        );
        assert!(downs[round - 1].contains("WARN"), "{downs:?}");
        let asked = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&asked);
        backend = Some(Backend::serve_at(gone.release(), move |peer| {
            count.fetch_add(1, SeqCst);
            peer.wait_for_end();
        }));
        let ups = lb.wait_for_lines(round, "a is up");
        assert!(
            ups[round - 1].contains(&format!("a is up: {address} answers, 2 checks in a row")),
            "{ups:?}"
        );
        // Many more checks, and not a line more.
        eventually("more checks", || (asked.load(SeqCst) > 12).then_some(()));
        assert_eq!(lb.lines_with("a is ").len(), 2 * round, "{:#?}", lb.lines_with("a is "));
    }
}

#[test]
fn an_http_check_goes_by_the_status() {
    // Good 3 times, then 503 until the 12th, then good again.
    let scripted = Scripted::new(|number, peer| {
        let request = peer.request_head();
        assert!(
            request.starts_with("GET /health?deep=1 HTTP/1.1\r\nHost: 127.0.0.1:"),
            "{request}"
        );
        let status = if (3..12).contains(&number) {
            "503 Busy"
        } else {
            "204 Fine"
        };
        peer.send(format!("HTTP/1.1 {status}\r\n\r\n").as_bytes())
            .wait_for_end();
    });
    let lb = start(
        "kind = \"http\"\npath = \"/health?deep=1\"\nexpect_status = 204",
        &scripted.backend,
    );
    let line = lb.line("a is down");
    assert!(
        line.contains("answered status 503 instead of 204, 3 checks in a row"),
        "{line}"
    );
    lb.line("a is up");
}

#[test]
fn an_expect_check_goes_by_the_bytes() {
    let scripted = Scripted::new(|number, peer| {
        peer.expect(b"PING\r\n");
        let answer: &[u8] = if (3..12).contains(&number) {
            b"-LOADING\r\n"
        } else {
            b"+PONG\r\n"
        };
        peer.send(answer).wait_for_end();
    });
    let lb = start(
        "kind = \"expect\"\nsend = \"PING\\r\\n\"\nexpect = \"+PONG\"",
        &scripted.backend,
    );
    let line = lb.line("a is down");
    assert!(
        line.contains("answered \"-LOADING\\r\\n\" instead of \"+PONG\", 3 checks in a row"),
        "{line}"
    );
    lb.line("a is up");
}

#[test]
fn an_expect_check_of_a_backend_that_closes_or_resets_is_bad() {
    for (word, act) in [("closed", false), ("reset", true)] {
        let scripted = Scripted::new(move |_, peer| {
            peer.expect(b"hi");
            if act {
                peer.reset_now();
            }
        });
        let lb = start("kind = \"expect\"\nsend = \"hi\"\nexpect = \"ho\"", &scripted.backend);
        let line = lb.line("a is down");
        assert!(
            line.contains(&format!("{word} the connection before it had answered")),
            "{line}"
        );
    }
}

#[test]
fn fewer_bad_checks_in_a_row_than_fall_change_nothing() {
    // Bad, bad, good; and again, ten times: never three in a row. From the 31st on always bad.
    let scripted = Scripted::new(|number, peer| {
        let is_good = number < 30 && number % 3 == 2;
        peer.send(if is_good { b"good" } else { b"bad!" }).wait_for_end();
    });
    let lb = start("kind = \"expect\"\nexpect = \"good\"", &scripted.backend);
    lb.line("a is down");
    assert!(scripted.asked() >= 33, "down after {} checks", scripted.asked());
}

#[test]
fn fewer_good_checks_in_a_row_than_rise_change_nothing() {
    // Down after three; then good and bad by turns until the 31st; from then on good.
    let scripted = Scripted::new(|number, peer| {
        let is_good = number >= 30 || number >= 3 && number % 2 == 0;
        peer.send(if is_good { b"good" } else { b"bad!" }).wait_for_end();
    });
    let lb = start("kind = \"expect\"\nexpect = \"good\"", &scripted.backend);
    lb.line("a is down");
    lb.line("a is up");
    assert!(scripted.asked() >= 32, "up after {} checks", scripted.asked());
}

#[test]
fn a_check_ends_by_reset_and_leaves_no_time_wait() {
    let (tell, told) = crossbeam_channel::unbounded();
    let backend = Backend::serve(move |peer| {
        peer.expect(b"hi").send(b"ho").expect_reset();
        tell.send(()).unwrap();
    });
    let lb = start("kind = \"expect\"\nsend = \"hi\"\nexpect = \"ho\"", &backend);
    for _ in 0..10 {
        told.recv_timeout(super::common::PATIENCE).unwrap();
    }
    drop(lb);
}

#[test]
fn checks_go_to_their_own_port_where_one_is_set() {
    let (traffic, checks) = (Backend::echo(), Backend::listen());
    let port = format!("kind = \"tcp\"\nport = {}", checks.address().port());
    let lb = start(&port, &traffic);
    let gone = checks.stop();
    let line = lb.line("a is down");
    assert!(line.contains(&gone.address().to_string()), "{line}");
    assert_eq!(traffic.accepted(), 0, "no check came to the port of the traffic");
}

#[test]
fn a_real_server_is_checked_at_its_http_side() {
    let (server, address) = tcp_server(&["0", "--http", "0"]);
    let port: u16 = server.line(" http on ").rsplit_once(':').unwrap().1.parse().unwrap();
    let config = |path: &str| {
        let health = format!("kind = \"http\"\nport = {port}\npath = \"{path}\"\n{FAST}");
        Config::with_backends(&[("a", address)]).health(&health)
    };
    let lb = Balancer::start(&config("/nowhere"));
    let line = lb.line("a is down");
    assert!(line.contains("answered status 404 instead of 200"), "{line}");
    let lb = Balancer::start(&config("/health"));
    server.signal(Signal::STOP);
    server.signal(Signal::CONT);
    Peer::connect(lb.address()).send(b"hi").fin().expect(b"hi").expect_eof();
    assert!(lb.lines_with("is down").is_empty(), "{}", lb.story());
}

#[test]
fn without_checks_failed_connects_take_nobody_out() {
    let gone = Refusing::bind();
    let lb = Balancer::start(&Config::with_backends(&[("a", gone.address())]));
    for _ in 0..20 {
        super::common::expect_refusal(lb.address());
    }
    let back = Backend::serve_at(gone.release(), Peer::echo);
    Peer::connect(lb.address()).send(b"hi").fin().expect(b"hi").expect_eof();
    drop(back);
    assert!(lb.lines_with("is down").is_empty(), "{}", lb.story());
}

#[test]
fn two_hundred_backends_are_all_checked_and_none_is_taken_for_another() {
    // Every third one is gone.
    let gone: Vec<_> = (0..67).map(|_| Refusing::bind()).collect();
    let here = Backend::serve(Peer::wait_for_end);
    let config = gone.iter().enumerate().fold(Config::new(), |config, (number, gone)| {
        let config = config.backend(&format!("gone-{number}"), gone.address(), "");
        let config = config.backend(&format!("here-{number}"), here.address(), "");
        config.backend(&format!("too-{number}"), here.address(), "")
    });
    let lb = Balancer::start(&config.health("interval = \"200ms\"\nfall = 2"));
    let downs = lb.wait_for_lines(67, " is down: connection refused by ");
    assert!(downs.iter().all(|line| line.contains("gone-")), "{downs:#?}");
    assert_eq!(lb.lines_with(" is down").len(), 67);
}

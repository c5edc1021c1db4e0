//! Listeners that accept a header: who is believed, what is refused, and that no byte behind the header is lost.

use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use lb::proxy_protocol::{Version, encode, probe};
use socket2::{Domain, Socket, Type};

use super::super::common::{Backend, Balancer, Config, Peer, eventually, pass};
use super::{CLIENT, TRUSTING, config, endpoints, header, records, refused};

const VERSIONS: [Version; 2] = [Version::V1, Version::V2];

#[test]
fn the_client_that_a_header_names_is_the_client() {
    let backend = Backend::echo();
    let lb = Balancer::start(&config(backend.address(), TRUSTING));
    for (version, count) in VERSIONS.into_iter().zip(1..) {
        let peer = Peer::connect(lb.address());
        peer.send(&header(version)).send(b"hi").expect(b"hi");
        let live = lb.admin().json("/api/v1/connections?service=echo");
        assert_eq!(live["connections"][0]["client"], CLIENT, "{live}");
        peer.fin().expect_eof();
        let line = records(&lb, count).pop().unwrap();
        assert_eq!(
            (&line["client"], &line["end"]),
            (&CLIENT.into(), &"client_closed".into()),
            "{line}"
        );
        assert_eq!(line["proxied_by"], peer.local().to_string(), "{line}");
        assert_eq!(
            (&line["bytes_to_backend"], &line["bytes_to_client"]),
            (&2.into(), &2.into()),
            "{line}"
        );
    }
}

#[test]
fn a_header_that_names_nobody_leaves_the_peers_own_address() {
    let backend = Backend::echo();
    let lb = Balancer::start(&config(backend.address(), TRUSTING));
    let mut local_with_addresses = encode(Version::V2, Some(endpoints("192.0.2.1:1", "192.0.2.2:2")));
    local_with_addresses[12] = 0x20;
    let mut over_unix = b"\r\n\r\n\0\r\nQUIT\n\x21\x31\0\xd8".to_vec();
    over_unix.resize(16 + 216, b'/');
    let mut unspecified = b"\r\n\r\n\0\r\nQUIT\n\x21\0\xff\xff".to_vec();
    unspecified.resize(16 + 65_535, 0xff);
    let unknown = b"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n".to_vec();
    for (header, count) in [
        probe(Version::V1),
        unknown,
        probe(Version::V2),
        local_with_addresses,
        over_unix,
        unspecified,
    ]
    .iter()
    .zip(1..)
    {
        let peer = Peer::connect(lb.address());
        peer.send(header).send(b"hi").expect(b"hi").fin().expect_eof();
        let line = records(&lb, count).pop().unwrap();
        assert_eq!(line["client"], peer.local().to_string(), "{line}");
        assert!(line.get("proxied_by").is_none(), "{line}");
    }
}

#[test]
fn hashing_and_stickiness_go_by_the_client_behind_the_proxy() {
    let backends: Vec<_> = ["a", "b"].map(|name| (name, Backend::named(name))).into();
    let addresses: Vec<_> = backends
        .iter()
        .map(|(name, backend)| (*name, backend.address()))
        .collect();
    for lines in [
        "balance = \"maglev\"\nhash_key = \"source_ip\"",
        "sticky = { ttl = \"1m\", size = 1000 }",
    ] {
        let lb = Balancer::start(
            &Config::with_backends(&addresses)
                .service(lines)
                .proxy_protocol(TRUSTING),
        );
        let mut seen = std::collections::BTreeSet::new();
        for client in 0..16 {
            let greeting = || {
                let peer = Peer::connect(lb.address());
                let source = format!("203.0.113.{client}:{}", peer.local().port());
                peer.send(&encode(Version::V1, Some(endpoints(&source, "203.0.113.80:443"))));
                let name = peer.line();
                peer.fin().expect_eof();
                name
            };
            let first = greeting();
            assert_eq!((greeting(), greeting()), (first.clone(), first.clone()), "{lines}");
            seen.insert(first);
        }
        assert_eq!(seen.len(), 2, "the peers' one address would have one backend: {lines}");
    }
}

#[test]
fn a_header_may_be_cut_anywhere_and_the_client_loses_nothing() {
    let backend = Backend::echo();
    let lb = Balancer::start(&config(backend.address(), TRUSTING));
    for version in VERSIONS {
        let stream = [header(version), b"the client's".to_vec()].concat();
        for cut in 1..=header(version).len() + 1 {
            let peer = Peer::connect(lb.address());
            peer.send(&stream[..cut]).wait_until_acknowledged();
            peer.send(&stream[cut..]).expect(b"the client's").fin().expect_eof();
        }
        // One byte at a time.
        let peer = Peer::connect(lb.address());
        for byte in &stream {
            peer.send(std::slice::from_ref(byte));
        }
        peer.expect(b"the client's").fin().expect_eof();
    }
    let closing = lb.finish();
    assert_eq!(closing.ended("refused"), 0, "{closing:?}");
}

#[test]
fn a_mebibyte_behind_the_header_arrives_whole_with_its_end() {
    let backend = Backend::listen();
    let lb = Balancer::start(&config(backend.address(), TRUSTING));
    for (version, seed) in VERSIONS.into_iter().zip(1..) {
        let peer = Peer::connect(lb.address());
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let server = backend.accept();
                server
                    .expect_noise(seed, 1 << 20)
                    .expect_eof()
                    .send_noise(seed + 10, 1 << 20)
                    .fin();
            });
            peer.send(&header(version)).send_noise(seed, 1 << 20).fin();
            peer.expect_noise(seed + 10, 1 << 20).expect_eof();
        });
        let line = records(&lb, usize::try_from(seed).unwrap()).pop().unwrap();
        assert_eq!(
            (&line["bytes_to_backend"], &line["end"]),
            (&(1 << 20).into(), &"client_closed".into()),
            "{line}"
        );
    }
}

#[test]
fn an_end_right_behind_the_header_is_passed_on() {
    let backend = Backend::listen();
    let lb = Balancer::start(&config(backend.address(), TRUSTING));
    for payload in [&b""[..], b"last words"] {
        for version in VERSIONS {
            let peer = Peer::connect(lb.address());
            peer.send_with_fin(&[&header(version), payload].concat());
            let server = backend.accept();
            server.expect(payload).expect_eof().send(b"heard").fin();
            peer.expect(b"heard").expect_eof();
        }
    }
    let peer = Peer::connect(lb.address());
    peer.send(&header(Version::V2));
    let server = backend.accept();
    peer.reset();
    server.expect_reset();
    let closing = lb.finish();
    assert_eq!(
        (closing.ended("client_closed"), closing.ended("client_reset")),
        (4, 1),
        "{closing:?}"
    );
}

#[test]
fn who_is_not_trusted_is_refused_before_a_byte_is_read() {
    let backend = Backend::echo();
    let lb = Balancer::start(&config(backend.address(), TRUSTING));
    let stranger = Ipv4Addr::new(127, 0, 0, 2);
    for count in 1..=20 {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::from((stranger, 0)).into()).unwrap();
        let local = socket.local_addr().unwrap().as_socket().unwrap();
        // The RST may be there before connect(2) has returned.
        match socket.connect(&lb.address().into()) {
            Ok(()) => {
                Peer::new(socket.into()).expect_reset();
            }
            Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
        }
        let line = records(&lb, count).pop().unwrap();
        let told = (line["client"].as_str().unwrap(), line["end"].as_str().unwrap());
        assert_eq!(told, (local.to_string().as_str(), "refused"));
    }
    assert_eq!(refused(&lb, "proxy_untrusted"), 20);
    lb.line("127.0.0.2:");
    let warnings = lb.lines_with("it is in none of the networks of proxy_protocol.trusted");
    assert!((1..20).contains(&warnings.len()), "{warnings:#?}");
    let closing = lb.finish();
    assert_eq!((closing.ended("refused"), backend.accepted()), (20, 0), "{closing:?}");
}

#[test]
fn what_is_no_header_is_refused_at_once_and_the_log_says_why() {
    let backend = Backend::echo();
    let lb = Balancer::start(&config(backend.address(), TRUSTING));
    let mut wrong_checksum = header(Version::V2);
    wrong_checksum[20] ^= 1;
    let mut long_tlv = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0f".to_vec();
    long_tlv.extend([0; 12]);
    long_tlv.extend([4, 0, 1]);
    let endless = [b"PROXY UNKNOWN ".to_vec(), vec![b'x'; 93]].concat();
    let cases: [(&[u8], &str); 5] = [
        (
            b"GET / HTTP/1.1\r\n",
            "what came first is no header of the PROXY protocol",
        ),
        (
            b"PROXY TCP4 1.1.1.1 2.2.2.2 1 2\n",
            "a version 1 header ends by CR or LF alone",
        ),
        (&endless, "no CRLF in the first 107 bytes"),
        (&wrong_checksum, "the CRC32C of a version 2 header is wrong"),
        (
            &long_tlv,
            "a TLV of a version 2 header is longer than what it stands in",
        ),
    ];
    for (bytes, why) in cases {
        let peer = Peer::connect(lb.address());
        peer.send(bytes).expect_reset();
        // Each after the last warning's second is over.
        let what = format!("echo: {} refused: {why}", peer.local());
        if lb.lines_with(&what).is_empty() {
            eventually(&what, || {
                let again = Peer::connect(lb.address());
                again.send(bytes).expect_reset();
                let what = format!("echo: {} refused: {why}", again.local());
                (!lb.lines_with(&what).is_empty()).then_some(())
            });
        }
    }
    let cut_short = Peer::connect(lb.address());
    cut_short.send_with_fin(b"PROXY TCP4 1").expect_reset();
    assert_eq!(backend.accepted(), 0);
    let count = refused(&lb, "proxy_malformed");
    assert!(count >= 6, "{count}");
    let closing = lb.finish();
    assert_eq!(closing.ended("refused"), count, "{closing:?}");
}

#[test]
fn a_peer_that_comes_and_goes_without_a_word_is_no_fault() {
    let backend = Backend::echo();
    let lb = Balancer::start(&config(backend.address(), TRUSTING));
    Peer::connect(lb.address()).fin().expect_eof();
    Peer::connect(lb.address()).reset();
    let ends: Vec<_> = records(&lb, 2).iter().map(|line| line["end"].clone()).collect();
    assert_eq!(ends, ["client_closed", "client_reset"]);
    assert_eq!(lb.lines_with("refused"), [""; 0]);
    assert_eq!((refused(&lb, "proxy_malformed"), backend.accepted()), (0, 0));
}

#[test]
fn who_says_nothing_is_cut_whoever_dribbles_too_and_who_was_introduced_lives_on() {
    let backend = Backend::echo();
    let lb = Balancer::start(&config(backend.address(), TRUSTING));
    let begun = Instant::now();
    let introduced = Peer::connect(lb.address());
    introduced.send(&header(Version::V1)).send(b"a").expect(b"a");
    let silent = Peer::connect(lb.address());
    let dribbling = Peer::connect(lb.address());
    let (waited, bytes) = std::thread::scope(|scope| {
        let dribble = scope.spawn(|| {
            let header = b"PROXY UNKNOWN and more and more and more and more and more";
            let heard = header.iter().take_while(|byte| {
                let is_sent = dribbling.is_sent(std::slice::from_ref(*byte));
                pass(Duration::from_millis(500));
                is_sent
            });
            heard.count()
        });
        eventually("both wait for a header", || {
            let live = lb.admin().json("/api/v1/connections?service=echo").to_string();
            (live.matches("awaiting_header").count() == 2).then_some(())
        });
        silent.expect_reset();
        (begun.elapsed(), dribble.join().unwrap())
    });
    assert!(waited >= Duration::from_secs(3), "{waited:?}");
    // A deadline that each byte moves would let it say all of it, which takes half a minute.
    assert!(bytes < 20, "{bytes} bytes");
    introduced.send(b"b").expect(b"b").fin().expect_eof();
    assert_eq!(refused(&lb, "proxy_timeout"), 2);
    lb.line("no whole header within 3s");
    let closing = lb.finish();
    assert_eq!(
        (closing.ended("refused"), closing.ended("client_closed")),
        (2, 1),
        "{closing:?}"
    );
}

#[test]
fn a_reload_turns_it_on_and_off() {
    let backend = Backend::echo();
    let plain = Config::with_backends(&[("a", backend.address())]).admin("listen = \"127.0.0.1:0\"");
    let lb = Balancer::start(&plain);
    let admin = lb.admin();
    let said = |lines: &[u8]| {
        let peer = Peer::connect(lb.address());
        peer.send(&[lines, b"x"].concat());
        (peer.take_unless_reset(), peer)
    };
    assert_eq!(said(b"").0, Some(*b"x"));
    let (_, before) = said(b"");
    let accepting = plain.clone().proxy_protocol(TRUSTING);
    assert_eq!(lb.reload(&admin, &accepting), ["echo: [service.proxy_protocol]"]);
    before.send(b"still").expect(b"still");
    assert_eq!(said(&header(Version::V1)).0, Some(*b"x"));
    assert_eq!(said(b"no header at all").0, None);
    let elsewhere = plain
        .clone()
        .proxy_protocol("accept = true\ntrusted = [\"10.0.0.0/8\"]");
    assert_eq!(lb.reload(&admin, &elsewhere), ["echo: [service.proxy_protocol]"]);
    assert!(Peer::connect_unless_reset(lb.address()).is_none_or(|peer| peer.take_unless_reset().is_none()));
    lb.reload(&admin, &plain);
    assert_eq!(said(b"").0, Some(*b"x"));
}

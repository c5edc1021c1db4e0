//! What backends and checks are told, before anything else.

use lb::proxy_protocol::{Version, encode, probe};

use super::super::common::{Backend, Balancer, Config, Peer, Refusing};
use super::{CLIENT, DESTINATION, TRUSTING, config, endpoints, header, records};

const VERSIONS: [(&str, Version); 2] = [("send = \"v1\"", Version::V1), ("send = \"v2\"", Version::V2)];

#[test]
fn a_backend_is_told_the_client_first_and_that_is_no_byte_of_the_clients() {
    for (lines, version) in VERSIONS {
        let backend = Backend::listen();
        let lb = Balancer::start(&config(backend.address(), lines));
        let client = Peer::connect(lb.address());
        let server = backend.accept();
        // Before the client has said anything: the backend may be who speaks first.
        let wanted = encode(
            version,
            Some(endpoints(&client.local().to_string(), &lb.address().to_string())),
        );
        server
            .expect(&wanted)
            .send(b"220 hello")
            .expect_silence(std::time::Duration::from_millis(50));
        client.expect(b"220 hello").send_noise(1, 300_000).fin();
        server.expect_noise(1, 300_000).expect_eof().fin();
        client.expect_eof();
        let line = records(&lb, 1).pop().unwrap();
        assert_eq!(line["bytes_to_backend"], 300_000, "{line}");
        let metrics = lb.admin().get("/metrics").text();
        let sample = "lb_bytes_total{service=\"echo\",backend=\"a\",direction=\"to_backend\"} 300000";
        assert!(metrics.contains(sample), "{metrics}");
    }
}

#[test]
fn what_one_proxy_said_the_next_is_told_without_its_tlvs() {
    for (lines, version) in VERSIONS {
        let backend = Backend::listen();
        let lb = Balancer::start(&config(backend.address(), &format!("{TRUSTING}\n{lines}")));
        let mut with_tlvs = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x11\xcb\0\x71\x07\xcb\0\x71\x50\x12\x67\x01\xbb".to_vec();
        with_tlvs.extend([0x02, 0, 2, b'e', b'x']);
        for said in [header(Version::V1), header(Version::V2), with_tlvs] {
            let client = Peer::connect(lb.address());
            client.send(&[&said[..], b"and on"].concat());
            let server = backend.accept();
            let wanted = encode(version, Some(endpoints(CLIENT, DESTINATION)));
            server.expect(&wanted).expect(b"and on");
            server.fin();
            client.expect_eof().fin();
            server.expect_eof();
        }
        let client = Peer::connect(lb.address());
        client.send(&probe(version));
        let wanted = endpoints(&client.local().to_string(), &lb.address().to_string());
        backend.accept().expect(&encode(version, Some(wanted)));
    }
}

#[test]
fn addresses_of_ipv6_are_told_as_such() {
    for (lines, version) in VERSIONS {
        let backend = Backend::listen();
        let config = config(backend.address(), lines).listen("\"[::1]:0\"");
        let lb = Balancer::start(&config);
        let client = Peer::connect(lb.address());
        let wanted = endpoints(&client.local().to_string(), &lb.address().to_string());
        backend.accept().expect(&encode(version, Some(wanted)));
    }
}

#[test]
fn only_the_backend_that_took_the_connection_is_told() {
    let (gone, backend) = (Refusing::bind(), Backend::listen());
    let config = Config::new()
        .proxy_protocol("send = \"v2\"")
        .backend("gone", gone.address(), "weight = 256")
        .backend("here", backend.address(), "");
    let lb = Balancer::start(&config);
    let client = Peer::connect(lb.address());
    client.send(b"hi");
    let wanted = endpoints(&client.local().to_string(), &lb.address().to_string());
    backend
        .accept()
        .expect(&encode(Version::V2, Some(wanted)))
        .expect(b"hi");
}

#[test]
fn a_backend_that_doesnt_take_the_header_has_reset_the_connection() {
    let backend = Backend::serve(|peer| peer.reset_now());
    let lb = Balancer::start(&config(backend.address(), "send = \"v1\""));
    Peer::connect(lb.address()).expect_reset();
    assert_eq!(records(&lb, 1)[0]["end"], "backend_reset");
}

#[test]
fn checks_begin_with_a_header_that_names_nobody() {
    for (lines, version) in VERSIONS {
        for kind in [
            "kind = \"tcp\"",
            "kind = \"expect\"\nsend = \"ping\\n\"\nexpect = \"pong\\n\"",
        ] {
            let backend = Backend::listen();
            let config = config(backend.address(), lines).health(&format!("{kind}\ninterval = \"100ms\""));
            let lb = Balancer::start(&config);
            let check = backend.accept();
            if kind.contains("expect") {
                check.expect(&probe(version)).expect(b"ping\n").send(b"pong\n");
            }
            // It ends by RST, which may overtake the header of one that asks nothing.
            check.expect_reset_after_any_bytes();
            let status = lb.admin().json("/api/v1/services/echo/backends/a");
            assert_eq!(status["state"], "up", "{status}");
        }
    }
}

#[test]
fn a_check_on_a_port_of_its_own_is_a_plain_one() {
    let (backend, side) = (Backend::listen(), Backend::listen());
    let health = format!(
        "kind = \"expect\"\nsend = \"ping\\n\"\nexpect = \"pong\\n\"\ninterval = \"100ms\"\nport = {}",
        side.address().port()
    );
    let _lb = Balancer::start(&config(backend.address(), "send = \"v2\"").health(&health));
    side.accept().expect(b"ping\n").send(b"pong\n");
}

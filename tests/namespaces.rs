//! What needs a network of its own: few local ports, all of them used up. Needs root and `ip`, and says so where it can't run.

use std::net::SocketAddr;
use std::process::Command;
use std::time::{Duration, Instant};

use super::common::{Backend, Balancer, Config, Namespace, Peer, Program, expect_refusal, is_full_run};

/// `lb` and its one echo backend on the loopback of the inner namespace; clients reach it over the pair of interfaces.
fn start(network: &Namespace, backend: SocketAddr, health: &str) -> (Balancer, SocketAddr) {
    let config = Config::with_backends(&[("a", backend)])
        .health(health)
        .listen(&format!("\"{}:9000\"", Namespace::ADDRESS));
    let lb = Balancer::start_with(&config, |command| network.command(&command));
    let address = lb.address();
    (lb, address)
}

fn loopback() -> SocketAddr {
    "127.0.0.1:0".parse().unwrap()
}

#[test]
fn three_thousand_local_ports_carry_many_times_as_many_short_connections() {
    let Some(network) = Namespace::open("three_thousand_local_ports") else {
        return;
    };
    network.set("ip_local_port_range", "40000 42999");
    network.set("tcp_tw_reuse", "0");
    network.set_for_clients("ip_local_port_range", "1024 65535");
    let count = if is_full_run("200,000 short connections over 3,000 local ports") {
        200_000
    } else {
        20_000
    };
    let mut server = Command::new(env!("CARGO_BIN_EXE_tcp_server"));
    server.arg("9001");
    let server = Program::captured(network.command(&server));
    server.line("listening on ");
    let (lb, address) = start(
        &network,
        "127.0.0.1:9001".parse().unwrap(),
        "kind = \"tcp\"\ninterval = \"500ms\"",
    );
    let mut client = Command::new(env!("CARGO_BIN_EXE_client"));
    client.args([
        "--target",
        &address.to_string(),
        "--conns",
        &count.to_string(),
        "--concurrency",
        "50",
    ]);
    let mut client = Program::captured(network.client_command(&client));
    assert_eq!(client.exit_code(), Some(0), "{}", client.story());
    assert!(
        lb.lines_with("is down").is_empty() && lb.lines_with("says nothing").is_empty(),
        "{}",
        lb.story()
    );
    drop(client);
    let closing = lb.finish();
    assert_eq!(closing.ended("client_closed"), count);
    assert_eq!(closing.backend("a", " failed connects"), 0);
}

#[test]
fn with_every_local_port_in_use_clients_are_told_at_once_and_the_backend_stays_up() {
    const PORTS: usize = 200;
    let Some(network) = Namespace::open("with_every_local_port_in_use") else {
        return;
    };
    network.set("ip_local_port_range", "40000 40199");
    network.set("tcp_tw_reuse", "0");
    let backend = network.within(|| Backend::named_at(loopback(), "in"));
    // The checks need ports too, to the same address: they find none either, and must not blame the backend.
    let (lb, address) = start(&network, backend.address(), "interval = \"100ms\"\nfall = 2");
    network.among_clients(|| {
        let mut clients = Vec::new();
        // A check may have one of the ports at any moment, so the last may be had late or not at all.
        while clients.len() < PORTS {
            let client = Peer::connect_unless_reset(address).filter(Peer::is_greeted);
            let Some(client) = client else { break };
            clients.push(client);
        }
        assert!(
            clients.len() >= PORTS - 3,
            "{} clients were served over {PORTS} ports",
            clients.len()
        );
        let from = Instant::now();
        for _ in 0..20 {
            expect_refusal(address);
        }
        assert!(
            from.elapsed() < Duration::from_secs(2),
            "twenty were told in {:?}",
            from.elapsed()
        );
        lb.line("says nothing about it: no local port left towards");
        let cpu = lb.process().cpu_during(Duration::from_secs(2));
        assert!(cpu <= Duration::from_millis(200), "{cpu:?} of 2 s, without a port");
        assert!(lb.lines_with("is down").is_empty(), "{}", lb.story());
        for client in clients.iter().take(50) {
            client.fin().expect_eof();
        }
        for _ in 0..100 {
            Peer::connect(address).expect(b"in\n").fin().expect_eof();
        }
        for client in &clients[50..] {
            client.send(b"alive").expect(b"alive").fin().expect_eof();
        }
    });
    assert!(lb.lines_with("is down").is_empty(), "{}", lb.story());
    let closing = lb.finish();
    assert!(
        closing.ended("client_closed") >= (PORTS - 3 + 100) as u64,
        "{closing:?}"
    );
}

//! Starting, many connections at once, several services, draining and stopping.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Stdio};

use super::common::{
    Backend, Balancer, Config, Peer, Program, Signal, at_once, eventually, expect_refusal, is_full_run, lb_command,
    tcp_server,
};

/// Starts `lb` and expects it to say no: its exit code and what it said.
fn refused(config: &str) -> (Option<i32>, Vec<String>) {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("lb.toml"), config).unwrap();
    let mut lb = Program::captured(lb_command(folder.path()));
    (lb.exit_code(), lb.stderr())
}

#[test]
fn a_port_in_use_is_said_clearly_and_nothing_runs() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let backend: SocketAddr = "127.0.0.1:9".parse().unwrap();
    let config = Config::with_backends(&[("a", backend)]).listen(&format!("\"{address}\""));
    let (code, said) = refused(&config.text());
    assert_eq!(code, Some(1), "{said:?}");
    let wanted =
        format!("can't listen on {address}: the port is taken by another program; stop it, or choose another `listen`");
    assert!(said.len() == 1 && said[0].ends_with(&wanted), "{said:#?}");
}

#[test]
fn an_address_that_isnt_here_is_said_clearly() {
    let config = Config::with_backends(&[("a", "127.0.0.1:9".parse().unwrap())]).listen("\"192.0.2.1:0\"");
    let (code, said) = refused(&config.text());
    assert_eq!(code, Some(1));
    assert!(
        said[0].ends_with("can't listen on 192.0.2.1:0: this machine has no such address"),
        "{said:#?}"
    );
}

#[test]
fn a_bad_configuration_starts_nothing() {
    let (code, said) = refused("[[service]]\nname = \"echo\"\nlisten = \"127.0.0.1:0\"\n");
    assert_eq!(code, Some(1));
    assert!(said[0].starts_with("lb.toml:"), "{said:#?}");
}

#[test]
fn ipv4_ipv6_and_several_listeners_serve_at_once() {
    let v4 = Backend::named("v4");
    let v6 = Backend::named_at("[::1]:0".parse().unwrap(), "v6");
    let config = Config::with_backends(&[("v4", v4.address()), ("v6", v6.address())])
        .listen("[\"127.0.0.1:0\", \"[::1]:0\", \"127.0.0.2:0\"]");
    let lb = Balancer::start(&config);
    let addresses = lb.addresses_of("echo");
    assert_eq!(addresses.len(), 3);
    let mut names = Vec::new();
    for address in addresses.iter().chain(addresses) {
        let client = Peer::connect(*address);
        names.push(client.line());
        client.send(b"over here").fin().expect(b"over here").expect_eof();
    }
    assert_eq!(
        names,
        ["v4", "v6", "v4", "v6", "v4", "v6"],
        "one pool behind all listeners"
    );
    assert_eq!(lb.finish().ended("client_closed"), 6);
}

#[test]
fn two_services_have_their_own_backends_and_counts() {
    let (a, b) = (Backend::named("a"), Backend::named("b"));
    let config = Config::with_backends(&[("a", a.address())])
        .and_service("other")
        .backend("b", b.address(), "");
    let lb = Balancer::start(&config);
    for _ in 0..3 {
        Peer::connect(lb.address()).expect(b"a\n").fin().expect_eof();
    }
    for _ in 0..5 {
        Peer::connect(lb.addresses_of("other")[0])
            .expect(b"b\n")
            .fin()
            .expect_eof();
    }
    let closing = lb.finish();
    assert_eq!((closing.service("echo").0, closing.service("other").0), (3, 5));
}

#[test]
fn while_it_drains_nobody_new_comes_in_and_everybody_within_finishes() {
    for signal in [Signal::TERM, Signal::INT] {
        let backend = Backend::echo();
        let mut lb = Balancer::start(&Config::with_backends(&[("a", backend.address())]));
        let clients: Vec<_> = (0..50).map(|_| Peer::connect(lb.address())).collect();
        for client in &clients {
            client.send(b"in").expect(b"in");
        }
        let address = lb.address();
        lb.signal(signal);
        lb.line("50 have up to 30s to finish");
        eventually("new connects are refused", || {
            TcpStream::connect(address).is_err().then_some(())
        });
        for client in &clients {
            client.send_noise(1, 100_000).expect_noise(1, 100_000);
        }
        for client in &clients[1..] {
            client.fin().expect_eof();
        }
        clients[0].send(b"the last one").expect(b"the last one");
        assert!(!lb.program_mut().has_ended(), "one is still there");
        clients[0].fin().expect_eof();
        let closing = lb.finish_stopped();
        assert_eq!(closing.ended("client_closed"), 50);
    }
}

#[test]
fn what_the_kernel_had_accepted_before_the_drain_is_still_served() {
    let backend = Backend::echo();
    let lb = Balancer::start(&Config::with_backends(&[("a", backend.address())]));
    // Stopped, it accepts nothing, but its kernel does; then the signal to drain is already there when it wakes.
    lb.signal(Signal::STOP);
    // More than a burst, and more than the workers' inboxes hold.
    let clients: Vec<_> = (0..1500).map(|_| Peer::connect(lb.address())).collect();
    lb.signal(Signal::TERM);
    lb.signal(Signal::CONT);
    for client in &clients {
        client.send(b"hi").fin().expect(b"hi").expect_eof();
    }
    assert_eq!(lb.finish_stopped().ended("client_closed"), 1500);
}

#[test]
fn a_hang_up_reloads_and_ends_nothing() {
    let backend = Backend::echo();
    let lb = Balancer::start(&Config::with_backends(&[("a", backend.address())]));
    let client = Peer::connect(lb.address());
    client.send(b"in").expect(b"in");
    lb.signal(Signal::HUP);
    lb.line("reloaded: 0 changes");
    client.send(b"still").expect(b"still").fin().expect_eof();
    assert_eq!(lb.finish().ended("client_closed"), 1);
}

#[test]
fn a_second_signal_ends_it_at_once_with_1() {
    let backend = Backend::echo();
    let mut lb = Balancer::start(&Config::with_backends(&[("a", backend.address())]));
    let client = Peer::connect(lb.address());
    client.send(b"in").expect(b"in");
    lb.signal(Signal::TERM);
    lb.line("1 have up to 30s to finish");
    lb.signal(Signal::TERM);
    assert_eq!(lb.program_mut().exit_code(), Some(1));
    client.wait_for_end();
    lb.forget();
}

#[test]
fn connections_reset_in_the_accept_queue_harm_nobody() {
    let backend = Backend::echo();
    let lb = Balancer::start(&Config::with_backends(&[("a", backend.address())]));
    lb.signal(Signal::STOP);
    let clients: Vec<_> = (0..200).map(|_| Peer::connect(lb.address())).collect();
    let (gone, here): (Vec<_>, Vec<_>) = clients.into_iter().enumerate().partition(|(number, _)| number % 2 == 0);
    for (_, client) in gone {
        client.reset();
    }
    lb.signal(Signal::CONT);
    for (_, client) in &here {
        client.send(b"hi").fin().expect(b"hi").expect_eof();
    }
    assert_eq!(lb.finish().ended("client_closed"), 100);
}

#[test]
fn a_storm_of_resets_leaves_nothing_behind_and_harms_nobody() {
    let backend = Backend::echo();
    let lb = Balancer::start(&Config::with_backends(&[("a", backend.address())]));
    let steady = Peer::connect(lb.address());
    at_once(8, |_| {
        for round in 0..250 {
            let client = Peer::connect(lb.address());
            if round % 2 == 0 {
                client.send(b"a few bytes");
            }
            client.reset();
        }
    });
    steady.send(b"still here").expect(b"still here").fin().expect_eof();
    Peer::connect(lb.address())
        .send(b"new")
        .fin()
        .expect(b"new")
        .expect_eof();
    let closing = lb.finish();
    assert_eq!(closing.service("echo").0, 2002);
    assert_eq!(closing.ended("client_closed"), 2, "{closing:?}");
}

fn client(arguments: &str, target: SocketAddr) -> Program {
    let mut command = Command::new(env!("CARGO_BIN_EXE_client"));
    command
        .args(["--target", &target.to_string()])
        .args(arguments.split(' '));
    Program::captured(command)
}

fn with_servers(count: usize) -> (Balancer, Vec<(Program, SocketAddr)>) {
    let servers: Vec<_> = (0..count).map(|_| tcp_server(&["0"])).collect();
    // On a busy machine a connect may take longer than 200 ms, and a rival would change the shares.
    let config = Config::new().service("hedge_after = \"off\"\nconnect_timeout = \"20s\"");
    let config = servers
        .iter()
        .enumerate()
        .fold(config, |config, (number, (_, address))| {
            config.backend(&format!("s{number}"), *address, "")
        });
    (Balancer::start(&config), servers)
}

#[test]
fn two_thousand_connections_at_once_are_served() {
    let (lb, _servers) = with_servers(3);
    let count = if is_full_run("9,500 connections at once") {
        9500
    } else {
        2000
    };
    let arguments = format!("--conns {count} --concurrency {count} --requests 3");
    let mut client = client(&arguments, lb.address());
    assert_eq!(client.exit_code(), Some(0), "{}", client.story());
    drop(client);
    let closing = lb.finish();
    assert_eq!(closing.ended("client_closed"), count);
    let of_each = ["s0", "s1", "s2"].map(|name| closing.backend(name, " connections"));
    assert!(
        of_each.iter().all(|of_one| of_one.abs_diff(count / 3) <= 1),
        "{of_each:?}"
    );
}

#[test]
fn five_thousand_short_connections_lose_nothing() {
    let (lb, _servers) = with_servers(2);
    let mut client = client("--conns 5000 --concurrency 64 --size 3000", lb.address());
    assert_eq!(client.exit_code(), Some(0), "{}", client.story());
    drop(client);
    let closing = lb.finish();
    assert_eq!(closing.ended("client_closed"), 5000);
    let bytes: u64 = ["s0", "s1"]
        .map(|name| closing.backend(name, " bytes to it"))
        .iter()
        .sum();
    assert_eq!(bytes, 5000 * 3000);
}

#[test]
fn a_client_that_is_turned_away_doesnt_wait() {
    let config = Config::new().backend("a", "127.0.0.1:9".parse().unwrap(), "weight = 0");
    let lb = Balancer::start(&config);
    at_once(8, |_| (0..50).for_each(|_| expect_refusal(lb.address())));
    assert_eq!(lb.finish().ended("no_backend"), 400);
}

#[test]
fn a_killed_lb_is_started_again_at_once_and_nothing_it_left_stands_in_its_way() {
    let backend = Backend::echo();
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = free.local_addr().unwrap();
    drop(free);
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("admin.sock");
    let config = Config::new()
        .admin(&format!("listen = \"unix:{}\"", socket.display()))
        .listen(&format!("\"{address}\""))
        .backend("a", backend.address(), "");
    for _ in 0..3 {
        let mut lb = Balancer::start(&config);
        let clients: Vec<Peer> = (0..20).map(|_| Peer::connect(address)).collect();
        for client in &clients {
            client.send(b"in").expect(b"in");
        }
        lb.program_mut().kill();
        lb.forget();
        assert!(socket.exists(), "what a killed process leaves");
        clients.iter().for_each(Peer::wait_for_end);
    }
    let lb = Balancer::start(&config);
    Peer::connect(address).send(b"in").fin().expect(b"in").expect_eof();
    assert_eq!(lb.finish().ended("client_closed"), 1);
    assert!(!socket.exists());
}

#[test]
fn whoever_comes_while_a_killed_lb_is_started_again_waits_at_the_ports_that_systemd_holds() {
    let backend = Backend::echo();
    let held = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = held.local_addr().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let config = Config::new()
        .listen(&format!("\"{address}\""))
        .backend("a", backend.address(), "");
    std::fs::write(folder.path().join("lb.toml"), config.text()).unwrap();
    let start = || {
        let mut command = lb_command(folder.path());
        command.stdin(Stdio::null()).stderr(Stdio::null());
        let socket = lb::sys::InheritedSocket {
            name: "lb.socket".to_owned(),
            socket: held.try_clone().unwrap().into(),
        };
        lb::sys::spawn_with(command, vec![socket]).unwrap()
    };
    for _ in 0..3 {
        let mut lb = start();
        Peer::connect(address).send(b"in").fin().expect(b"in").expect_eof();
        lb.kill().unwrap();
        lb.wait().unwrap();
        let waiting: Vec<Peer> = (0..50).map(|_| Peer::connect(address)).collect();
        let mut next = start();
        for client in &waiting {
            client.send(b"waited").fin().expect(b"waited").expect_eof();
        }
        next.kill().unwrap();
        next.wait().unwrap();
    }
}

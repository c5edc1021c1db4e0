//! Who is let in: networks, what one source may take, how long a session may live; and peers that vanish.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use super::common::{Backend, Balancer, Config, Namespace, Peer, at_once, eventually, greeted_by, has, run_by, tell};

const FIRST: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 1);
const SECOND: Ipv4Addr = Ipv4Addr::new(127, 1, 2, 3);

fn start(backend: &Backend, section: &str) -> Balancer {
    Balancer::start(&config(backend, section))
}

fn config(backend: &Backend, section: &str) -> Config {
    Config::with_backends(&[("a", backend.address())])
        .admin("listen = \"127.0.0.1:0\"")
        .section(section)
}

/// Whether a connection from there is greeted; else it must be told by RST.
fn is_let_in(source: Ipv4Addr, address: SocketAddr) -> Option<Peer> {
    Peer::connect_from_unless_reset(source, address).filter(Peer::is_greeted)
}

fn refused(lb: &Balancer, reason: &str) -> u64 {
    let text = lb.admin().get("/metrics").text();
    let line = text
        .lines()
        .find(|line| line.starts_with("lb_connections_refused_total{") && line.contains(&format!("\"{reason}\"")));
    let value = line
        .and_then(|line| line.rsplit(' ').next())
        .unwrap_or_else(|| panic!("{text}"));
    value.parse().unwrap()
}

#[test]
fn only_networks_that_may_connect_do_and_the_longest_prefix_says() {
    let backend = Backend::named("x");
    let lb = start(
        &backend,
        "[service.access]\nallow = [\"127.0.0.0/8\", \"127.1.2.3/32\"]\ndeny = [\"127.1.0.0/16\"]",
    );
    for (source, is_welcome) in [
        (FIRST, true),
        (Ipv4Addr::new(127, 1, 0, 1), false),
        (SECOND, true),
        (Ipv4Addr::new(127, 2, 0, 1), true),
    ] {
        assert_eq!(is_let_in(source, lb.address()).is_some(), is_welcome, "{source}");
    }
    assert_eq!(refused(&lb, "access"), 1);
    assert_eq!(lb.finish().ended("refused"), 1);
}

#[test]
fn a_reload_changes_who_may_connect_and_ends_nobody() {
    let backend = Backend::echo();
    let lb = start(&backend, "");
    let admin = lb.admin();
    let before = Peer::connect_from(SECOND, lb.address());
    before.send(b"here").expect(b"here");
    let told = lb.reload(&admin, &config(&backend, "[service.access]\ndeny = \"127.1.0.0/16\""));
    assert!(told.iter().any(|word| word.contains("[service.access]")), "{told:?}");
    eventually("it isn't let in any more", || {
        let peer = Peer::connect_from_unless_reset(SECOND, lb.address());
        peer.is_none_or(|peer| !peer.is_echoed(b"x")).then_some(())
    });
    before.send(b"still here").expect(b"still here").fin().expect_eof();
    let told = lb.reload(&admin, &config(&backend, ""));
    assert!(told.iter().any(|word| word.contains("[service.access]")), "{told:?}");
    eventually("it is let in again", || {
        let peer = Peer::connect_from_unless_reset(SECOND, lb.address())?;
        peer.is_echoed(b"x").then_some(())
    });
    lb.finish();
}

#[test]
fn a_source_has_as_many_connections_as_it_may_and_takes_none_of_another_ones() {
    let backend = Backend::named("x");
    let lb = start(&backend, "[service.limits]\nper_source = 5");
    let outcomes = at_once(16, |_| {
        (0..5)
            .filter_map(|_| is_let_in(FIRST, lb.address()))
            .collect::<Vec<_>>()
    });
    let mut held: Vec<Peer> = outcomes.into_iter().flatten().collect();
    assert_eq!(held.len(), 5);
    assert_eq!(refused(&lb, "source_limit"), 75);
    held.extend((0..5).map(|_| is_let_in(SECOND, lb.address()).unwrap()));
    assert!(is_let_in(SECOND, lb.address()).is_none());
    // One of the first leaves: exactly one place is its.
    held.remove(0).fin().expect_eof();
    lb.wait_for_fds_more(2 * 9);
    held.push(is_let_in(FIRST, lb.address()).unwrap());
    assert!(is_let_in(FIRST, lb.address()).is_none());
    drop(held);
    lb.wait_until_idle();
    greeted_by(lb.address());
    lb.finish();
}

#[test]
fn connections_that_live_count_for_a_limit_that_a_reload_brings() {
    let backend = Backend::named("x");
    let lb = start(&backend, "[service.limits]\nper_source = 9");
    let admin = lb.admin();
    let held: Vec<Peer> = (0..3).map(|_| is_let_in(FIRST, lb.address()).unwrap()).collect();
    lb.reload(&admin, &config(&backend, "[service.limits]\nper_source = 3"));
    eventually("the limit holds", || {
        is_let_in(FIRST, lb.address()).is_none().then_some(())
    });
    drop(held);
    lb.wait_until_idle();
    assert!(is_let_in(FIRST, lb.address()).is_some());
    lb.finish();
}

#[test]
fn a_source_that_comes_too_often_is_refused_and_others_are_not() {
    let backend = Backend::named("x");
    let lb = start(&backend, "[service.limits]\nrate_per_source = \"1/h\"\nburst = 4");
    let welcome = (0..10).filter(|_| is_let_in(FIRST, lb.address()).is_some()).count();
    assert_eq!(welcome, 4);
    assert!(is_let_in(SECOND, lb.address()).is_some());
    assert_eq!(refused(&lb, "source_rate"), 6);
    let log = lb.wait_for_lines(1, "it comes more often than rate_per_source allows");
    assert!(log[0].contains("echo: 127.0.0.1:"), "{log:?}");
    assert_eq!(lb.finish().ended("refused"), 6);
}

#[test]
fn a_session_that_has_lived_for_max_session_ends_however_busy_it_is() {
    let backend = Backend::echo();
    let lb = start(&backend, "[service.limits]\nmax_session = \"1s\"");
    let peer = Peer::connect(lb.address());
    while peer.is_echoed(b"busy") {}
    assert_eq!(lb.finish().ended("max_session"), 1);
}

#[test]
fn the_queue_of_a_listener_is_as_long_as_it_is_told_also_by_a_reload() {
    if !has("ss", "iproute2", "the_queue_of_a_listener") {
        return;
    }
    let backend = Backend::echo();
    let queue = |lb: &Balancer| {
        let filter = format!("sport = :{}", lb.address().port());
        let shown = Command::new("ss").args(["-Hltn", &filter]).output().unwrap();
        let line = String::from_utf8(shown.stdout).unwrap();
        line.split_whitespace().nth(2).map(str::to_owned)
    };
    let lb = start(&backend, "[service.limits]\ntcp_backlog = 7");
    assert_eq!(queue(&lb).as_deref(), Some("7"));
    lb.reload(&lb.admin(), &config(&backend, "[service.limits]\ntcp_backlog = 9"));
    assert_eq!(queue(&lb).as_deref(), Some("9"));
    lb.finish();
}

#[test]
fn a_peer_whose_network_is_gone_is_found_after_peer_timeout_and_the_other_is_told() {
    let Some(network) = Namespace::open("a_peer_whose_network_is_gone") else {
        return;
    };
    if !has("nft", "nftables", "a_peer_whose_network_is_gone") {
        return;
    }
    let backend = network.within(Backend::listen);
    let config = Config::with_backends(&[("a", backend.address())])
        .service("peer_timeout = \"2s\"")
        .listen(&format!("\"{}:9000\"", Namespace::ADDRESS));
    let lb = Balancer::start_with(&config, |command| network.command(&command));
    let client = network.among_clients(|| Peer::connect(lb.address()));
    let server = backend.accept();
    client.send(b"here");
    server.expect(b"here").send(b"and here");
    client.expect(b"and here");
    let mut nft = Command::new("nft");
    nft.arg(
        "add table ip t; add chain ip t in { type filter hook input priority 0 ; }; add rule ip t in iifname veth0 drop",
    );
    assert!(network.command(&nft).status().unwrap().success());
    server.send(b"to nobody");
    server.expect_reset();
    assert_eq!(lb.finish().ended("client_reset"), 1);
}

/// A control group of version 1 with a limit on what TCP may hold in it; gone when dropped.
struct TcpGroup(PathBuf);

impl TcpGroup {
    fn open(test: &str, bytes: u64) -> Option<Self> {
        let folder = PathBuf::from(format!("/sys/fs/cgroup/memory/lbt{}", std::process::id()));
        let made = std::fs::create_dir(&folder)
            .and_then(|()| std::fs::write(folder.join("memory.kmem.tcp.limit_in_bytes"), bytes.to_string()));
        match made {
            Ok(()) => Some(Self(folder)),
            Err(error) => {
                drop(std::fs::remove_dir(&folder)); // it may never have been made
                tell(&format!(
                    "{test}: skipped: no control group with a limit on TCP's memory: {error}"
                ));
                None
            }
        }
    }
}

impl Drop for TcpGroup {
    fn drop(&mut self) {
        let gone = eventually("the group is empty", || match std::fs::remove_dir(&self.0) {
            Ok(()) => Some(Ok(())),
            Err(error) if error.kind() == std::io::ErrorKind::ResourceBusy => None,
            Err(error) => Some(Err(error)),
        });
        gone.unwrap();
    }
}

#[test]
fn when_memory_is_nearly_used_up_new_connections_are_refused_and_old_ones_lose_nothing() {
    const BYTES: usize = 3 << 20;
    let Some(group) = TcpGroup::open("when_memory_is_nearly_used_up", 4 << 20) else {
        return;
    };
    let backend = Backend::listen();
    let lb = Balancer::start_with(&config(&backend, ""), |command| {
        let enter = format!("echo $$ > {}/cgroup.procs && exec \"$0\" \"$@\"", group.0.display());
        run_by(&["sh", "-c", &enter], &command)
    });
    // Backends that send and clients that don't read, until lb says no.
    let mut pairs = Vec::new();
    let is_refused = std::iter::repeat_with(|| {
        let client = Peer::connect_unless_reset(lb.address());
        let Some(client) = client else { return true };
        let is_in = eventually("lb has decided", || {
            let active = lb.admin().json("/api/v1/status")["connections"]["active"].as_u64();
            let is_in = active > Some(pairs.len() as u64);
            (is_in || refused(&lb, "memory") > 0).then_some(is_in)
        });
        if !is_in {
            return true;
        }
        let server = backend.accept();
        let seed = pairs.len() as u64;
        let sender = std::thread::spawn(move || {
            server.send_noise(seed, BYTES).fin();
            server
        });
        super::common::pass(Duration::from_millis(20)); // what was sent is on its way
        pairs.push((client, sender));
        false
    })
    .take(200)
    .any(|is_refused| is_refused);
    assert!(is_refused, "{}", lb.story());
    lb.wait_for_lines(1, "MiB are used; sessions that live go on");
    assert!(!pairs.is_empty());
    for (seed, (client, sender)) in pairs.into_iter().enumerate() {
        client.expect_noise(seed as u64, BYTES).expect_eof();
        client.fin();
        sender.join().unwrap();
    }
    lb.wait_until_idle();
    eventually("it lets clients in again", || {
        let before = refused(&lb, "memory");
        let client = Peer::connect_unless_reset(lb.address());
        let is_in = eventually("lb has decided", || {
            let active = lb.admin().json("/api/v1/status")["connections"]["active"].as_u64();
            (active == Some(1) || refused(&lb, "memory") > before).then_some(active == Some(1))
        });
        is_in.then(|| (client, backend.accept()))
    });
    lb.finish();
}

#[test]
fn behind_a_proxy_the_client_that_the_header_names_is_the_one_who_counts() {
    let backend = Backend::named("x");
    let lb = start(
        &backend,
        "[service.proxy_protocol]\naccept = true\ntrusted = \"127.0.0.0/8\"\n\
         [service.access]\ndeny = [\"10.6.0.0/16\", \"127.0.0.0/8\"]\n\
         [service.limits]\nper_source = 2",
    );
    let come = |header: &str| {
        let peer = Peer::connect(lb.address());
        peer.send(header.as_bytes());
        peer.is_greeted().then_some(peer)
    };
    let from = |client: &str| come(&format!("PROXY TCP4 {client} 10.0.0.1 4000 9000\r\n"));
    let held = [from("10.5.0.1"), from("10.5.0.1")];
    assert!(held.iter().all(Option::is_some));
    assert!(from("10.5.0.1").is_none() && from("10.5.0.2").is_some());
    assert_eq!(refused(&lb, "source_limit"), 1);
    assert!(from("10.6.0.1").is_none());
    // Whom no header names is known by the proxy's own address.
    assert!(come("PROXY UNKNOWN\r\n").is_none());
    assert_eq!(refused(&lb, "access"), 2);
    let lines = lb.wait_for_lines(
        1,
        "10.5.0.1:4000 refused: it has as many connections as per_source allows",
    );
    assert_eq!(lines.len(), 1);
    drop(held);
    lb.wait_until_idle();
    assert!(from("10.5.0.1").is_some());
    let closing = lb.finish();
    assert_eq!(closing.ended("refused"), 3);
}

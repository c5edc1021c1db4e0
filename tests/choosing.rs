//! Which backend takes a connection: policies, weights, backups.

use std::collections::BTreeMap;

use super::common::{Backend, Balancer, Config, Peer, Refusing, at_once, expect_refusal, tcp_server};

/// Three that say their names.
fn named() -> [(&'static str, Backend); 3] {
    ["a", "b", "c"].map(|name| (name, Backend::named(name)))
}

/// The names that `count` connections, one after the other, are answered with.
fn order(lb: &Balancer, count: usize) -> String {
    let names = (0..count).map(|_| {
        let peer = Peer::connect(lb.address());
        let name = peer.line();
        peer.fin().expect_eof();
        name
    });
    names.collect()
}

/// How many of these each backend has.
fn counts<'a>(peers: impl IntoIterator<Item = &'a (Peer, String)>) -> BTreeMap<&'a str, usize> {
    let mut counts = BTreeMap::new();
    for (_, name) in peers {
        *counts.entry(name.as_str()).or_default() += 1;
    }
    counts
}

fn connect(lb: &Balancer) -> (Peer, String) {
    let peer = Peer::connect(lb.address());
    let name = peer.line();
    (peer, name)
}

fn weighted(backends: &[(&str, Backend)], weights: [u16; 3]) -> Config {
    let config = Config::new().runtime("workers = 8");
    backends
        .iter()
        .zip(weights)
        .fold(config, |config, ((name, backend), weight)| {
            config.backend(name, backend.address(), &format!("weight = {weight}"))
        })
}

#[test]
fn round_robin_goes_round_in_the_order_of_the_file() {
    let backends = named();
    let lb = Balancer::start(&weighted(&backends, [1, 1, 1]));
    assert_eq!(order(&lb, 12), "abcabcabcabc");
}

#[test]
fn round_robin_with_weights_5_1_1_keeps_the_smooth_order_over_8_workers() {
    let backends = named();
    let lb = Balancer::start(&weighted(&backends, [5, 1, 1]));
    assert_eq!(order(&lb, 28), "aabacaa".repeat(4));
}

#[test]
fn round_robin_counts_are_exact_when_16_threads_connect_at_once() {
    let backends = named();
    let lb = Balancer::start(&weighted(&backends, [5, 1, 1]));
    let peers: Vec<_> = at_once(16, |_| (0..28).map(|_| connect(&lb)).collect::<Vec<_>>())
        .into_iter()
        .flatten()
        .collect();
    assert_eq!(counts(&peers), BTreeMap::from([("a", 320), ("b", 64), ("c", 64)]));
    drop(peers);
    let closing = lb.finish();
    assert_eq!(closing.service("echo").0, 448);
    assert_eq!(closing.backend("a", " connections"), 320);
}

#[test]
fn least_connections_gives_the_next_to_whoever_has_fewest() {
    let backends = named();
    let lb = Balancer::start(&weighted(&backends, [1, 1, 1]).service("balance = \"least_connections\""));
    let mut peers: Vec<_> = (0..30).map(|_| connect(&lb)).collect();
    assert_eq!(counts(&peers), BTreeMap::from([("a", 10), ("b", 10), ("c", 10)]));
    // All of b's end; whatever comes next is b's, until it has caught up.
    peers.retain(|(peer, name)| {
        if name == "b" {
            peer.fin().expect_eof();
        }
        name != "b"
    });
    lb.wait_for_fds_more(40);
    let late: Vec<_> = (0..10).map(|_| connect(&lb)).collect();
    assert_eq!(counts(&late), BTreeMap::from([("b", 10)]));
}

#[test]
fn least_connections_is_exact_by_weight_when_16_threads_connect_at_once() {
    let backends = named();
    let lb = Balancer::start(&weighted(&backends, [2, 1, 1]).service("balance = \"least_connections\""));
    let peers: Vec<_> = at_once(16, |_| (0..20).map(|_| connect(&lb)).collect::<Vec<_>>())
        .into_iter()
        .flatten()
        .collect();
    assert_eq!(counts(&peers), BTreeMap::from([("a", 160), ("b", 80), ("c", 80)]));
}

#[test]
fn weight_0_takes_no_connection_even_if_nobody_else_is_there() {
    for balance in [
        "round_robin",
        "least_connections",
        "random_two",
        "fastest",
        "ring",
        "maglev",
    ] {
        let balance = format!("balance = \"{balance}\"");
        let backends = named();
        let lb = Balancer::start(&weighted(&backends, [1, 0, 1]).service(&balance));
        assert_eq!(order(&lb, 4).replace('c', "a"), "aaaa");
        let lb = Balancer::start(&weighted(&backends, [0, 0, 0]).service(&balance));
        expect_refusal(lb.address());
        assert_eq!(lb.finish().ended("no_backend"), 1);
    }
}

#[test]
fn a_backup_takes_connections_only_while_no_other_backend_is_up() {
    let gone = Refusing::bind();
    let spare = Backend::named("spare");
    let health = "interval = \"50ms\"\nfall = 2\nrise = 2";
    let config = Config::new()
        .health(health)
        .backend("main", gone.address(), "")
        .backend("spare", spare.address(), "backup = true");
    let lb = Balancer::start(&config);
    lb.line("main is down");
    assert_eq!(connect(&lb).1, "spare");
    let main = Backend::named_at(gone.release(), "main");
    lb.line("main is up");
    for _ in 0..6 {
        assert_eq!(connect(&lb).1, "main");
    }
    drop(main);
}

#[test]
fn fastest_leaves_a_slow_program_alone_though_its_kernel_answers_at_once() {
    let (_quick, quick) = tcp_server(&["0", "--id", "quick"]);
    let (_slow, slow) = tcp_server(&["0", "--id", "slow", "--delay", "50ms"]);
    let config = Config::new()
        .service("balance = \"fastest\"")
        .backend("quick", quick, "")
        .backend("slow", slow, "");
    let lb = Balancer::start(&config);
    for _ in 0..100 {
        Peer::connect(lb.address()).send(b"x").expect(b"x").fin().expect_eof();
    }
    let closing = lb.finish();
    let (quick, slow) = (
        closing.backend("quick", " connections"),
        closing.backend("slow", " connections"),
    );
    assert!(
        quick + slow == 100 && (1..=5).contains(&slow),
        "quick {quick}, slow {slow}"
    );
}

#[test]
fn fastest_leaves_alone_who_resets_instead_of_answering_and_who_refuses() {
    let ill = Backend::serve(|peer| {
        peer.take(1);
        peer.reset_now();
    });
    let gone = Refusing::bind();
    // Each beside a quick one only: of two that are both ill one has to be taken.
    for (address, tried) in [(ill.address(), " connections"), (gone.address(), " failed connects")] {
        let quick = Backend::serve(Peer::echo);
        let config = Config::new()
            .service("balance = \"fastest\"")
            .health("kind = \"off\"")
            .backend("bad", address, "")
            .backend("quick", quick.address(), "");
        let lb = Balancer::start(&config);
        for _ in 0..100 {
            Peer::connect(lb.address()).is_echoed(b"x");
        }
        let times = lb.finish().backend("bad", tried);
        assert!((1..=5).contains(&times), "{times} times{tried}");
    }
}

//! Which client gets which backend: hashing by its address, the sticky table, and slow start, over real sockets.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use super::common::{Backend, Balancer, Config, Peer, Refusing, eventually};

const HEALTH: &str = "interval = \"50ms\"\nfall = 2\nrise = 2";

/// 40 clients, each with an address of its own.
fn sources() -> impl Iterator<Item = Ipv4Addr> {
    (1..=40).map(|last| Ipv4Addr::new(127, 7, 7, last))
}

/// Whom each of them is served by now.
fn served(lb: &Balancer) -> BTreeMap<Ipv4Addr, String> {
    let name = |source| {
        let peer = Peer::connect_from(source, lb.address());
        let name = peer.line();
        peer.fin().expect_eof();
        (source, name)
    };
    sources().map(name).collect()
}

fn config(backends: &[(&str, &Backend)], service: &str) -> Config {
    let config = Config::new().runtime("workers = 4").service(service).health(HEALTH);
    backends.iter().fold(config, |config, (name, backend)| {
        config.backend(name, backend.address(), "")
    })
}

/// Those that changed, and whom they left.
fn moved(before: &BTreeMap<Ipv4Addr, String>, after: &BTreeMap<Ipv4Addr, String>) -> Vec<String> {
    let pairs = before.iter().zip(after);
    pairs
        .filter(|((_, before), (_, after))| before != after)
        .map(|((_, before), _)| before.clone())
        .collect()
}

#[test]
fn a_hashed_client_keeps_its_backend_and_only_those_of_a_dead_one_move_there_and_back() {
    for balance in [
        "balance = \"ring\"\nload_factor = 0",
        "balance = \"ring\"\nhash = \"quadratic\"\nload_factor = 0",
        "balance = \"maglev\"\nload_factor = 0",
    ] {
        let (a, b) = (Backend::named("a"), Backend::named("b"));
        let c = Backend::named("c");
        let lb = Balancer::start(&config(&[("a", &a), ("b", &b), ("c", &c)], balance));
        let before = served(&lb);
        assert_eq!(served(&lb), before, "{balance}: every client again where it was");
        let all: BTreeSet<&String> = before.values().collect();
        assert_eq!(all.len(), 3, "{balance}: {before:?}");
        let gone = c.stop();
        lb.line("c is down");
        let between = served(&lb);
        let left = moved(&before, &between);
        // A Maglev table moves a few of the others too; of 40 clients, at most one in 20.
        assert!(
            left.iter().filter(|name| *name != "c").count() <= 2,
            "{balance}: {left:?}"
        );
        assert!(left.iter().any(|name| name == "c"), "{balance}: {left:?}");
        let back = Backend::named_at(gone.release(), "c");
        lb.line("c is up");
        assert_eq!(served(&lb), before, "{balance}: all are back");
        drop(back);
    }
}

#[test]
fn two_balancers_that_list_the_same_backends_in_another_order_agree() {
    for balance in ["ring", "maglev"] {
        let (a, b, c) = (Backend::named("a"), Backend::named("b"), Backend::named("c"));
        let service = format!("balance = \"{balance}\"\nload_factor = 0");
        let one = Balancer::start(&config(&[("a", &a), ("b", &b), ("c", &c)], &service));
        let other = Balancer::start(&config(&[("c", &c), ("a", &a), ("b", &b)], &service));
        assert_eq!(served(&one), served(&other), "{balance}");
    }
}

#[test]
fn hash_key_says_what_a_client_is() {
    let (a, b) = (Backend::named("a"), Backend::named("b"));
    for (key, backends) in [("source_ip", 1), ("source_address", 2), ("connection", 2)] {
        let service = format!("balance = \"maglev\"\nload_factor = 0\nhash_key = \"{key}\"");
        let lb = Balancer::start(&config(&[("a", &a), ("b", &b)], &service));
        let names: BTreeSet<String> = (0..40).map(|_| Peer::connect(lb.address()).line()).collect();
        assert_eq!(names.len(), backends, "{key}: {names:?}");
    }
}

#[test]
fn load_factor_spills_what_one_client_would_pile_on_one_backend() {
    let (a, b) = (Backend::named("a"), Backend::named("b"));
    let lb = Balancer::start(&config(
        &[("a", &a), ("b", &b)],
        "balance = \"ring\"\nload_factor = 1.2",
    ));
    let peers: Vec<(Peer, String)> = (0..100)
        .map(|_| {
            let peer = Peer::connect(lb.address());
            let name = peer.line();
            (peer, name)
        })
        .collect();
    let of_a = peers.iter().filter(|(_, name)| name == "a").count();
    assert!(of_a.max(100 - of_a) == 60, "{of_a} of 100 on a");
}

#[test]
fn a_sticky_client_keeps_its_backend_until_that_is_down() {
    let (a, b, c) = (Backend::named("a"), Backend::named("b"), Backend::named("c"));
    // The last table of the service section: what follows is the health section's own header.
    let service = "balance = \"round_robin\"\nsticky = { ttl = \"10m\", size = 1000 }";
    let lb = Balancer::start(&config(&[("a", &a), ("b", &b), ("c", &c)], service));
    let before = served(&lb);
    let shares = before.values().fold(BTreeMap::new(), |mut shares, name| {
        *shares.entry(name.as_str()).or_insert(0) += 1;
        shares
    });
    assert_eq!(
        shares,
        BTreeMap::from([("a", 14), ("b", 13), ("c", 13)]),
        "new clients take turns"
    );
    assert_eq!(served(&lb), before);
    let gone = c.stop();
    lb.line("c is down");
    let between = served(&lb);
    assert_eq!(moved(&before, &between), ["c"; 13], "only those of the dead one");
    let back = Backend::named_at(gone.release(), "c");
    lb.line("c is up");
    assert_eq!(served(&lb), between, "nobody moves because somebody came back");
    drop(back);
}

#[test]
fn a_sticky_client_follows_a_connect_that_failed() {
    let gone = Refusing::bind();
    let b = Backend::named("b");
    let config = Config::new()
        .service("sticky = {}")
        .health("kind = \"off\"")
        .backend("gone", gone.address(), "")
        .backend("b", b.address(), "");
    let lb = Balancer::start(&config);
    for _ in 0..10 {
        let peer = Peer::connect(lb.address());
        assert_eq!(peer.line(), "b");
        peer.fin().expect_eof();
    }
    let closing = lb.finish();
    assert_eq!(
        closing.backend("gone", " failed connects"),
        1,
        "it was tried once, and then no more"
    );
}

#[test]
fn a_backend_in_slow_start_gets_little_at_first_and_its_share_in_the_end() {
    let (a, b) = (Backend::named("a"), Refusing::bind());
    let health = format!("{HEALTH}\nslow_start = \"2s\"");
    let config = Config::new()
        .health(&health)
        .backend("a", a.address(), "")
        .backend("b", b.address(), "");
    let lb = Balancer::start(&config);
    lb.line("b is down");
    let late = Backend::named_at(b.release(), "b");
    lb.line("b is up");
    let names = |count: usize| -> Vec<String> { (0..count).map(|_| Peer::connect(lb.address()).line()).collect() };
    let of_b = |names: &[String]| names.iter().filter(|name| *name == "b").count();
    // A tenth at first; a loaded machine may be at three tenths before we have asked.
    let first = of_b(&names(40));
    assert!(first <= 14, "{first} of 40 at first");
    eventually("its full share", || (of_b(&names(20)) == 10).then_some(()));
    drop(late);
}

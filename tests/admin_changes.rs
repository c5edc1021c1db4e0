//! What follows from a change by the API: ramps, checks, events and sums.

use serde_json::{Value, json};

use super::common::{Backend, Balancer, Config, Http, Peer, Refusing, eventually, greeted_by};

const ADMIN: &str = "listen = \"127.0.0.1:0\"";
const BACKENDS: &str = "/api/v1/services/echo/backends";

fn start(config: Config) -> (Balancer, Http) {
    let lb = Balancer::start(&config.admin(ADMIN));
    let admin = lb.admin();
    (lb, admin)
}

fn of(name: &str) -> String {
    format!("{BACKENDS}/{name}")
}

fn backend_events(admin: &Http) -> impl Iterator<Item = Value> + use<> {
    admin
        .events()
        .filter(|(name, _)| name == "backend")
        .map(|(_, event)| event)
}

fn add(admin: &Http, name: &str, address: std::net::SocketAddr) -> Value {
    let added = admin.send("POST", BACKENDS, &json!({"name": name, "address": address.to_string()}));
    assert_eq!(added.status, 201, "{}", added.text());
    added.json()
}

#[test]
fn who_is_added_or_comes_back_from_maintenance_begins_with_a_tenth_in_slow_start() {
    let (a, b) = (Backend::named("a"), Backend::named("b"));
    let config = Config::with_backends(&[("a", a.address())]).health("kind = \"off\"\nslow_start = \"1h\"");
    let (lb, admin) = start(config);
    assert_eq!(add(&admin, "b", b.address())["state"], json!("starting"));
    let to_b = |lb: &Balancer| (0..22).filter(|_| greeted_by(lb.address()) == "b").count();
    assert_eq!(to_b(&lb), 2, "a tenth beside ten tenths");
    admin.send("PATCH", &of("a"), &json!({"state": "maintenance"}));
    admin.send("PATCH", &of("a"), &json!({"state": "active"}));
    assert_eq!(to_b(&lb), 11, "both have a tenth now");
    lb.finish();
}

#[test]
fn who_comes_back_from_maintenance_is_looked_at_anew() {
    let (a, gone) = (Backend::named("a"), Refusing::bind());
    let health = "kind = \"tcp\"\ninterval = \"50ms\"\nrise = 2\nfall = 2";
    let (lb, admin) = start(Config::with_backends(&[("a", a.address()), ("b", gone.address())]).health(health));
    let state = || admin.json(&of("b"))["state"].clone();
    eventually("it is found down", || (state() == json!("down")).then_some(()));
    admin.send("PATCH", &of("b"), &json!({"state": "maintenance"}));
    let resumed = admin.send("PATCH", &of("b"), &json!({"state": "active"})).json();
    assert_eq!(resumed["state"], json!("starting"), "it is trusted, and not known");
    let _back = Backend::named_at(gone.release(), "b");
    eventually("it is found up", || (state() == json!("up")).then_some(()));
    assert!((0..2).any(|_| greeted_by(lb.address()) == "b"));
    lb.finish();
}

#[test]
fn a_removal_is_told_when_it_begins_and_when_it_is_over() {
    let (a, b) = (Backend::named("a"), Backend::named("b"));
    let (lb, admin) = start(Config::with_backends(&[("a", a.address()), ("b", b.address())]));
    let mut events = backend_events(&admin);
    let old: Vec<Peer> = (0..2).map(|_| Peer::connect(lb.address())).collect();
    old.iter().for_each(|client| drop(client.line()));
    assert_eq!(admin.delete(&of("b")).status, 202);
    let draining = events.next().unwrap();
    assert_eq!(
        (&draining["backend"], &draining["state"]),
        (&json!("b"), &json!("draining")),
        "{draining}"
    );
    for client in &old {
        client.fin().expect_eof();
    }
    let gone = events.next().unwrap();
    assert_eq!(
        (&gone["backend"], &gone["state"]),
        (&json!("b"), &Value::Null),
        "{gone}"
    );
    assert_eq!(admin.get(&of("b")).status, 404);
    drop(events);
    lb.finish();
}

#[test]
fn the_first_good_check_of_a_new_backend_is_told() {
    let (a, b) = (Backend::named("a"), Backend::named("b"));
    let health = "kind = \"tcp\"\ninterval = \"50ms\"\nrise = 2\nfall = 2";
    let (lb, admin) = start(Config::with_backends(&[("a", a.address())]).health(health));
    eventually("a is known", || {
        (admin.json(&of("a"))["state"] == json!("up")).then_some(())
    });
    let mut events = backend_events(&admin).filter(|event| event["backend"] == json!("b"));
    add(&admin, "b", b.address());
    let known = events.find(|event| event["reason"].as_str().unwrap().contains(" answers"));
    assert_eq!(known.unwrap()["state"], json!("up"));
    drop(events);
    lb.finish();
}

/// The sum of a metric's samples whose labels hold `label`.
fn sum(admin: &Http, metric: &str, label: &str) -> u64 {
    let text = admin.get("/metrics").text();
    let lines = text
        .lines()
        .filter(|line| line.starts_with(&format!("{metric}{{")) && line.contains(label));
    lines
        .map(|line| line.rsplit_once(' ').unwrap().1.parse::<u64>().unwrap())
        .sum()
}

#[test]
fn the_sums_of_a_service_never_fall_when_backends_go_and_names_come_back() {
    let a = Backend::named("a");
    let (lb, admin) = start(Config::with_backends(&[("a", a.address())]));
    let mut served = 0;
    let counted = |served: u64| {
        eventually("all ends are counted, whoever is gone", || {
            (sum(&admin, "lb_connections_total", "service=\"echo\"") == served).then_some(())
        });
    };
    let mut bytes = 0;
    for _ in 0..5 {
        add(&admin, "b", a.address());
        (0..4).for_each(|_| assert_eq!(greeted_by(lb.address()), "a"));
        let clients: Vec<Peer> = (0..2).map(|_| Peer::connect(lb.address())).collect();
        clients.iter().for_each(|client| drop(client.line()));
        served += 6;
        assert_eq!(admin.delete(&of("b")).status, 202);
        // Its name is another's while it drains: both count.
        add(&admin, "b", a.address());
        for client in &clients {
            client.fin().expect_eof();
        }
        counted(served);
        (0..2).for_each(|_| assert_eq!(greeted_by(lb.address()), "a"));
        served += 2;
        assert!(matches!(admin.delete(&of("b")).status, 200 | 202));
        counted(served);
        let now = admin.json("/api/v1/services/echo")["bytes"]["to_client"]
            .as_u64()
            .unwrap();
        assert!(now >= bytes, "{now} after {bytes}");
        bytes = now;
    }
    assert_eq!(lb.finish().service("echo").0, served);
}

//! The admin API: what it tells is true, and what it changes is changed at once, under load and without losing a connection.

use std::io::{BufRead, BufReader, Write};
use std::time::Duration;

use serde_json::{Value, json};

use super::common::{
    Backend, Balancer, Config, Http, Peer, Refusing, Signal, at_once, eventually, greeted_by, is_full_run, tcp_server,
};

const ADMIN: &str = "listen = \"127.0.0.1:0\"";
const BACKENDS: &str = "/api/v1/services/echo/backends";

fn start(backends: &[(&str, std::net::SocketAddr)]) -> (Balancer, Http) {
    start_with(Config::with_backends(backends))
}

fn start_with(config: Config) -> (Balancer, Http) {
    let lb = Balancer::start(&config.admin(ADMIN));
    let admin = lb.admin();
    (lb, admin)
}

fn of(name: &str) -> String {
    format!("{BACKENDS}/{name}")
}

#[test]
fn an_added_backend_gets_the_very_next_connections_and_its_share() {
    let (a, b) = (Backend::named("a"), Backend::named("b"));
    let (lb, admin) = start(&[("a", a.address())]);
    assert_eq!(greeted_by(lb.address()), "a");
    let new = json!({"name": "b", "address": b.address().to_string(), "weight": 1});
    let added = admin.send("POST", BACKENDS, &new);
    assert_eq!(added.status, 201, "{}", added.text());
    assert_eq!(
        (&added.json()["name"], &added.json()["origin"]),
        (&json!("b"), &json!("api"))
    );
    let mut names: Vec<String> = (0..4).map(|_| greeted_by(lb.address())).collect();
    names.sort();
    assert_eq!(names, ["a", "a", "b", "b"]);
    let told = admin.json(&of("b"));
    assert_eq!(
        (&told["connections"]["total"], &told["state"]),
        (&json!(2), &json!("up"))
    );
    lb.finish();
}

#[test]
fn weight_and_state_are_changed_while_sessions_live() {
    let (a, b) = (Backend::named("a"), Backend::named("b"));
    let (lb, admin) = start(&[("a", a.address()), ("b", b.address())]);
    let old: Vec<Peer> = (0..2).map(|_| Peer::connect(lb.address())).collect();
    let mut names: Vec<String> = old.iter().map(Peer::line).collect();
    names.sort();
    assert_eq!(names, ["a", "b"]);
    for (change, state) in [
        (json!({"state": "draining"}), "draining"),
        (json!({"state": "maintenance"}), "maintenance"),
        (json!({"state": "active", "weight": 0}), "up"),
    ] {
        let changed = admin.send("PATCH", &of("b"), &change);
        assert_eq!(
            (changed.status, &changed.json()["state"]),
            (200, &json!(state)),
            "{change}"
        );
        assert!((0..4).all(|_| greeted_by(lb.address()) == "a"), "{change}");
    }
    let changed = admin.send("PATCH", &of("b"), &json!({"weight": 3}));
    assert_eq!(changed.json()["weight"], json!(3));
    let to_b = (0..8).filter(|_| greeted_by(lb.address()) == "b").count();
    assert_eq!(to_b, 6, "three quarters");
    for client in old {
        client.send(b"still here").expect(b"still here").fin().expect_eof();
    }
    lb.finish();
}

#[test]
fn a_removed_backend_keeps_its_sessions_until_they_end_and_its_name_is_free_at_once() {
    let (a, b) = (Backend::named("a"), Backend::named("b"));
    let (lb, admin) = start(&[("a", a.address()), ("b", b.address())]);
    let old: Vec<Peer> = (0..2).map(|_| Peer::connect(lb.address())).collect();
    old.iter().for_each(|client| drop(client.line()));
    let removed = admin.delete(&of("b"));
    assert_eq!(
        (removed.status, &removed.json()["state"]),
        (202, &json!("draining")),
        "{}",
        removed.text()
    );
    assert!((0..4).all(|_| greeted_by(lb.address()) == "a"));
    assert_eq!(
        admin.json(BACKENDS).as_array().unwrap().len(),
        2,
        "it is shown while it drains"
    );
    // The name comes back for another backend while the old one still drains.
    let c = Backend::named("c");
    let added = admin.send(
        "POST",
        BACKENDS,
        &json!({"name": "b", "address": c.address().to_string()}),
    );
    assert_eq!(added.status, 201, "{}", added.text());
    let listed = admin.json(BACKENDS);
    assert_eq!(listed.as_array().unwrap().len(), 2, "the new one is shown in its place");
    assert_eq!(listed[1]["address"], json!(c.address().to_string()));
    let mut names: Vec<String> = (0..2).map(|_| greeted_by(lb.address())).collect();
    names.sort();
    assert_eq!(names, ["a", "c"]);
    for client in old {
        client.send(b"to the end").expect(b"to the end").fin().expect_eof();
    }
    let bytes = admin.json("/api/v1/services/echo")["bytes"].clone();
    eventually("the old one's figures stay in the sums of the service", || {
        let service = admin.json("/api/v1/services/echo");
        let is_gone =
            service["backends"].as_array().unwrap().len() == 2 && service["connections"]["active"] == json!(0);
        (is_gone && service["bytes"]["to_backend"].as_u64() >= bytes["to_backend"].as_u64()).then_some(())
    });
    assert_eq!(
        admin.delete(&of("a")).status,
        200,
        "without a session it is gone at once"
    );
    assert_eq!(admin.get(&of("a")).status, 404);
    let closing = lb.finish();
    assert_eq!(closing.ended("backend_removed"), 0);
}

#[test]
fn sessions_of_a_removed_backend_end_at_the_deadline_and_say_why() {
    let a = Backend::named("a");
    let (lb, admin) = start(&[("a", a.address())]);
    let client = Peer::connect(lb.address());
    assert_eq!(client.line(), "a");
    let removed = admin.delete(&format!("{}?drain=50ms", of("a")));
    assert_eq!(removed.status, 202, "{}", removed.text());
    client.expect_reset();
    assert_eq!(admin.get("/healthcheck").status, 503, "no backend is left");
    let closing = lb.finish();
    assert_eq!(closing.ended("backend_removed"), 1);
}

#[test]
fn what_can_not_be_done_is_refused_with_its_reason_and_changes_nothing() {
    let a = Backend::named("a");
    let (lb, admin) = start(&[("a", a.address())]);
    let own = lb.address().to_string();
    let before = admin.json(BACKENDS);
    let long = "x".repeat(65);
    let add = |name: &str, address: &str| json!({"name": name, "address": address});
    for (method, path, body, status, code) in [
        ("POST", BACKENDS, add("a", "127.0.0.1:1"), 409, "name_taken"),
        ("POST", BACKENDS, add("<b>", "127.0.0.1:1"), 422, "bad_value"),
        ("POST", BACKENDS, add(&long, "127.0.0.1:1"), 422, "bad_value"),
        ("POST", BACKENDS, add("x", "db.example:5432"), 422, "bad_value"),
        ("POST", BACKENDS, add("x", &own), 422, "bad_value"),
        (
            "POST",
            BACKENDS,
            add("x", &own.replace("127.0.0.1", "[::ffff:127.0.0.1]")),
            422,
            "bad_value",
        ),
        ("POST", BACKENDS, add("..", "127.0.0.1:1"), 422, "bad_value"),
        (
            "POST",
            BACKENDS,
            add("x", &admin.address().to_string()),
            422,
            "bad_value",
        ),
        (
            "POST",
            BACKENDS,
            json!({"name": "x", "address": "127.0.0.1:1", "weight": 257}),
            422,
            "bad_value",
        ),
        (
            "POST",
            BACKENDS,
            json!({"name": "x", "address": "127.0.0.1:1", "wieght": 1}),
            422,
            "bad_json",
        ),
        ("POST", BACKENDS, json!({"name": "x"}), 422, "bad_json"),
        ("POST", BACKENDS, json!([]), 422, "bad_json"),
        ("POST", BACKENDS, json!(["x", "127.0.0.1:1"]), 422, "bad_json"),
        ("PATCH", &of("a"), json!([null, null]), 422, "bad_json"),
        ("PATCH", &of("a"), json!(null), 422, "bad_json"),
        (
            "POST",
            "/api/v1/services/web/backends",
            add("x", "127.0.0.1:1"),
            404,
            "unknown_service",
        ),
        ("PATCH", &of("b"), json!({"weight": 1}), 404, "unknown_backend"),
        ("PATCH", &of("a"), json!({"weight": -1}), 422, "bad_json"),
        ("PATCH", &of("a"), json!({"state": "up"}), 422, "bad_json"),
    ] {
        let answer = admin.send(method, path, &body);
        assert_eq!(
            (answer.status, answer.code().as_str()),
            (status, code),
            "{method} {path} {body}: {}",
            answer.text()
        );
    }
    for (path, status, code) in [
        (of("b"), 404, "unknown_backend"),
        (format!("{}?drain=soon", of("a")), 400, "bad_parameter"),
        (format!("{}?drian=1s", of("a")), 400, "bad_parameter"),
        (format!("{}?drain=9999m", of("a")), 400, "bad_parameter"),
        (format!("{}?drain=1h+30m", of("a")), 400, "bad_parameter"),
        ("/api/v1/connections/0-0-0".to_owned(), 404, "unknown_connection"),
        ("/api/v1/connections/nonsense".to_owned(), 404, "unknown_connection"),
        ("/api/v1/status".to_owned(), 405, "method_not_allowed"),
    ] {
        let answer = admin.delete(&path);
        assert_eq!(
            (answer.status, answer.code().as_str()),
            (status, code),
            "DELETE {path}: {}",
            answer.text()
        );
    }
    let not_json = admin.ask("POST", BACKENDS, &[("Content-Type", "text/plain")], "{}");
    assert_eq!((not_json.status, not_json.code().as_str()), (415, "not_json"));
    let broken = admin.ask("POST", BACKENDS, &[("Content-Type", "application/json")], "{\"name\":");
    assert_eq!((broken.status, broken.code().as_str()), (400, "bad_json"));
    let large = format!("{{\"name\":\"{}\"}}", "x".repeat(70_000));
    let large = admin.ask("POST", BACKENDS, &[("Content-Type", "application/json")], &large);
    assert_eq!((large.status, large.code().as_str()), (413, "too_large"));
    assert_eq!(admin.get("/api/v1/connections?limit=0").code(), "bad_parameter");
    assert_eq!(admin.get("/api/v1/connections?service=web").code(), "unknown_service");
    let nobodys = |query: &str| admin.get(&format!("/api/v1/connections?{query}"));
    assert_eq!(nobodys("service=echo&backend=nosuch").code(), "unknown_backend");
    assert_eq!(nobodys("backend=nosuch").json()["connections"], json!([]), "a filter");
    assert_eq!(admin.get("/api/v1/history?service=web").code(), "unknown_service");
    assert_eq!(admin.get("/nothing/here").code(), "unknown_path");
    assert_eq!(admin.json(BACKENDS), before);
    lb.finish();
}

#[test]
fn a_policy_whose_table_is_full_takes_no_more() {
    let a = Backend::named("a");
    let ring = "balance = \"ring\"\nhash = \"quadratic\"\nslots = 12\nvirtual_nodes = 9";
    let (lb, admin) = start_with(Config::new().service(ring).backend("a", a.address(), ""));
    let refused = admin.send("POST", BACKENDS, &json!({"name": "b", "address": "127.0.0.1:1"}));
    assert_eq!((refused.status, refused.code().as_str()), (422, "limit"));
    assert!(
        refused.text().contains("slots = 12 doesn't fit, wanted at least 18"),
        "{}",
        refused.text()
    );
    lb.finish();
}

#[test]
fn live_connections_are_told_and_ended_one_by_one() {
    let (a, b) = (Backend::named("a"), Backend::named("b"));
    let (lb, admin) = start(&[("a", a.address()), ("b", b.address())]);
    let clients: Vec<Peer> = (0..4).map(|_| Peer::connect(lb.address())).collect();
    clients.iter().for_each(|client| drop(client.line()));
    clients[0].send(b"12345").expect(b"12345");
    let all = admin.json("/api/v1/connections");
    assert_eq!(
        (all["connections"].as_array().unwrap().len(), &all["is_truncated"]),
        (4, &json!(false))
    );
    let mine = clients[0].local().to_string();
    let found = all["connections"]
        .as_array()
        .unwrap()
        .iter()
        .find(|connection| connection["client"] == json!(mine));
    let found = found.unwrap();
    assert_eq!(
        (&found["service"], &found["phase"], &found["bytes_to_backend"]),
        (&json!("echo"), &json!("relaying"), &json!(5))
    );
    let on_a = admin.json("/api/v1/connections?service=echo&backend=a");
    assert_eq!(on_a["connections"].as_array().unwrap().len(), 2);
    assert_eq!(admin.json("/api/v1/connections?limit=1")["is_truncated"], json!(true));
    let path = format!("/api/v1/connections/{}", found["id"].as_str().unwrap());
    let ended = admin.delete(&path);
    assert_eq!((ended.status, &ended.json()["end"]), (200, &json!("ended_by_operator")));
    clients[0].expect_reset();
    assert_eq!(admin.delete(&path).status, 404, "its id is nobody's from now on");
    for client in &clients[1..] {
        client.send(b"on").expect(b"on").fin().expect_eof();
    }
    let closing = lb.finish();
    assert_eq!(closing.ended("ended_by_operator"), 1);
}

#[test]
fn changes_of_state_and_samples_are_told_as_they_come() {
    let mut gone = Some(Backend::named("a"));
    let b = Backend::named("b");
    let health = "kind = \"tcp\"\ninterval = \"50ms\"\nrise = 2\nfall = 2";
    let config = Config::with_backends(&[("a", gone.as_ref().unwrap().address()), ("b", b.address())]).health(health);
    let (lb, admin) = start_with(config);
    let mut events = admin.events();
    let mut becomes = |backend: &str, state: &str| {
        let is_it = |(name, event): &(String, Value)| {
            name == "backend" && event["backend"] == json!(backend) && event["state"] == json!(state)
        };
        events.find(is_it).unwrap().1
    };
    let refusing = gone.take().unwrap().stop();
    let down = becomes("a", "down");
    assert_eq!((&down["backend"], &down["state"]), (&json!("a"), &json!("down")));
    assert!(
        down["reason"].as_str().unwrap().contains("connection refused"),
        "{down}"
    );
    let told = admin.json(&of("a"));
    assert_eq!(
        (&told["state"], &told["health"]["status"]),
        (&json!("down"), &json!("down"))
    );
    assert!(
        told["health"]["last_error"]
            .as_str()
            .unwrap()
            .contains("connection refused"),
        "{told}"
    );
    let _back = Backend::named_at(refusing.release(), "a");
    let up = becomes("a", "up");
    assert_eq!((&up["backend"], &up["state"]), (&json!("a"), &json!("up")));
    admin.send("PATCH", &of("b"), &json!({"state": "draining"}));
    let draining = becomes("b", "draining");
    assert_eq!(
        (&draining["backend"], &draining["state"]),
        (&json!("b"), &json!("draining"))
    );
    let (_, sample) = events.find(|(name, _)| name == "sample").unwrap();
    assert_eq!(sample["services"][0]["backends"][1]["state"], json!("draining"));
    drop(events);
    let history = admin.json("/api/v1/history?service=echo&minutes=1");
    let ups = history["services"]["echo"]["backends"]["b"]["up"].as_array().unwrap();
    assert_eq!(ups.last(), Some(&json!(false)), "{history}");
    lb.finish();
}

#[test]
fn it_is_healthy_while_it_takes_connections_and_somebody_is_up() {
    let a = Backend::named("a");
    let (mut lb, admin) = start(&[("a", a.address())]);
    assert_eq!(
        (admin.get("/healthcheck").status, admin.get("/healthcheck").text()),
        (200, "{\"status\":\"ok\"}".to_owned())
    );
    admin.send("PATCH", &of("a"), &json!({"state": "maintenance"}));
    let check = admin.get("/healthcheck");
    assert_eq!(
        (check.status, check.json()),
        (503, json!({"status": "no_backend_up", "services": ["echo"]}))
    );
    admin.send("PATCH", &of("a"), &json!({"state": "active"}));
    let client = Peer::connect(lb.address());
    assert_eq!(client.line(), "a");
    lb.signal(Signal::TERM);
    lb.wait_for_lines(1, "stopping: no new connections");
    let check = admin.get("/healthcheck");
    assert_eq!((check.status, &check.json()["status"]), (503, &json!("draining")));
    assert_eq!(admin.json("/api/v1/status")["state"], json!("draining"));
    assert_eq!(admin.delete(&of("a")).code(), "stopping");
    client.fin().expect_eof();
    assert_eq!(lb.program_mut().exit_code(), Some(0));
    lb.finish_stopped();
}

#[test]
fn the_figures_of_a_backends_process_are_shown_and_gone_with_it() {
    let (mut server, address) = tcp_server(&["0", "--http", "0"]);
    let http = server.line(" http on ").rsplit_once(' ').unwrap().1.to_owned();
    let metrics = format!("metrics = \"http://{http}/metrics\"");
    let health = "kind = \"tcp\"\ninterval = \"50ms\"\nrise = 2\nfall = 2";
    let (lb, admin) = start_with(Config::new().health(health).backend("a", address, &metrics));
    let process = eventually("a process with CPU", || {
        let process = admin.json(&of("a"))["process"].clone();
        process["cpu_percent"].is_number().then_some(process)
    });
    assert!(process["memory_bytes"].as_u64().unwrap() > 100_000, "{process}");
    assert!(process["uptime_seconds"].is_number(), "{process}");
    let changed = admin.send("PATCH", &of("a"), &json!({"weight": 2})).json();
    assert!(changed["process"]["memory_bytes"].is_number(), "{changed}");
    let flat = admin.json("/stats");
    assert!(flat[0]["ram"].is_number() && flat[0]["up"] == json!(true), "{flat}");
    server.kill();
    eventually("nobody answers for it any more", || {
        admin.json(&of("a"))["process"].is_null().then_some(())
    });
    lb.finish();
}

#[test]
fn many_backends_come_and_go_under_load_and_the_counts_are_exact() {
    let rounds = if is_full_run("10,000 backends added and removed") {
        10_000
    } else {
        300
    };
    let a = Backend::named("a");
    let (lb, admin) = start(&[("a", a.address())]);
    let refusing = Refusing::bind();
    let memory = |lb: &Balancer| lb.process().resident_kib() * 1024;
    let cycle = |number: usize| {
        let name = format!("b{}", number % 7);
        // Some reach nobody: the next one is tried, and no client notices.
        let address = if number.is_multiple_of(3) {
            refusing.address()
        } else {
            a.address()
        };
        let new = json!({"name": name, "address": address.to_string(), "weight": number % 4});
        assert_eq!(admin.send("POST", BACKENDS, &new).status, 201);
        let removed = admin.delete(&format!("{}?drain=10s", of(&name)));
        assert!(matches!(removed.status, 200 | 202), "{}", removed.text());
    };
    (0..rounds / 2).for_each(cycle);
    let half = memory(&lb);
    let served = at_once(3, |thread| {
        if thread == 0 {
            (rounds / 2..rounds).for_each(cycle);
            return 0;
        }
        (0..rounds).map(|_| assert_eq!(greeted_by(lb.address()), "a")).count()
    });
    let served: usize = served.iter().sum();
    eventually("only the first is left", || {
        let service = admin.json("/api/v1/services/echo");
        (service["backends"].as_array().unwrap().len() == 1).then_some(())
    });
    let told = admin.json("/api/v1/services/echo")["connections"].clone();
    assert_eq!((&told["total"], &told["failed"]), (&json!(served), &json!(0)), "{told}");
    let grown = memory(&lb).saturating_sub(half);
    assert!(grown < 8 << 20, "{grown} bytes more after as many again");
    lb.finish();
}

#[test]
fn the_socket_is_a_file_for_its_owner_alone_and_is_gone_afterwards() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("admin.sock");
    let a = Backend::named("a");
    let config = Config::with_backends(&[("a", a.address())]).admin(&format!("listen = \"unix:{}\"", path.display()));
    let lb = Balancer::start(&config);
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let mut stream = std::os::unix::net::UnixStream::connect(&path).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream
        .write_all(b"GET /healthcheck HTTP/1.0\r\nHost: lb\r\n\r\n")
        .unwrap();
    let lines: Vec<String> = BufReader::new(stream).lines().map(Result::unwrap).collect();
    assert!(
        lines[0].contains("200") && lines.last().unwrap() == "{\"status\":\"ok\"}",
        "{lines:?}"
    );
    lb.finish();
    assert!(!path.exists());
}

//! Another configuration while everything runs: only what changed changes, and nobody notices who isn't concerned.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use serde_json::{Value, json};

use super::common::{
    Backend, Balancer, Config, Http, Peer, Signal, at_once, eventually, exchanges_until, expect_refusal, greeted_by,
    is_full_run, lb_command,
};

const ADMIN: &str = "listen = \"127.0.0.1:0\"";
const BACKENDS: &str = "/api/v1/services/echo/backends";

fn start(config: Config) -> (Balancer, Http, Config) {
    let config = config.admin(ADMIN);
    let lb = Balancer::start(&config);
    let admin = lb.admin();
    (lb, admin, config)
}

fn names(address: SocketAddr, count: usize) -> Vec<String> {
    let mut names: Vec<String> = (0..count).map(|_| greeted_by(address)).collect();
    names.sort();
    names
}

/// An address that is free now.
fn free() -> String {
    let probe = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    probe.local_addr().unwrap().to_string()
}

#[test]
fn the_same_file_again_changes_nothing() {
    let a = Backend::named("a");
    let (lb, admin, config) = start(Config::with_backends(&[("a", a.address())]));
    let client = Peer::connect(lb.address());
    assert_eq!(client.line(), "a");
    assert!(lb.reload(&admin, &config).is_empty());
    client.send(b"on").expect(b"on").fin().expect_eof();
    assert_eq!(greeted_by(lb.address()), "a");
    lb.finish();
}

#[test]
fn backends_come_and_go_and_sessions_on_those_that_stay_or_go_live() {
    let (a, b, c) = (Backend::named("a"), Backend::named("b"), Backend::named("c"));
    let (lb, admin, _) = start(Config::with_backends(&[("a", a.address()), ("b", b.address())]));
    let old: Vec<Peer> = (0..2).map(|_| Peer::connect(lb.address())).collect();
    old.iter().for_each(|client| drop(client.line()));
    let after = Config::new()
        .admin(ADMIN)
        .backend("a", a.address(), "weight = 3")
        .backend("c", c.address(), "");
    let changes = lb.reload(&admin, &after);
    let (b, c) = (b.address(), c.address());
    assert_eq!(
        changes,
        [
            "echo: backend a: weight 3 instead of 1".to_owned(),
            format!("echo: backend b removed, {b}"),
            format!("echo: backend c added, {c}"),
        ]
    );
    assert_eq!(names(lb.address(), 4), ["a", "a", "a", "c"]);
    for client in old {
        client.send(b"to the end").expect(b"to the end").fin().expect_eof();
    }
    eventually("b is gone", || {
        (admin.json(BACKENDS).as_array().unwrap().len() == 2).then_some(())
    });
    lb.finish();
}

#[test]
fn sessions_on_a_removed_backend_are_ended_when_their_time_is_over() {
    let (a, b) = (Backend::named("a"), Backend::named("b"));
    let runtime = "workers = 2\ndrain_timeout = \"50ms\"";
    let (lb, admin, _) = start(Config::with_backends(&[("a", a.address())]).runtime(runtime));
    let client = Peer::connect(lb.address());
    assert_eq!(client.line(), "a");
    lb.reload(
        &admin,
        &Config::with_backends(&[("b", b.address())])
            .admin(ADMIN)
            .runtime(runtime),
    );
    client.expect_reset();
    assert_eq!(greeted_by(lb.address()), "b");
    assert_eq!(lb.finish().ended("backend_removed"), 1);
}

#[test]
fn listeners_and_services_open_close_and_stay() {
    let (a, b) = (Backend::named("a"), Backend::named("b"));
    let (first, second, third) = (free(), free(), free());
    let base = || Config::new().admin(ADMIN);
    let one = base()
        .listen(&format!("[\"{first}\", \"{second}\"]"))
        .backend("a", a.address(), "");
    let (lb, admin, _) = start(one);
    let [first, second, third]: [SocketAddr; 3] = [first, second, third].map(|text| text.parse().unwrap());
    let old = Peer::connect(second);
    assert_eq!(old.line(), "a");
    // The second listener closes, and a service comes on a third.
    let two = base().listen(&format!("\"{first}\"")).backend("a", a.address(), "");
    let two = two
        .and_service("other")
        .listen(&format!("\"{third}\""))
        .backend("b", b.address(), "");
    let changes = lb.reload(&admin, &two);
    assert!(
        changes.contains(&format!("echo: listener {second} closed")),
        "{changes:?}"
    );
    assert!(
        changes.contains(&format!("other: listener {third} opened")),
        "{changes:?}"
    );
    assert!(
        changes.contains(&"service other added, backends: 1".to_owned()),
        "{changes:?}"
    );
    assert_eq!((greeted_by(first), greeted_by(third)), ("a".to_owned(), "b".to_owned()));
    eventually("nobody listens there any more", || {
        std::net::TcpStream::connect(second).is_err().then_some(())
    });
    old.send(b"accepted there").expect(b"accepted there");
    // Back to one service: the other's session lives on.
    let of_other = Peer::connect(third);
    assert_eq!(of_other.line(), "b");
    let three = base().listen(&format!("\"{first}\"")).backend("a", a.address(), "");
    let changes = lb.reload(&admin, &three);
    assert!(changes.contains(&"service other removed".to_owned()), "{changes:?}");
    eventually("nobody listens there any more", || {
        std::net::TcpStream::connect(third).is_err().then_some(())
    });
    of_other.send(b"still").expect(b"still").fin().expect_eof();
    old.fin().expect_eof();
    assert_eq!(admin.json("/api/v1/services").as_array().unwrap().len(), 1);
    lb.finish();
}

#[test]
fn whatever_is_wrong_is_told_and_the_old_configuration_stays() {
    let (a, b) = (Backend::named("a"), Backend::named("b"));
    let (lb, admin, _) = start(Config::with_backends(&[("a", a.address())]));
    let before = admin.json("/api/v1/services");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap();
    let fresh = free();
    let base = || Config::with_backends(&[("b", b.address())]).admin(ADMIN);
    for (config, word) in [
        (base().service("balnce = \"ring\""), "did you mean \"balance\"?"),
        (
            base().listen(&format!("[\"{fresh}\", \"{taken}\"]")),
            "the port is taken",
        ),
        (
            base().log("access = \"/nonexistent/access.log\""),
            "log.access: can't write",
        ),
        (
            base().runtime("workers = 2\nmax_connections = 4000000"),
            "file-descriptor limit",
        ),
    ] {
        lb.write(&config);
        let answer = admin.ask("POST", "/api/v1/reload", &[], "");
        assert_eq!((answer.status, answer.code().as_str()), (422, "bad_config"), "{word}");
        assert!(
            answer.text().replace("\\\"", "\"").contains(word),
            "{word}: {}",
            answer.text()
        );
        assert_eq!(greeted_by(lb.address()), "a");
    }
    let now = admin.json("/api/v1/services");
    assert_eq!(
        (&now[0]["backends"][0]["name"], &now[0]["listen"]),
        (&json!("a"), &before[0]["listen"])
    );
    assert!(
        std::net::TcpStream::connect(&fresh).is_err(),
        "what was opened is closed again"
    );
    lb.finish();
}

#[test]
fn what_came_by_the_api_stays_and_the_difference_is_shown() {
    let (a, b, c) = (Backend::named("a"), Backend::named("b"), Backend::named("c"));
    let (lb, admin, config) = start(Config::with_backends(&[("a", a.address()), ("b", b.address())]));
    admin.send(
        "POST",
        BACKENDS,
        &json!({"name": "c", "address": c.address().to_string()}),
    );
    admin.send("PATCH", &format!("{BACKENDS}/a"), &json!({"weight": 2}));
    admin.delete(&format!("{BACKENDS}/b"));
    let differences = |admin: &Http| admin.json("/api/v1/services/echo")["differences"].clone();
    let wanted = json!([
        "a has weight 2, the file says 1",
        "b was removed, the file has it",
        "c was added, the file doesn't have it"
    ]);
    assert_eq!(differences(&admin), wanted);
    assert!(lb.reload(&admin, &config).is_empty());
    assert_eq!(differences(&admin), wanted);
    assert_eq!(names(lb.address(), 3), ["a", "a", "c"]);
    // The file says something new of each.
    let after = Config::new()
        .admin(ADMIN)
        .backend("a", a.address(), "weight = 4")
        .backend("b", b.address(), "weight = 1\nmax_connections = 9")
        .backend("c", c.address(), "");
    lb.reload(&admin, &after);
    assert_eq!(differences(&admin), Value::Null);
    assert_eq!(names(lb.address(), 6), ["a", "a", "a", "a", "b", "c"]);
    lb.finish();
}

#[test]
fn policy_timeouts_and_limits_are_those_of_the_new_file_for_new_connections() {
    let a = Backend::named("a");
    let (lb, admin, config) = start(Config::with_backends(&[("a", a.address())]));
    let old = Peer::connect(lb.address());
    assert_eq!(old.line(), "a");
    let after = config.service("balance = \"maglev\"\nidle_timeout = \"100ms\"\nmax_connections = 2");
    let changes = lb.reload(&admin, &after);
    assert_eq!(
        changes,
        [
            "echo: balance = \"maglev\" instead of \"round_robin\"",
            "echo: max_connections",
            "echo: idle_timeout",
        ]
    );
    let new = Peer::connect(lb.address());
    assert_eq!(new.line(), "a");
    expect_refusal(lb.address());
    new.expect_reset_after_fin();
    old.send(b"the old one has its five minutes")
        .expect(b"the old one has its five minutes");
    old.fin().expect_eof();
    let closing = lb.finish();
    assert_eq!((closing.ended("idle_timeout"), closing.ended("refused")), (1, 1));
}

#[test]
fn checks_begin_change_and_end() {
    let a = Backend::named("a");
    let refusing = super::common::Refusing::bind();
    let backends = [("a", a.address()), ("gone", refusing.address())];
    let (lb, admin, config) = start(Config::with_backends(&backends));
    let state = |admin: &Http| admin.json(&format!("{BACKENDS}/gone"))["state"].clone();
    assert_eq!(state(&admin), json!("up"), "nobody looks");
    let health = "kind = \"tcp\"\ninterval = \"50ms\"\nrise = 2\nfall = 2";
    lb.reload(&admin, &config.clone().health(health));
    eventually("it is found down", || (state(&admin) == json!("down")).then_some(()));
    let slower = "kind = \"tcp\"\ninterval = \"60ms\"\nrise = 2\nfall = 2";
    lb.reload(&admin, &config.clone().health(slower));
    assert_eq!(state(&admin), json!("down"), "what was found stands");
    let _back = Backend::named_at(refusing.release(), "gone");
    eventually("it is found up", || (state(&admin) == json!("up")).then_some(()));
    lb.reload(&admin, &config);
    assert_eq!(admin.json(&format!("{BACKENDS}/gone"))["state"], json!("up"));
    lb.finish();
}

#[test]
fn the_access_log_is_opened_anew_and_no_line_is_lost() {
    let a = Backend::named("a");
    let folder = tempfile::tempdir().unwrap();
    let (log, rotated) = (folder.path().join("access"), folder.path().join("access.1"));
    let config = Config::with_backends(&[("a", a.address())]).log(&format!("access = \"{}\"", log.display()));
    let (lb, admin, config) = start(config);
    (0..20).for_each(|_| drop(greeted_by(lb.address())));
    std::fs::rename(&log, &rotated).unwrap();
    assert!(lb.reload(&admin, &config).is_empty());
    (0..30).for_each(|_| drop(greeted_by(lb.address())));
    lb.finish();
    let lines = |path| BufReader::new(std::fs::File::open(path).unwrap()).lines().count();
    assert_eq!((lines(&rotated) + lines(&log), lines(&log) >= 30), (50, true));
}

#[test]
fn sighup_reloads_and_says_so() {
    let (a, b) = (Backend::named("a"), Backend::named("b"));
    let (lb, _, config) = start(Config::with_backends(&[("a", a.address())]));
    lb.write(&config.backend("b", b.address(), "").log("level = \"debug\""));
    lb.signal(Signal::HUP);
    lb.wait_for_lines(1, "reloaded: 2 changes");
    assert_eq!(names(lb.address(), 2), ["a", "b"]);
    lb.wait_for_lines(2, "ended: client_closed");
    std::fs::write(lb.folder().join("lb.toml"), "x = 1").unwrap();
    lb.signal(Signal::HUP);
    lb.wait_for_lines(1, "the configuration from before stays in force");
    assert_eq!(names(lb.address(), 2), ["a", "b"]);
    lb.finish();
}

/// What `lb check` says of a file, a reload says too, and nothing is changed.
#[test]
fn no_bad_file_is_put_in_force_and_each_is_told_as_the_check_tells_it() {
    let a = Backend::named("a");
    let (lb, admin, config) = start(Config::with_backends(&[("a", a.address())]));
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/configs/bad");
    let mut count = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let text = std::fs::read(entry.unwrap().path()).unwrap();
        std::fs::write(lb.folder().join("lb.toml"), text).unwrap();
        let check = lb_command(lb.folder()).arg("check").output().unwrap();
        let said = String::from_utf8(check.stderr).unwrap();
        let answer = admin.ask("POST", "/api/v1/reload", &[], "");
        assert_eq!((check.status.code(), answer.status), (Some(1), 422), "{said}");
        let told: Vec<String> = serde_json::from_value(answer.json()["error"]["details"].clone()).unwrap();
        assert_eq!(told, said.lines().collect::<Vec<_>>());
        count += 1;
    }
    assert!(count > 80, "{count} files");
    assert_eq!(greeted_by(lb.address()), "a");
    assert!(lb.reload(&admin, &config).is_empty(), "nothing of all that is in force");
    lb.finish();
}

#[test]
fn many_reloads_at_full_load_fail_no_connection_and_leave_nothing_behind() {
    let rounds = if is_full_run("1,000 reloads at full load") {
        1_000
    } else {
        40
    };
    let servers: Vec<Backend> = (0..3).map(|_| Backend::echo()).collect();
    let edit = |number: usize| {
        let policies = [
            "round_robin",
            "least_connections",
            "random_two",
            "fastest",
            "maglev",
            "ring",
        ];
        let policy = policies[number % policies.len()];
        let timeouts = format!("balance = \"{policy}\"\nidle_timeout = \"{}s\"", 60 + number % 3);
        let health = if number.is_multiple_of(4) {
            "kind = \"off\""
        } else {
            "kind = \"tcp\"\ninterval = \"100ms\""
        };
        let config = Config::new().admin(ADMIN).service(&timeouts).health(health);
        // The first is always there, the others come and go.
        (0..3)
            .filter(|place| *place == 0 || (number + place).is_multiple_of(2))
            .fold(config, |config, place| {
                let weight = format!("weight = {}", 1 + (number + place) % 5);
                config.backend(&format!("b{place}"), servers[place].address(), &weight)
            })
    };
    let (lb, admin, _) = start(edit(0));
    let is_over = AtomicBool::new(false);
    let served = at_once(4, |thread| {
        if thread == 0 {
            for number in 1..=rounds {
                lb.reload(&admin, &edit(number));
            }
            is_over.store(true, SeqCst);
            return 0;
        }
        exchanges_until(&is_over, lb.address())
    });
    let served: u64 = served.iter().sum();
    let told = admin.json("/api/v1/services/echo")["connections"].clone();
    assert_eq!((&told["total"], &told["failed"]), (&json!(served), &json!(0)), "{told}");
    assert!(served > 100, "{served}");
    let closing = lb.finish();
    assert_eq!(closing.service("echo").0, served);
}

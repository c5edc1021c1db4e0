//! `/rep`, `/add`, `/rm`: replicas by HTTP, in the shapes of a well-known exercise.

use serde_json::{Value, json};

use super::scene::{ECHO, Scene, config, section};
use crate::common::{Backend, Balancer, Config, Peer, eventually};

fn done(count: usize, names: &[&str]) -> Value {
    json!({"message": {"N": count, "replicas": names}, "status": "successful"})
}

#[test]
fn replicas_are_told_added_and_removed() {
    let scene = Scene::start(ECHO, 2, "");
    scene.wait_for(2);
    let admin = &scene.admin;
    assert_eq!(admin.json("/rep"), done(2, &["echo-1", "echo-2"]));
    assert_eq!(admin.json("/rep?service=echo"), done(2, &["echo-1", "echo-2"]));
    let added = admin.send("POST", "/add", &json!({"n": 3, "hostnames": ["s4", "s5"]}));
    assert_eq!(
        (added.status, added.json()),
        (200, done(5, &["echo-1", "echo-2", "s4", "s5", "echo-3"]))
    );
    let names: Vec<String> = scene.wait_for(5).into_iter().map(|replica| replica.name).collect();
    assert_eq!(names, ["echo-1", "echo-2", "s4", "s5", "echo-3"]);
    // Who is removed may finish what it has begun.
    let peers: Vec<Peer> = (0..5).map(|_| Peer::connect(scene.lb.address())).collect();
    for peer in &peers {
        peer.send(b"a").expect(b"a");
    }
    let family = scene.family();
    let removed = admin.send("DELETE", "/rm", &json!({"n": 2, "hostnames": ["s4"]}));
    assert_eq!(
        (removed.status, removed.json()),
        (200, done(3, &["echo-1", "echo-2", "s5"]))
    );
    scene.wait_for(3);
    for peer in &peers {
        peer.send(b"b").expect(b"b").fin().expect_eof();
    }
    eventually("two keepers and their replicas are gone", || {
        (family.left().len() == 6).then_some(())
    });
    // The API's word holds over a reload, until the file says another number.
    let reload = |replicas| {
        let config = config(&section(ECHO, &scene.ports, replicas, ""));
        scene.lb.reload(admin, &config);
    };
    reload(2);
    assert_eq!(admin.json("/rep")["message"]["N"], 3);
    reload(4);
    assert_eq!(admin.json("/rep"), done(4, &["echo-1", "echo-2", "s5", "echo-3"]));
    scene.wait_for(4);
    assert_eq!(scene.state()["replicas"]["wanted"], 4);
    scene.finish();
}

#[test]
fn what_can_not_be_done_says_why_and_changes_nothing() {
    let scene = Scene::start(ECHO, 2, "");
    scene.wait_for(2);
    let refused = |method: &str, path: &str, body: Value, why: &str| {
        let answer = scene.admin.send(method, path, &body);
        let told = answer.json();
        assert_eq!(
            (answer.status, &told["status"]),
            (400, &json!("failure")),
            "{body} {told}"
        );
        let message = told["message"].as_str().unwrap();
        assert!(message.starts_with("<Error> ") && message.contains(why), "{message}");
    };
    refused(
        "POST",
        "/add",
        json!({"n": 1, "hostnames": ["a", "b"]}),
        "found 2, wanted at most n = 1",
    );
    refused(
        "POST",
        "/add",
        json!({"n": 0}),
        "n: found 0, wanted a number from 1 to 256",
    );
    refused("POST", "/add", json!({"n": 300}), "n: found 300");
    refused(
        "POST",
        "/add",
        json!({"n": 11}),
        "13 replicas would be too many, wanted at most 12",
    );
    refused(
        "POST",
        "/add",
        json!({"n": 1, "hostnames": ["echo-1"]}),
        "echo has a backend named echo-1 already",
    );
    refused(
        "POST",
        "/add",
        json!({"n": 2, "hostnames": ["a", "a"]}),
        "stands there twice",
    );
    refused(
        "POST",
        "/add",
        json!({"n": 1, "hostnames": ["a b"]}),
        "wanted a name of 1 to 64 characters",
    );
    refused("DELETE", "/rm", json!({"n": 3}), "n: found 3, wanted at most 2");
    refused(
        "DELETE",
        "/rm",
        json!({"n": 1, "hostnames": ["nobody"]}),
        "echo has no replica named \"nobody\"",
    );
    refused(
        "DELETE",
        "/rm",
        json!({"n": 1, "hostnames": ["echo-1", "echo-2"]}),
        "found 2, wanted at most n = 1",
    );
    refused(
        "POST",
        "/add?service=other",
        json!({"n": 1}),
        "no service is named \"other\"",
    );
    for body in [json!({"n": "two"}), json!({"hostnames": []}), json!({"n": 1, "x": 1})] {
        assert_eq!(scene.admin.send("POST", "/add", &body).status, 422, "{body}");
    }
    assert_eq!(scene.admin.json("/rep"), done(2, &["echo-1", "echo-2"]));
    scene.finish();
}

#[test]
fn a_lb_that_keeps_nobody_says_so() {
    let backend = Backend::echo();
    let config = Config::with_backends(&[("a", backend.address())]).admin("listen = \"127.0.0.1:0\"");
    let lb = Balancer::start(&config);
    let answer = lb.admin().get("/rep");
    assert_eq!(answer.status, 400);
    assert_eq!(answer.json()["message"], "<Error> no service has [service.managed]");
    let answer = lb.admin().get("/rep?service=echo");
    assert_eq!(answer.json()["message"], "<Error> echo has no [service.managed]");
    lb.finish();
}

#[test]
fn the_command_line_shows_replicas() {
    let scene = Scene::start(ECHO, 2, "");
    scene.wait_for(2);
    let status = |more: &[&str]| {
        let mut command = crate::common::lb_command(scene.lb.folder());
        let output = command
            .args(["status", "--admin", &scene.admin.address().to_string()])
            .args(more)
            .output()
            .unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    assert!(
        status(&[]).contains("  replicas: 2 of 2 running, 0 restarts\n"),
        "{}",
        status(&[])
    );
    let told: Value = serde_json::from_str(&status(&["--json"])).unwrap();
    assert_eq!(told["services"][0]["replicas"]["running"], 2, "{told}");
    scene.finish();
}

#[test]
fn the_number_follows_the_load_and_never_cuts_anybody() {
    let scale = "[service.managed.scale]\nmax = 4\ntarget_connections = 5\ncooldown = \"1s\"";
    let scene = Scene::start(ECHO, 1, scale);
    scene.wait_for(1);
    let peers: Vec<Peer> = (0..18).map(|_| Peer::connect(scene.lb.address())).collect();
    for peer in &peers {
        peer.send(b"a").expect(b"a");
    }
    scene.wait_for(4);
    let scaling = scene.state()["replicas"]["scaling"].clone();
    assert_eq!(
        (
            &scaling["wanted"],
            &scaling["connections"],
            &scaling["prediction"]["outlook"]
        ),
        (&json!(4), &json!(18), &json!("off")),
        "{scaling}"
    );
    let newcomers: Vec<Peer> = (0..2).map(|_| Peer::connect(scene.lb.address())).collect();
    for peer in &peers[..17] {
        peer.send(b"b").fin().expect(b"b").expect_eof();
    }
    scene.wait_for(1);
    for peer in newcomers.iter().chain(&peers[17..]) {
        peer.send(b"b").expect(b"b").fin().expect_eof();
    }
    let closing = scene.finish();
    assert_eq!(closing.ended("client_closed"), 20);
}

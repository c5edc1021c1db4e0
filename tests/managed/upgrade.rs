//! Replicas when another lb takes over.

use rustix::process::Signal;
use serde_json::json;

use super::scene::{ECHO, Replica, STATE, Scene, config, section};
use super::send;
use crate::common::{Peer, eventually};

/// A process that isn't left behind by a test that fails.
struct Killed(u32);

impl Drop for Killed {
    fn drop(&mut self) {
        if std::thread::panicking() {
            send(self.0, Signal::KILL);
        }
    }
}

#[test]
fn a_program_that_an_upgrade_changes_cuts_nobody_of_the_old_lb() {
    let scene = Scene::start(ECHO, 2, "");
    let before = scene.wait_for(2);
    let peers: Vec<Peer> = (0..4).map(|_| Peer::connect(scene.lb.address())).collect();
    for peer in &peers {
        peer.send(b"a").expect(b"a");
    }
    let changed = r#"["tcp_server", "{port}", "--id", "changed-{port}"]"#;
    scene.lb.write(&config(&section(changed, &scene.ports, 2, "")));
    let answer = scene.admin.ask("POST", "/api/v1/upgrade", &[], "");
    assert_eq!(answer.status, 200, "{}", answer.text());
    let successor = Killed(u32::try_from(answer.json()["pid"].as_u64().unwrap()).unwrap());
    eventually("both run the changed program", || {
        let now = scene.running();
        let is_new = |new: &Replica| before.iter().all(|old| old.pid != new.pid);
        (now.len() == 2 && now.iter().all(is_new)).then_some(())
    });
    // The sessions of the old lb are on the old processes, which the new one doesn't see.
    for peer in &peers {
        peer.send(b"b").expect(b"b").fin().expect_eof();
    }
    let family = scene.family();
    let mut old = scene.lb;
    eventually("the old lb ends", || old.program_mut().has_ended().then_some(()));
    send(successor.0, Signal::TERM);
    family.expect_none("the new lb has stopped");
    old.finish_stopped();
}

#[test]
fn an_upgrade_takes_the_replicas_along() {
    let scene = Scene::start(ECHO, 3, "");
    let before = scene.wait_for(3);
    let family = scene.family();
    let peers: Vec<Peer> = (0..3).map(|_| Peer::connect(scene.lb.address())).collect();
    for peer in &peers {
        peer.send(b"a").expect(b"a");
    }
    let answer = scene.admin.ask("POST", "/api/v1/upgrade", &[], "");
    assert_eq!(answer.status, 200, "{}", answer.text());
    let pid = answer.json()["pid"].clone();
    let successor = Killed(u32::try_from(pid.as_u64().unwrap()).unwrap());
    eventually("the new lb answers", || {
        (scene.admin.json("/api/v1/status")["pid"] == pid).then_some(())
    });
    assert_eq!(scene.wait_for(3), before, "names, processes, ports, restarts");
    (0..6).for_each(|_| scene.serves());
    for peer in &peers {
        peer.send(b"b").expect(b"b").fin().expect_eof();
    }
    let mut old = scene.lb;
    old.line("has taken over");
    // The old one ends, and the replicas don't.
    eventually("the old lb ends", || old.program_mut().has_ended().then_some(()));
    let rep = scene.admin.json("/rep");
    assert_eq!(rep["message"]["N"], 3);
    let killed = before[1].pid;
    send(killed, Signal::KILL);
    eventually("the new lb starts another one", || {
        let replicas = scene.admin.json(STATE)["replicas"]["replicas"].clone();
        let replica = replicas[1].clone();
        (replica["state"] == "running" && replica["pid"] != json!(killed)).then_some(())
    });
    send(successor.0, Signal::TERM);
    family.expect_none("the new lb has stopped");
    old.finish_stopped();
}

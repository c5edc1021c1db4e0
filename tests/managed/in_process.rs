//! The room within this process, with the real program as keeper: replicas are passed on, and outlive a fault.

use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;

use crossbeam_channel::{Sender, bounded};
use lb::control::{self, Board, Commander, Companion, Inherited, Luggage, ReplicaOrder, ReplicaRequests, Signal};
use lb::elastic::managed::{Managed, Surroundings};
use lb::{api, config};

use super::scene::{ECHO, Family, section};
use crate::common::{Process, eventually, free_ports};

/// A balancer in threads of this process.
struct Control {
    board: Arc<Board>,
    commander: Commander,
    requests: ReplicaRequests,
    stop: Sender<Signal>,
    thread: JoinHandle<()>,
}

impl Control {
    fn start(text: &str) -> Self {
        let config = config::parse("lb.toml", text).unwrap();
        let running = control::start(&config, Path::new("lb.toml"), Inherited::default()).unwrap();
        let (board, commander, requests) = (running.board(), running.commander(), running.replica_requests());
        let (stop, signals) = bounded(1);
        let thread = std::thread::spawn(move || running.serve(&signals));
        Self {
            board,
            commander,
            requests,
            stop,
            thread,
        }
    }

    fn keep(&self, inherited: Option<Luggage>) -> Managed {
        let around = Surroundings {
            board: Arc::clone(&self.board),
            commander: self.commander.clone(),
            requests: self.requests.clone(),
            keeper: env!("CARGO_BIN_EXE_lb").into(),
        };
        Managed::start(around, inherited).unwrap()
    }

    /// Waits until so many take connections, as backends too.
    fn wait_for(&self, count: usize) -> Vec<api::Replica> {
        eventually(&format!("{count} replicas"), || {
            let service = self.board.service("echo").unwrap();
            let replicas = service.replicas?.replicas;
            let is_running = |replica: &&api::Replica| replica.state == api::ReplicaState::Running;
            let running = replicas.iter().filter(is_running).count();
            (running == count && service.backends.len() == count).then_some(replicas)
        })
    }

    fn end(self) {
        self.stop.send(Signal::Stop).unwrap();
        self.thread.join().unwrap();
    }
}

fn text(replicas: usize) -> String {
    let ports = free_ports(12);
    format!(
        "[[service]]\nname = \"echo\"\nlisten = \"127.0.0.1:0\"\n[service.managed]\n{}",
        section(ECHO, &ports, replicas, "")
    )
}

/// The keepers that are this process's children, by what they keep, and all below them.
fn families(replicas: &[api::Replica]) -> Family {
    let all = Family::of(Process(std::process::id())).0;
    let pids: Vec<u32> = replicas.iter().filter_map(|replica| replica.pid).collect();
    let keepers: Vec<u32> = pids.iter().map(|pid| parent(*pid)).collect();
    Family(
        all.into_iter()
            .filter(|(pid, _, _)| pids.contains(pid) || keepers.contains(pid))
            .collect(),
    )
}

fn parent(pid: u32) -> u32 {
    let listed = crate::common::everybody().into_iter().find(|listed| listed.pid == pid);
    listed.unwrap().parent
}

#[test]
fn another_lb_takes_over_the_very_same_replicas() {
    let text = text(3);
    let (old, new) = (Control::start(&text), Control::start(&text));
    let managed = old.keep(None);
    old.wait_for(3);
    old.commander
        .replicas()
        .add("echo", 1, vec!["extra".to_owned()])
        .unwrap();
    let before = old.wait_for(4);
    let family = families(&before);
    assert_eq!(family.0.len(), 8, "{family:?}");
    // The upgrade fails: as before.
    let companion = managed.companion();
    drop(companion.pack().unwrap());
    assert!(
        old.commander.replicas().names("echo").is_err(),
        "nothing changes meanwhile"
    );
    companion.resume();
    assert_eq!(old.commander.replicas().count("echo"), Ok(4));
    assert_eq!(old.wait_for(4), before);
    // It succeeds.
    let passed = companion.pack().unwrap();
    assert_eq!(passed.descriptors.len(), 4);
    let state = serde_json::from_str(&passed.state.to_string()).unwrap();
    let passed = Luggage { state, ..passed };
    let heir = new.keep(Some(passed));
    companion.let_go();
    managed.stop();
    old.end();
    assert_eq!(new.wait_for(4), before, "names, ports, processes, restarts");
    assert_eq!(family.left().len(), 8);
    // It keeps them as its own.
    let killed = before[3].pid.unwrap();
    super::send(killed, rustix::process::Signal::KILL);
    let after = eventually("it is started again", || {
        let now = new.wait_for(4);
        (now[3].pid != Some(killed)).then_some(now)
    });
    assert_eq!((after[3].restarts, &after[..3]), (1, &before[..3]));
    let family = families(&after);
    heir.stop();
    family.expect_none("the heir has stopped");
    new.end();
}

#[test]
fn a_fault_of_the_room_costs_a_turn_and_no_replica() {
    let control = Control::start(&text(3));
    let managed = control.keep(None);
    let before = control.wait_for(3);
    for _ in 0..3 {
        let replicas = control.commander.replicas();
        replicas.ask(None, ReplicaOrder::Tell, |_| {
            std::panic::resume_unwind(Box::new("injected"))
        });
        assert_eq!(replicas.count("echo"), Ok(3));
    }
    assert_eq!(control.wait_for(3), before);
    let family = families(&before);
    assert_eq!(family.left().len(), 6);
    assert_eq!(
        control
            .board
            .counters()
            .panics
            .load(std::sync::atomic::Ordering::Relaxed),
        3
    );
    managed.stop();
    family.expect_none("it has stopped");
    control.end();
}

#[test]
fn the_number_that_is_wanted_can_be_set_from_within() {
    let control = Control::start(&text(1));
    let managed = control.keep(None);
    let replicas = control.commander.replicas();
    for count in [4, 2, 0, 3] {
        assert_eq!(replicas.set_wanted("echo", count).unwrap().names.len(), count);
        control.wait_for(count);
    }
    assert!(replicas.set_wanted("echo", 13).is_err() && replicas.set_wanted("other", 1).is_err());
    let family = families(&control.wait_for(3));
    drop(managed);
    family.expect_none("the room was dropped");
    control.end();
}

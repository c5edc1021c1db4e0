//! A balancer that keeps replicas, and whoever descends from it.

use std::collections::HashSet;
use std::ops::RangeInclusive;
use std::process::Command;

use serde_json::Value;

use crate::common::{Balancer, Closing, Config, Http, Peer, Process, children_of, eventually, everybody, free_ports};

pub(super) const STATE: &str = "/api/v1/services/echo";

/// The echo program, found beside `lb`.
pub(super) const ECHO: &str = r#"["tcp_server", "{port}"]"#;

/// A replica as the API shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Replica {
    pub(super) name: String,
    pub(super) pid: u32,
    pub(super) port: u16,
    pub(super) restarts: u64,
}

pub(super) struct Scene {
    pub(super) lb: Balancer,
    pub(super) admin: Http,
    pub(super) ports: RangeInclusive<u16>,
}

/// The lines of a section.
pub(super) fn section(command: &str, ports: &RangeInclusive<u16>, replicas: usize, more: &str) -> String {
    let (first, last) = (ports.start(), ports.end());
    format!("command = {command}\nports = \"{first}-{last}\"\nreplicas = {replicas}\nrestart_delay = \"100ms\"\n{more}")
}

/// A service whose replicas are checked.
pub(super) fn config(section: &str) -> Config {
    let health = "kind = \"expect\"\nsend = \"hi\"\nexpect = \"hi\"\ninterval = \"100ms\"\ntimeout = \"200ms\"\nfall = 2\nrise = 1";
    Config::new()
        .admin("listen = \"127.0.0.1:0\"")
        .runtime("workers = 2\ndrain_timeout = \"5s\"")
        .health(health)
        .managed(section)
}

impl Scene {
    /// So many replicas of `command` on a range of twelve ports.
    pub(super) fn start(command: &str, replicas: usize, more: &str) -> Self {
        let ports = free_ports(12);
        Self::with(&section(command, &ports, replicas, more), ports)
    }

    pub(super) fn with(section: &str, ports: RangeInclusive<u16>) -> Self {
        Self::with_program(section, ports, |command| command)
    }

    pub(super) fn with_program(
        section: &str,
        ports: RangeInclusive<u16>,
        change: impl FnOnce(Command) -> Command,
    ) -> Self {
        let lb = Balancer::start_with(&config(section), change);
        let admin = lb.admin();
        Self { lb, admin, ports }
    }

    pub(super) fn state(&self) -> Value {
        self.admin.json(STATE)
    }

    /// Those that take connections, as backends too.
    pub(super) fn running(&self) -> Vec<Replica> {
        let state = self.state();
        let is_up = |name: &Value| {
            let backends = state["backends"].as_array().unwrap().iter();
            backends
                .filter(|backend| backend["name"] == *name)
                .any(|backend| matches!(backend["state"].as_str(), Some("up" | "starting")))
        };
        let Some(replicas) = state["replicas"]["replicas"].as_array() else {
            return Vec::new();
        };
        let running = replicas
            .iter()
            .filter(|replica| replica["state"] == "running" && is_up(&replica["name"]));
        running
            .map(|replica| Replica {
                name: replica["name"].as_str().unwrap().to_owned(),
                pid: u32::try_from(replica["pid"].as_u64().unwrap()).unwrap(),
                port: u16::try_from(replica["port"].as_u64().unwrap()).unwrap(),
                restarts: replica["restarts"].as_u64().unwrap(),
            })
            .collect()
    }

    /// Waits until so many take connections.
    pub(super) fn wait_for(&self, count: usize) -> Vec<Replica> {
        eventually(&format!("{count} replicas that take connections"), || {
            let running = self.running();
            (running.len() == count).then_some(running)
        })
    }

    /// Waits until nothing is left of a process that was there, and another serves.
    pub(super) fn wait_for_another(&self, old: &Replica, count: usize) -> Replica {
        eventually(&format!("another process instead of {old:?}"), || {
            let running = self.running();
            let new = running.iter().find(|new| new.name == old.name && new.pid != old.pid);
            new.filter(|_| running.len() == count).cloned()
        })
    }

    pub(super) fn serves(&self) {
        Peer::connect(self.lb.address())
            .send(b"hi")
            .fin()
            .expect(b"hi")
            .expect_eof();
    }

    pub(super) fn family(&self) -> Family {
        Family::of(self.lb.process())
    }

    /// The end of a test: nothing of it is left.
    pub(super) fn finish(self) -> Closing {
        let family = self.family();
        let closing = self.lb.finish_with_replicas();
        family.expect_none("lb has stopped");
        closing
    }
}

/// Whoever descends from a process.
#[derive(Clone, Debug)]
pub(super) struct Family(pub(super) Vec<(u32, u32, String)>);

impl Family {
    pub(super) fn of(ancestor: Process) -> Self {
        let (mut found, mut next) = (vec![ancestor.0], 0);
        let mut family = Vec::new();
        while let Some(parent) = found.get(next).copied() {
            next += 1;
            for child in children_of(parent) {
                found.push(child.pid);
                family.push((child.pid, child.session, child.command));
            }
        }
        Self(family)
    }

    /// Who of them is still there.
    pub(super) fn left(&self) -> Vec<(u32, u32, String)> {
        let now: HashSet<(u32, u32)> = everybody().iter().map(|listed| (listed.pid, listed.session)).collect();
        self.0
            .iter()
            .filter(|(pid, session, _)| now.contains(&(*pid, *session)))
            .cloned()
            .collect()
    }

    pub(super) fn count(&self, command: &str) -> usize {
        self.0.iter().filter(|(_, _, line)| line.contains(command)).count()
    }

    pub(super) fn expect_none(&self, after: &str) {
        let mut left = Vec::new();
        eventually(
            &format!("nothing of {self:?} is left after {after}, but {left:?}"),
            || {
                left = self.left();
                left.is_empty().then_some(())
            },
        );
    }
}

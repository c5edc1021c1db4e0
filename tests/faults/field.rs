//! Where a drill takes place: clients, the balancer and three backends, each in a network namespace of its own, all on one bridge.
//!
//! Made anew for every drill, gone with it also when it fails; what a killed run left behind goes with the next one. Needs root and `ip`.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::Command;
use std::sync::Once;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use crate::common::{Netns, Program, Signal, has, tcp_server, tell};

/// What the names of the namespaces begin with; the process's number follows.
const PREFIX: &str = "lbf";
/// Where every backend listens.
const PORT: u16 = 9001;
/// Backends of a drill.
pub(crate) const BACKENDS: usize = 3;

/// The six namespaces.
pub(crate) struct Field {
    pub(crate) clients: Netns,
    pub(crate) balancer: Netns,
    pub(crate) backends: [Netns; BACKENDS],
    _bridge: Netns,
}

impl Field {
    /// Where the clients find the balancer.
    pub(crate) const TARGET: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::new(10, 231, 8, 1)), 9000);

    /// `None`, with the reason told, where such a thing can't be had.
    pub(crate) fn open(drill: &str) -> Option<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        static TIDY: Once = Once::new();
        if let Err(reason) = Netns::is_possible() {
            tell(&format!("{drill}: skipped: no network namespace: {reason}"));
            return None;
        }
        if !has("nft", "nftables", drill) {
            return None;
        }
        TIDY.call_once(remove_left_behind);
        let name = format!("{PREFIX}{}x{}", std::process::id(), NEXT.fetch_add(1, Relaxed));
        let bridge = Netns::add(format!("{name}s"));
        bridge.ip("link add br0 type bridge");
        bridge.ip("link set br0 up");
        let host = |suffix: &str, address: &str| {
            let host = Netns::add(format!("{name}{suffix}"));
            let port = format!("p{suffix}");
            bridge.ip(&format!(
                "link add {port} type veth peer name eth0 netns {}",
                host.name()
            ));
            bridge.ip(&format!("link set {port} master br0 up"));
            host.ip(&format!("addr add {address}/24 dev eth0"));
            host.ip("link set eth0 up");
            host
        };
        let field = Self {
            clients: host("c", "10.231.8.10"),
            balancer: host("l", "10.231.8.1"),
            backends: [1, 2, 3].map(|number| host(&number.to_string(), &format!("10.231.8.2{number}"))),
            _bridge: bridge,
        };
        // Clients never run out of ports before the balancer runs out of anything.
        field.clients.set("ip_local_port_range", "1024 65535");
        field.clients.set("tcp_tw_reuse", "1");
        Some(field)
    }

    /// Where a backend listens, from 0.
    pub(crate) fn backend(&self, number: usize) -> SocketAddr {
        assert!(number < self.backends.len());
        let last = 21 + u8::try_from(number).unwrap();
        (Ipv4Addr::new(10, 231, 8, last), PORT).into()
    }

    /// Starts the repository's own echo server as a backend.
    pub(crate) fn serve(&self, number: usize) -> Program {
        let address = self.backend(number);
        self.backends[number].within(|| {
            tcp_server(&[
                &address.port().to_string(),
                "--host",
                &address.ip().to_string(),
                "--threads",
                "1",
            ])
            .0
        })
    }

    pub(crate) fn serve_all(&self) -> Vec<Program> {
        (0..BACKENDS).map(|number| self.serve(number)).collect()
    }

    /// Sessions that a backend has: its established connections.
    pub(crate) fn sessions_of(&self, number: usize) -> usize {
        self.backends[number].within(|| {
            let own = format!(":{PORT:04X}");
            let table = std::fs::read_to_string("/proc/thread-self/net/tcp").unwrap();
            let lines = table
                .lines()
                .map(|line| line.split_ascii_whitespace().collect::<Vec<_>>());
            lines
                .filter(|fields| fields.get(1).is_some_and(|local| local.ends_with(&own)) && fields[3] == "01")
                .count()
        })
    }
}

/// nft's rules of one namespace: "input tcp dport 9001 drop". Gone when dropped.
pub(crate) struct Rules<'n>(&'n Netns);

impl<'n> Rules<'n> {
    pub(crate) fn set(place: &'n Netns, rules: &[&str]) -> Self {
        let mut script = "table ip drill {\n".to_owned();
        for hook in ["input", "output"] {
            script += &format!("chain {hook} {{ type filter hook {hook} priority 0;\n");
            for rule in rules.iter().filter_map(|rule| rule.strip_prefix(hook)) {
                script += &format!("{rule}\n");
            }
            script += "}\n";
        }
        place.within(|| said(Command::new("nft").arg(format!("{script}}}\n"))));
        Self(place)
    }
}

impl Drop for Rules<'_> {
    fn drop(&mut self) {
        self.0.within(|| {
            // What isn't there any more needn't go.
            drop(Command::new("nft").args(["delete", "table", "ip", "drill"]).output());
        });
    }
}

/// Runs a tool to its end: what it printed.
pub(crate) fn said(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(
        output.status.success(),
        "{command:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// SIGSTOP while this lives.
pub(crate) struct Stopped<'p>(&'p Program);

impl<'p> Stopped<'p> {
    pub(crate) fn new(program: &'p Program) -> Self {
        program.signal(Signal::STOP);
        Self(program)
    }
}

impl Drop for Stopped<'_> {
    fn drop(&mut self) {
        self.0.signal(Signal::CONT);
    }
}

/// Namespaces of processes that are gone: those were killed before they could.
fn remove_left_behind() {
    for entry in std::fs::read_dir("/run/netns").into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let pid = name.strip_prefix(PREFIX).and_then(|rest| rest.split('x').next());
        if pid.is_some_and(|pid| !Path::new("/proc").join(pid).exists()) {
            drop(Command::new("ip").args(["netns", "del", &name]).output());
        }
    }
}

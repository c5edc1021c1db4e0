//! A network of its own for a test: two namespaces joined by a pair of virtual interfaces. Needs root and `ip`.

use std::fs::File;
use std::net::Ipv4Addr;
use std::os::fd::AsFd;
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::tell;

/// The namespace of the balancer and its backends, and the one of its clients. Gone when dropped.
pub(crate) struct Namespace {
    name: String,
}

/// Which of the two.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Half {
    Inner,
    Clients,
}

impl Namespace {
    /// Where the balancer is, for the clients.
    pub(crate) const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 231, 7, 1);

    /// `None`, with the reason told, where such a thing can't be had.
    pub(crate) fn open(test: &str) -> Option<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        if let Err(reason) = Self::is_possible() {
            tell(&format!("{test}: skipped: no network namespace: {reason}"));
            return None;
        }
        let name = format!("lbt{}x{}", std::process::id(), NEXT.fetch_add(1, Relaxed));
        let namespace = Self { name };
        let (inner, clients) = (namespace.of(Half::Inner), namespace.of(Half::Clients));
        for command in [
            format!("ip netns add {inner}"),
            format!("ip netns add {clients}"),
            format!("ip -n {inner} link add veth0 type veth peer name veth1 netns {clients}"),
            format!("ip -n {inner} addr add 10.231.7.1/24 dev veth0"),
            format!("ip -n {clients} addr add 10.231.7.2/24 dev veth1"),
            format!("ip -n {inner} link set lo up"),
            format!("ip -n {inner} link set veth0 up"),
            format!("ip -n {clients} link set lo up"),
            format!("ip -n {clients} link set veth1 up"),
        ] {
            run(&command);
        }
        Some(namespace)
    }

    fn is_possible() -> Result<(), String> {
        if !rustix::process::geteuid().is_root() {
            return Err("needs root".to_owned());
        }
        let name = format!("lbt{}probe", std::process::id());
        let said = |output: std::io::Result<Output>| match output {
            Ok(output) if output.status.success() => Ok(()),
            Ok(output) => Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
            Err(error) => Err(format!("ip: {error}")),
        };
        static ONE_AT_A_TIME: std::sync::Mutex<()> = std::sync::Mutex::new(());
        let _one = ONE_AT_A_TIME.lock().unwrap();
        said(Command::new("ip").args(["netns", "add", &name]).output())?;
        said(Command::new("ip").args(["netns", "del", &name]).output())
    }

    fn of(&self, half: Half) -> String {
        match half {
            Half::Inner => format!("{}l", self.name),
            Half::Clients => format!("{}c", self.name),
        }
    }

    /// Sets a kernel parameter where the balancer is.
    pub(crate) fn set(&self, key: &str, value: &str) {
        self.set_in(Half::Inner, key, value);
    }

    /// Sets one where the clients are.
    pub(crate) fn set_for_clients(&self, key: &str, value: &str) {
        self.set_in(Half::Clients, key, value);
    }

    fn set_in(&self, half: Half, key: &str, value: &str) {
        self.inside(half, || {
            let path = format!("/proc/sys/net/ipv4/{key}");
            std::fs::write(&path, value).unwrap_or_else(|error| panic!("{path}: {error}"));
        });
    }

    /// The same command, run where the balancer is.
    pub(crate) fn command(&self, command: &Command) -> Command {
        self.command_in(Half::Inner, command)
    }

    /// The same command, run where the clients are.
    pub(crate) fn client_command(&self, command: &Command) -> Command {
        self.command_in(Half::Clients, command)
    }

    fn command_in(&self, half: Half, command: &Command) -> Command {
        let mut inside = Command::new("ip");
        inside
            .args(["netns", "exec", &self.of(half)])
            .arg(command.get_program())
            .args(command.get_args());
        if let Some(folder) = command.get_current_dir() {
            inside.current_dir(folder);
        }
        inside
    }

    /// Runs `act` where the balancer is; sockets opened there stay there.
    pub(crate) fn within<T: Send>(&self, act: impl FnOnce() -> T + Send) -> T {
        self.inside(Half::Inner, act)
    }

    /// Runs `act` where the clients are.
    pub(crate) fn among_clients<T: Send>(&self, act: impl FnOnce() -> T + Send) -> T {
        self.inside(Half::Clients, act)
    }

    /// In a thread of its own, which ends there.
    fn inside<T: Send>(&self, half: Half, act: impl FnOnce() -> T + Send) -> T {
        let namespace = File::open(format!("/run/netns/{}", self.of(half))).unwrap();
        std::thread::scope(|scope| {
            let thread = scope.spawn(move || {
                move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
                act()
            });
            thread.join().unwrap()
        })
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        for half in [Half::Inner, Half::Clients] {
            // Half of it may never have been made.
            let removed = Command::new("ip").args(["netns", "del", &self.of(half)]).output();
            drop(removed);
        }
    }
}

fn run(command: &str) {
    let mut words = command.split(' ');
    let output = Command::new(words.next().unwrap()).args(words).output().unwrap();
    assert!(
        output.status.success(),
        "{command}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}

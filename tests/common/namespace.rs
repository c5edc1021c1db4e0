//! Networks of its own for a test: namespaces, and two of them joined by a pair of virtual interfaces. Needs root and `ip`.

use std::fs::File;
use std::net::Ipv4Addr;
use std::os::fd::AsFd;
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::thread::JoinHandle;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::{run_by, tell};

/// One network namespace, by its name under `/run/netns`. Gone when dropped.
pub(crate) struct Netns(String);

impl Netns {
    /// Makes it, with its loopback up.
    pub(crate) fn add(name: String) -> Self {
        run(&format!("ip netns add {name}"));
        let namespace = Self(name);
        namespace.ip("link set lo up");
        namespace
    }

    pub(crate) fn name(&self) -> &str {
        &self.0
    }

    /// `ip`, told about this namespace.
    pub(crate) fn ip(&self, words: &str) {
        run(&format!("ip -n {} {words}", self.0));
    }

    /// Sets a kernel parameter under `net.ipv4`.
    pub(crate) fn set(&self, key: &str, value: &str) {
        self.within(|| {
            let path = format!("/proc/sys/net/ipv4/{key}");
            std::fs::write(&path, value).unwrap_or_else(|error| panic!("{path}: {error}"));
        });
    }

    /// The same command, run there.
    pub(crate) fn command(&self, command: &Command) -> Command {
        run_by(&["ip", "netns", "exec", &self.0], command)
    }

    /// Runs `act` there, in a thread of its own which ends there; sockets opened there and programs started there stay there.
    pub(crate) fn within<T: Send>(&self, act: impl FnOnce() -> T + Send) -> T {
        let namespace = self.open();
        std::thread::scope(|scope| {
            let thread = scope.spawn(move || {
                move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
                act()
            });
            match thread.join() {
                Ok(value) => value,
                Err(panic) => std::panic::resume_unwind(panic),
            }
        })
    }

    /// A thread that lives there.
    pub(crate) fn spawn<T: Send + 'static>(&self, act: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
        let namespace = self.open();
        std::thread::spawn(move || {
            move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
            act()
        })
    }

    fn open(&self) -> File {
        File::open(format!("/run/netns/{}", self.0)).unwrap()
    }

    /// Whether they can be had here; if not, why.
    pub(crate) fn is_possible() -> Result<(), String> {
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
}

impl Drop for Netns {
    fn drop(&mut self) {
        // It may never have been made.
        let removed = Command::new("ip").args(["netns", "del", &self.0]).output();
        drop(removed);
    }
}

/// The namespace of the balancer and its backends, and the one of its clients, joined by a pair of interfaces.
pub(crate) struct Namespace {
    inner: Netns,
    clients: Netns,
}

impl Namespace {
    /// Where the balancer is, for the clients.
    pub(crate) const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 231, 7, 1);

    /// `None`, with the reason told, where such a thing can't be had.
    pub(crate) fn open(test: &str) -> Option<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        if let Err(reason) = Netns::is_possible() {
            tell(&format!("{test}: skipped: no network namespace: {reason}"));
            return None;
        }
        let name = format!("lbt{}x{}", std::process::id(), NEXT.fetch_add(1, Relaxed));
        let (inner, clients) = (Netns::add(format!("{name}l")), Netns::add(format!("{name}c")));
        inner.ip(&format!(
            "link add veth0 type veth peer name veth1 netns {}",
            clients.name()
        ));
        inner.ip("addr add 10.231.7.1/24 dev veth0");
        clients.ip("addr add 10.231.7.2/24 dev veth1");
        inner.ip("link set veth0 up");
        clients.ip("link set veth1 up");
        Some(Self { inner, clients })
    }

    /// Sets a kernel parameter where the balancer is.
    pub(crate) fn set(&self, key: &str, value: &str) {
        self.inner.set(key, value);
    }

    /// Sets one where the clients are.
    pub(crate) fn set_for_clients(&self, key: &str, value: &str) {
        self.clients.set(key, value);
    }

    /// The same command, run where the balancer is.
    pub(crate) fn command(&self, command: &Command) -> Command {
        self.inner.command(command)
    }

    /// The same command, run where the clients are.
    pub(crate) fn client_command(&self, command: &Command) -> Command {
        self.clients.command(command)
    }

    /// Runs `act` where the balancer is; sockets opened there stay there.
    pub(crate) fn within<T: Send>(&self, act: impl FnOnce() -> T + Send) -> T {
        self.inner.within(act)
    }

    /// Runs `act` where the clients are.
    pub(crate) fn among_clients<T: Send>(&self, act: impl FnOnce() -> T + Send) -> T {
        self.clients.within(act)
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

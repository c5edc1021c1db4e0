//! Where a measurement takes place: which cores the balancer and the load have, and a network of its own.
//!
//! The balancer has its cores, the client and the backends have the others: so a balancer's speed is what its own core gives, and
//! not what the load leaves of it. With as many workers as cores there is nothing to divide, and all run everywhere. A fresh network
//! namespace for each measurement keeps the TIME_WAIT of one out of the ports of the next.

use std::fs::File;
use std::os::fd::AsFd;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};

use rustix::thread::{CpuSet, LinkNameSpaceType, move_into_link_name_space, sched_getaffinity, sched_setaffinity};

use crate::Failure;

/// Whose cores.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Balancer,
    Load,
}

/// The machine, as far as measurements use it.
#[derive(Debug)]
pub(crate) struct Place {
    cores: Vec<usize>,
    /// Why there is no network of its own.
    shared_network: Option<String>,
}

/// The cores of one measurement.
#[derive(Debug)]
pub(crate) struct Cores<'a> {
    all: &'a [usize],
    workers: usize,
}

impl Place {
    pub(crate) fn new() -> Result<Self, Failure> {
        let allowed = sched_getaffinity(None)?;
        let cores = (0..CpuSet::MAX_CPU).filter(|core| allowed.is_set(*core)).collect();
        let shared_network = Namespace::open().err().map(|failure| failure.to_string());
        Ok(Self { cores, shared_network })
    }

    pub(crate) fn words(&self) -> String {
        let network = match &self.shared_network {
            None => "each measurement in a network namespace of its own".to_owned(),
            Some(reason) => format!("no network namespaces ({reason}): short connections suffer from earlier ones"),
        };
        let cores = if self.cores.len() > 1 {
            "the balancer on its core, client and backends on the rest"
        } else {
            "one core for all"
        };
        format!("{cores}; {network}")
    }

    /// Runs `act` in a thread of its own, in a fresh network; programs that it starts are there too.
    pub(crate) fn within<T: Send>(
        &self,
        workers: usize,
        act: impl FnOnce(&Cores<'_>) -> Result<T, Failure> + Send,
    ) -> Result<T, Failure> {
        let namespace = match self.shared_network {
            None => Some(Namespace::open()?),
            Some(_) => None,
        };
        let cores = Cores {
            all: &self.cores,
            workers,
        };
        std::thread::scope(|scope| {
            let inside = scope.spawn(|| {
                if let Some(namespace) = &namespace {
                    namespace.enter()?;
                }
                act(&cores)
            });
            inside.join().map_err(|_| "the measuring thread ended in a panic")?
        })
    }
}

impl Cores<'_> {
    /// The calling thread, and what it starts from now on, runs only there.
    pub(crate) fn pin(&self, role: Role) -> Result<(), Failure> {
        let of_balancer = if self.workers < self.all.len() { self.workers } else { 0 };
        let (balancer, load) = self.all.split_at_checked(of_balancer).unwrap_or((&[], self.all));
        let chosen = match role {
            Role::Balancer if !balancer.is_empty() => balancer,
            _ => load,
        };
        let mut set = CpuSet::new();
        for core in chosen {
            set.set(*core);
        }
        Ok(sched_setaffinity(None, &set)?)
    }
}

/// The namespaces that exist, for when the whole is interrupted.
static OPEN: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// Removes every namespace that still exists.
pub(crate) fn remove_all() {
    for name in OPEN.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
        // There is nobody left to tell.
        ip(&["netns", "del", &name]).ok();
    }
}

/// A network namespace with nothing but a loopback interface; gone when dropped.
struct Namespace {
    name: String,
}

impl Namespace {
    fn open() -> Result<Self, Failure> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        if !rustix::process::geteuid().is_root() {
            return Err("needs root".into());
        }
        let name = format!("lbbench{}x{}", std::process::id(), NEXT.fetch_add(1, Relaxed));
        ip(&["netns", "add", &name])?;
        OPEN.lock().unwrap_or_else(PoisonError::into_inner).push(name.clone());
        let namespace = Self { name };
        ip(&["-n", &namespace.name, "link", "set", "lo", "up"])?;
        Ok(namespace)
    }

    fn enter(&self) -> Result<(), Failure> {
        let file = File::open(format!("/run/netns/{}", self.name))?;
        Ok(move_into_link_name_space(
            file.as_fd(),
            Some(LinkNameSpaceType::Network),
        )?)
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        OPEN.lock()
            .unwrap_or_else(PoisonError::into_inner)
            .retain(|name| *name != self.name);
        if let Err(failure) = ip(&["netns", "del", &self.name]) {
            crate::say(&format!("network namespace {} is left behind: {failure}", self.name));
        }
    }
}

fn ip(arguments: &[&str]) -> Result<(), Failure> {
    let output = Command::new("ip")
        .args(arguments)
        .output()
        .map_err(|error| format!("ip: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(format!("ip {}: {}", arguments.join(" "), said.trim()).into())
}

//! A network of its own for each measurement: a fresh namespace keeps the TIME_WAIT of one out of the ports of the next.

use std::fs::File;
use std::os::fd::AsFd;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::{Failure, say};

/// Whether measurements can have one.
#[derive(Debug)]
pub(crate) struct Network {
    /// Why not.
    shared: Option<String>,
}

impl Network {
    pub(crate) fn new() -> Self {
        let shared = Namespace::open().err().map(|failure| failure.to_string());
        Self { shared }
    }

    pub(crate) fn words(&self) -> String {
        match &self.shared {
            None => "each measurement in a network namespace of its own".to_owned(),
            Some(reason) => format!("no network namespaces ({reason}): short connections suffer from earlier ones"),
        }
    }

    /// Runs `act` in a thread of its own, in a fresh network; programs that it starts are there too.
    pub(crate) fn within<T: Send>(&self, act: impl FnOnce() -> Result<T, Failure> + Send) -> Result<T, Failure> {
        let namespace = match self.shared {
            None => Some(Namespace::open()?),
            Some(_) => None,
        };
        std::thread::scope(|scope| {
            let inside = scope.spawn(|| {
                if let Some(namespace) = &namespace {
                    namespace.enter()?;
                }
                act()
            });
            inside.join().map_err(|_| "the measuring thread ended in a panic")?
        })
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
            say(&format!("network namespace {} is left behind: {failure}", self.name));
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

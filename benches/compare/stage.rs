//! The programs of one measurement: started, watched, and ended by id, whatever happens.

use std::fs;
use std::io::{BufRead, BufReader, ErrorKind};
use std::net::{SocketAddr, TcpListener};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::Failure;

/// How long a program may take to listen.
const START_MAX: Duration = Duration::from_secs(10);
/// Between two looks whether it does: none of the peers tells.
const LOOK_EVERY: Duration = Duration::from_millis(2);

/// The programs that run, for when the whole is interrupted.
static RUNNING: Mutex<Vec<u32>> = Mutex::new(Vec::new());

/// Ends every program that still runs, without waiting for it.
pub(crate) fn end_all() {
    for id in RUNNING.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
        ask_to_end(id);
    }
}

fn ask_to_end(id: u32) -> bool {
    Pid::from_raw(id.cast_signed()).is_some_and(|pid| kill_process(pid, Signal::TERM).is_ok())
}

/// A program that was started. Dropped, it is ended.
#[derive(Debug)]
pub(crate) struct Program {
    child: Child,
}

/// What a program has used so far.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Usage {
    /// User and system time of all its threads and child processes.
    pub(crate) cpu_seconds: f64,
    /// Its resident memory that isn't backed by a file.
    pub(crate) memory_bytes: u64,
}

impl Program {
    pub(crate) fn start(command: &mut Command) -> Result<Self, Failure> {
        let name = command.get_program().display().to_string();
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .env_remove("RUST_LOG")
            .spawn()
            .map_err(|error| format!("{name}: {error}"))?;
        RUNNING.lock().unwrap_or_else(PoisonError::into_inner).push(child.id());
        Ok(Self { child })
    }

    /// Its first line of output.
    pub(crate) fn first_line(&mut self) -> Result<String, Failure> {
        let stdout = self.child.stdout.as_mut().ok_or("its output was taken already")?;
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line)?;
        Ok(line.trim_end().to_owned())
    }

    /// Waits until it accepts connections.
    pub(crate) fn await_listening(&mut self, address: SocketAddr) -> Result<(), Failure> {
        let until = Instant::now().checked_add(START_MAX).ok_or("no such time")?;
        while !is_listening(address.port())? {
            if let Some(status) = self.child.try_wait()? {
                return Err(format!("it ended with {status} before it listened on {address}").into());
            }
            if Instant::now() >= until {
                return Err(format!("it doesn't listen on {address}").into());
            }
            thread::park_timeout(LOOK_EVERY);
        }
        Ok(())
    }

    /// What it has used, with its children.
    pub(crate) fn usage(&self) -> Usage {
        usage_of(self.child.id())
    }
}

/// Read from the kernel's list, not tried: iperf3's server takes the first connection for its client. The format is in proc(5),
/// `/proc/net/tcp`; state 0A is LISTEN. Of the calling thread's network namespace.
fn is_listening(port: u16) -> Result<bool, Failure> {
    let wanted = format!(":{port:04X}");
    for table in ["/proc/thread-self/net/tcp", "/proc/thread-self/net/tcp6"] {
        let text = match fs::read_to_string(table) {
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            text => text?,
        };
        let is_found = text.lines().any(|line| {
            let mut fields = line.split_whitespace().skip(1);
            fields.next().is_some_and(|local| local.ends_with(&wanted)) && fields.nth(1) == Some("0A")
        });
        if is_found {
            return Ok(true);
        }
    }
    Ok(false)
}

impl Drop for Program {
    fn drop(&mut self) {
        let id = self.child.id();
        RUNNING
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .retain(|running| *running != id);
        // By TERM first: nginx's master takes its workers along only then.
        let asked = ask_to_end(id);
        let until = Instant::now().checked_add(Duration::from_millis(500));
        while asked && matches!(self.child.try_wait(), Ok(None)) && until.is_some_and(|until| Instant::now() < until) {
            // lb drains what is left of its sessions; nobody waits for that here.
            thread::park_timeout(LOOK_EVERY);
        }
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn usage_of(pid: u32) -> Usage {
    let mut sum = Usage::default();
    for entry in fs::read_dir(format!("/proc/{pid}/task"))
        .into_iter()
        .flatten()
        .flatten()
    {
        // proc(5): nanoseconds on a processor come first.
        let text = fs::read_to_string(entry.path().join("schedstat")).unwrap_or_default();
        let nanoseconds: f64 = text.split(' ').next().and_then(|word| word.parse().ok()).unwrap_or(0.0);
        sum.cpu_seconds += nanoseconds / 1e9;
        let children = fs::read_to_string(entry.path().join("children")).unwrap_or_default();
        for child in children.split_whitespace().filter_map(|word| word.parse().ok()) {
            let of_child = usage_of(child);
            sum.cpu_seconds += of_child.cpu_seconds;
            sum.memory_bytes = sum.memory_bytes.saturating_add(of_child.memory_bytes);
        }
    }
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let kib: u64 = status
        .lines()
        .find_map(|line| line.strip_prefix("RssAnon:"))
        .and_then(|rest| rest.split_whitespace().next()?.parse().ok())
        .unwrap_or(0);
    sum.memory_bytes = sum.memory_bytes.saturating_add(kib.saturating_mul(1024));
    sum
}

/// An address of the loopback interface that nobody listens on.
pub(crate) fn free_address() -> Result<SocketAddr, Failure> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

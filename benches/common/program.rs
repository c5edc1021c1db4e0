//! The programs of one measurement: started, watched, and ended by id, whatever happens.

use std::fs;
use std::io::{BufRead, BufReader, ErrorKind};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};

use super::Failure;

/// How long a program may take to listen.
const START_MAX: Duration = Duration::from_secs(10);
/// Between two looks whether it does: not every program tells.
const LOOK_EVERY: Duration = Duration::from_millis(2);
/// How long a program may take to end when it is asked to: lb drains what is left of its sessions, and nobody waits for that.
const END_MAX: Duration = Duration::from_millis(500);
/// Lines of its log that a failure tells.
const LOG_LINES: usize = 12;

/// The programs that run, for when the whole is interrupted.
static RUNNING: Mutex<Vec<u32>> = Mutex::new(Vec::new());

/// Ends every program that still runs, by TERM first, so that none is left when this one is gone.
pub(crate) fn end_all() {
    let mut running = std::mem::take(&mut *RUNNING.lock().unwrap_or_else(PoisonError::into_inner));
    running.retain(|id| signal(*id, Signal::TERM));
    let until = Instant::now().checked_add(END_MAX);
    while !running.is_empty() && until.is_some_and(|until| Instant::now() < until) {
        running.retain(|id| is_running(*id));
        thread::park_timeout(LOOK_EVERY);
    }
    for id in running {
        signal(id, Signal::KILL);
    }
}

fn signal(id: u32, signal: Signal) -> bool {
    Pid::from_raw(id.cast_signed()).is_some_and(|pid| kill_process(pid, signal).is_ok())
}

/// Whether this child of ours hasn't ended; takes its status if it has.
fn is_running(id: u32) -> bool {
    Pid::from_raw(id.cast_signed()).is_some_and(|pid| matches!(waitpid(Some(pid), WaitOptions::NOHANG), Ok(None)))
}

/// A program that was started. Dropped, it is ended.
#[derive(Debug)]
pub(crate) struct Program {
    name: String,
    child: Child,
    stdout: BufReader<ChildStdout>,
    log: PathBuf,
}

impl Program {
    /// Starts it; what it writes to standard error goes to `log`.
    pub(crate) fn start(command: &mut Command, log: &Path) -> Result<Self, Failure> {
        let path = Path::new(command.get_program());
        let name = path.file_name().unwrap_or(path.as_os_str()).display().to_string();
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(fs::File::create(log)?)
            .env_remove("RUST_LOG")
            .spawn()
            .map_err(|error| format!("{name}: {error}"))?;
        RUNNING.lock().unwrap_or_else(PoisonError::into_inner).push(child.id());
        let stdout = child.stdout.take().ok_or("a pipe was asked for")?;
        Ok(Self {
            name,
            child,
            stdout: BufReader::new(stdout),
            log: log.to_owned(),
        })
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Its next line of output; empty when it has ended.
    pub(crate) fn next_line(&mut self) -> Result<String, Failure> {
        let mut line = String::new();
        self.stdout.read_line(&mut line)?;
        Ok(line.trim_end().to_owned())
    }

    /// Waits for its end.
    pub(crate) fn wait(&mut self) -> Result<ExitStatus, Failure> {
        Ok(self.child.wait()?)
    }

    /// The end of what it wrote to standard error.
    pub(crate) fn log_tail(&self) -> String {
        let text = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        let (_, tail) = lines
            .split_at_checked(lines.len().saturating_sub(LOG_LINES))
            .unwrap_or_default();
        tail.join("\n")
    }

    /// Waits until it accepts connections.
    pub(crate) fn await_listening(&mut self, address: SocketAddr) -> Result<(), Failure> {
        let until = Instant::now().checked_add(START_MAX).ok_or("no such time")?;
        while !is_listening(address.port())? {
            if let Some(status) = self.child.try_wait()? {
                let (name, log) = (&self.name, self.log_tail());
                return Err(format!("{name} ended with {status} before it listened on {address}\n{log}").into());
            }
            if Instant::now() >= until {
                return Err(format!("{} doesn't listen on {address}\n{}", self.name, self.log_tail()).into());
            }
            thread::park_timeout(LOOK_EVERY);
        }
        Ok(())
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
        if !matches!(self.child.try_wait(), Ok(None)) {
            return; // its number may be another's by now
        }
        // By TERM first: nginx's master takes its workers along only then.
        let asked = signal(id, Signal::TERM);
        let until = Instant::now().checked_add(END_MAX);
        while asked && matches!(self.child.try_wait(), Ok(None)) && until.is_some_and(|until| Instant::now() < until) {
            thread::park_timeout(LOOK_EVERY);
        }
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// An address of the loopback interface that nobody listens on.
pub(crate) fn free_address() -> Result<SocketAddr, Failure> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

//! One process of a replica: its keeper's socket, its port, what it is doing.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{AddressFamily, SocketFlags, SocketType, connect, getpeername, getsockname, socket_with, sockopt};
use rustix::process::{Pid, Signal, kill_process};

use super::figures::Meter;
use crate::config;
use crate::keeper::{self, Order, Start};
use crate::types::Moment;

/// A connect to this machine is answered at once; who doesn't is asked again.
const CONNECT_MAX: Duration = Duration::from_millis(2);
/// What systemd told lb alone.
const NOT_INHERITED: [&str; 5] = [
    "LISTEN_FDS",
    "LISTEN_PID",
    "LISTEN_FDNAMES",
    "NOTIFY_SOCKET",
    "WATCHDOG_USEC",
];

/// What a process is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// It takes no connection yet.
    Starting {
        /// When it is looked again.
        look_at: Moment,
    },
    /// It does.
    Ready,
    /// No new sessions; it is stopped when the old ones have ended, but not before that moment.
    Draining { not_before: Moment },
    /// It was asked to end; its keeper kills it at that moment.
    Stopping { kill_at: Moment },
    /// It ended; its keeper tidies up.
    Ended,
}

/// One process.
#[derive(Debug)]
pub(super) struct Instance {
    /// Names it in the epoll set.
    pub(super) token: u64,
    pub(super) is_registered: bool,
    pub(super) name: String,
    pub(super) port: u16,
    pub(super) socket: OwnedFd,
    pub(super) keeper: u32,
    /// `None`: it hasn't been told yet.
    pub(super) pid: Option<u32>,
    /// See [`keeper::session_of`].
    pub(super) birth: Option<u64>,
    pub(super) program: config::Program,
    pub(super) started: Moment,
    pub(super) state: State,
    /// Until then another lb may have sessions on it.
    pub(super) others_until: Moment,
    pub(super) meter: Meter,
}

impl Instance {
    /// No new sessions from now on, and it goes when the old ones have ended.
    pub(super) fn drain(&mut self, now: Moment) {
        self.state = State::Draining {
            not_before: now.max(self.others_until),
        };
    }

    /// Starts a keeper, and tells it what to keep. `who` is for the list of processes.
    ///
    /// # Errors
    /// No process or descriptor is left.
    pub(super) fn start(
        keeper: &Path,
        who: (&str, &str),
        port: u16,
        program: &config::Program,
        now: Moment,
    ) -> io::Result<Self> {
        let (service, name) = who;
        let (ours, theirs) = keeper::pair()?;
        let start = Start {
            command: program.command.iter().map(|word| filled(word, name, port)).collect(),
            env: program
                .env
                .iter()
                .map(|(variable, value)| (variable.clone(), filled(value, name, port)))
                .collect(),
            working_directory: program.working_directory.clone(),
            user: program.user.clone(),
        };
        keeper::say(&ours, &Order::Start(start))?;
        let mut command = Command::new(keeper);
        command
            .arg0("lb")
            .arg("keep-replica")
            .arg(format!("{service}/{name}"))
            .stdin(Stdio::from(theirs))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // What is typed at lb's terminal is for lb.
            .process_group(0);
        for variable in NOT_INHERITED {
            command.env_remove(variable);
        }
        // Not waited for by this handle: the room reaps it by its id.
        let keeper = command.spawn()?.id();
        Ok(Self {
            token: 0,
            is_registered: false,
            name: name.to_owned(),
            port,
            socket: ours,
            keeper,
            pid: None,
            birth: None,
            program: program.clone(),
            started: now,
            state: State::Starting { look_at: now },
            others_until: Moment::START,
            meter: Meter::default(),
        })
    }

    pub(super) fn address(&self) -> SocketAddr {
        address(self.port)
    }

    /// Asks it to end. Its keeper may be gone already, which is heard soon.
    pub(super) fn stop(&mut self, grace: Duration, now: Moment) {
        if matches!(self.state, State::Stopping { .. } | State::Ended) {
            return;
        }
        let grace_ms = u64::try_from(grace.as_millis()).unwrap_or(u64::MAX);
        if let Err(error) = keeper::say(&self.socket, &Order::Stop { grace_ms }) {
            log::debug!("{}: its keeper can't be told to stop it: {error}", self.name);
        }
        self.state = State::Stopping {
            kill_at: now.plus(grace),
        };
    }

    /// The keeper doesn't do what it should: its end is that of the replica. Nobody else can have its id while its socket is open.
    pub(super) fn kill_keeper(&self) {
        let keeper = i32::try_from(self.keeper).ok().and_then(Pid::from_raw);
        if let Some(keeper) = keeper
            && let Err(error) = kill_process(keeper, Signal::KILL)
        {
            log::debug!("{}: its keeper can't be killed: {error}", self.name);
        }
    }

    /// When one that is starting is to be looked at next: often at first, as most are ready at once.
    pub(super) fn next_look(&self, now: Moment) -> Moment {
        let quarter = now.since(self.started).checked_div(4).unwrap_or_default();
        now.plus(quarter.clamp(Duration::from_millis(5), Duration::from_millis(250)))
    }
}

fn filled(text: &str, name: &str, port: u16) -> String {
    text.replace("{port}", &port.to_string()).replace("{name}", name)
}

/// Where a replica listens.
pub(super) fn address(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}

/// Whether nobody listens there.
pub(super) fn is_free(port: u16) -> bool {
    TcpListener::bind(address(port)).is_ok()
}

/// Whether somebody takes connections there.
pub(super) fn takes_connections(port: u16) -> bool {
    connects(address(port)).unwrap_or(false)
}

fn connects(address: SocketAddr) -> io::Result<bool> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::INET, SocketType::STREAM, flags, None)?;
    match connect(&socket, &address) {
        Ok(()) | Err(rustix::io::Errno::INPROGRESS) => {}
        Err(errno) => return Err(errno.into()),
    }
    let patience = Timespec::try_from(CONNECT_MAX).map_err(io::Error::other)?;
    poll(&mut [PollFd::new(&socket.as_fd(), PollFlags::OUT)], Some(&patience))?;
    sockopt::socket_error(&socket)??;
    // A port that the kernel hands out may connect to itself where nobody listens (RFC 9293, simultaneous open).
    Ok(
        SocketAddr::try_from(getpeername(&socket)?.ok_or(rustix::io::Errno::NOTCONN)?)?
            != SocketAddr::try_from(getsockname(&socket)?)?,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_free_taken_or_its_own() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        assert!(takes_connections(port) && !is_free(port));
        drop(listener);
        assert!(!takes_connections(port) && is_free(port));
        let everywhere = TcpListener::bind(("0.0.0.0", port)).unwrap();
        assert!(!is_free(port));
        drop(everywhere);
    }

    #[test]
    fn port_and_name_are_filled_in() {
        assert_eq!(filled("--l={port}:{name}{x}{port}", "a", 7), "--l=7:a{x}7");
    }
}

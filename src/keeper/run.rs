//! The life of a keeper: start, watch and tell, end, reap.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitOptions, WaitStatus, getpid, kill_process_group, set_child_subreaper, wait};
use signal_hook::consts::{SIGCHLD, SIGHUP, SIGINT, SIGTERM};

use super::family::kill_descendants;
use super::lines::{Allowance, Stream, without_waiting};
use super::start::start;
use super::{Heard, Order, Report, Start, hear, say};

/// lb is gone: so long from SIGTERM to SIGKILL.
const ORPHAN_GRACE: Duration = Duration::from_millis(700);
/// While the last ones are killed: they may have started others just before.
const KILL_AGAIN: Duration = Duration::from_millis(50);
/// Whoever isn't gone so long after SIGKILL hangs in the kernel; nobody can end it.
const GIVE_UP: Duration = Duration::from_secs(10);
/// lb has so long to send what is to be started.
const ORDER_MAX: Duration = Duration::from_secs(10);
/// Messages read, and chunks of output, before everything else gets its turn.
const TURN_MAX: usize = 16;
/// And so many turns when it has ended: more than a pipe holds.
const REST_TURNS_MAX: usize = 64;

/// What is to become of the replica.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Phase {
    Running,
    /// It was asked to end; what is left is killed then.
    Stopping(Instant),
    /// Everything is killed until nothing is left, or that moment.
    Killing(Instant),
}

struct Keeper<'s> {
    socket: BorrowedFd<'s>,
    /// Whether lb still listens.
    is_heard: bool,
    wake: UnixStream,
    is_told_to_stop: Arc<AtomicBool>,
    /// `None`: it has ended.
    main: Option<Pid>,
    /// Whether no child is left.
    is_alone: bool,
    phase: Phase,
    streams: [Stream; 2],
    allowance: Allowance,
    waiting: VecDeque<Report>,
    buffer: Vec<u8>,
}

/// Keeps what the other end of standard input asks for; returns when nothing of it is left.
#[must_use]
pub fn run() -> ExitCode {
    let socket = rustix::stdio::stdin();
    let kept = receive_start(socket).and_then(|wanted| {
        set_child_subreaper(Some(getpid()))?;
        let (wake, is_told_to_stop) = signals()?;
        match start(&wanted) {
            Ok(started) => {
                started.streams.iter().flatten().try_for_each(without_waiting)?;
                let mut keeper = Keeper {
                    socket,
                    is_heard: true,
                    wake,
                    is_told_to_stop,
                    main: Some(started.pid),
                    is_alone: false,
                    phase: Phase::Running,
                    streams: started.streams.map(Stream::new),
                    allowance: Allowance::new(Instant::now()),
                    waiting: VecDeque::new(),
                    buffer: Vec::new(),
                };
                keeper.tell(Report::Started {
                    pid: started.pid.as_raw_nonzero().get().unsigned_abs(),
                });
                keeper.keep()
            }
            Err(message) => say(socket, &Report::Failed { message }),
        }
    });
    if kept.is_ok() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn receive_start(socket: BorrowedFd<'_>) -> io::Result<Start> {
    let patience = Timespec::try_from(ORDER_MAX).map_err(io::Error::other)?;
    poll(&mut [PollFd::new(&socket, PollFlags::IN)], Some(&patience))?;
    match hear(socket, &mut Vec::new())? {
        Heard::Message(Order::Start(wanted)) => Ok(wanted),
        _ => Err(io::Error::other("lb starts this itself; there is nothing to type here")),
    }
}

/// Readable at each signal; and whether one of them asked to stop.
fn signals() -> io::Result<(UnixStream, Arc<AtomicBool>)> {
    let (wake, waker) = UnixStream::pair()?;
    wake.set_nonblocking(true)?;
    waker.set_nonblocking(true)?;
    let is_told_to_stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGTERM, SIGINT, SIGHUP] {
        signal_hook::flag::register(signal, Arc::clone(&is_told_to_stop))?;
    }
    for signal in [SIGCHLD, SIGTERM, SIGINT, SIGHUP] {
        signal_hook::low_level::pipe::register(signal, waker.try_clone()?)?;
    }
    Ok((wake, is_told_to_stop))
}

impl Keeper<'_> {
    fn keep(&mut self) -> io::Result<()> {
        loop {
            self.reap();
            let now = Instant::now();
            self.advance(now);
            self.read_streams(now);
            self.tell_waiting();
            let is_over = matches!(self.phase, Phase::Killing(give_up) if now >= give_up);
            if self.is_alone || is_over {
                // What was written before the end is in the pipes still.
                self.read_rest(now);
                self.tell_lost();
                self.tell_waiting();
                return Ok(());
            }
            self.wait(now)?;
            self.hear();
        }
    }

    /// Waits for the next thing to happen.
    fn wait(&self, now: Instant) -> io::Result<()> {
        let timeout = match self.phase {
            Phase::Running => None,
            Phase::Stopping(kill_at) => Some(kill_at.saturating_duration_since(now)),
            Phase::Killing(_) => Some(KILL_AGAIN),
        };
        let timeout = timeout.and_then(|span| Timespec::try_from(span).ok());
        let mut awaited = vec![PollFd::new(&self.wake, PollFlags::IN)];
        if self.is_heard {
            let has_more = !self.waiting.is_empty();
            let interest = if has_more {
                PollFlags::IN | PollFlags::OUT
            } else {
                PollFlags::IN
            };
            awaited.push(PollFd::new(&self.socket, interest));
        }
        let pipes = self.streams.iter().filter_map(Stream::pipe);
        awaited.extend(pipes.map(|pipe| PollFd::new(pipe, PollFlags::IN)));
        match poll(&mut awaited, timeout.as_ref()) {
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }

    /// What lb says, and whether it is there.
    fn hear(&mut self) {
        // Emptied, so that the next signal is an event again.
        let mut bytes = [0_u8; 64];
        while matches!(rustix::io::read(&self.wake, &mut bytes), Ok(1..)) {}
        if self.is_told_to_stop.swap(false, Relaxed) {
            self.stop(ORPHAN_GRACE);
        }
        for _ in 0..TURN_MAX {
            if !self.is_heard {
                return;
            }
            match hear(self.socket.as_fd(), &mut self.buffer) {
                Ok(Heard::Message(Order::Stop { grace_ms })) => self.stop(Duration::from_millis(grace_ms)),
                // Of a newer lb than this, which knows more orders.
                Ok(Heard::Message(Order::Start(_))) | Err(_) => {}
                Ok(Heard::Nothing) => return,
                Ok(Heard::End) => {
                    self.is_heard = false;
                    self.stop(ORPHAN_GRACE);
                }
            }
        }
    }

    /// Asks the replica to end; a second time only shortens what it has left.
    fn stop(&mut self, grace: Duration) {
        let kill_at = Instant::now().checked_add(grace).unwrap_or_else(Instant::now);
        match self.phase {
            Phase::Running => {
                self.phase = Phase::Stopping(kill_at);
                if let Some(main) = self.main {
                    // Not reaped yet: the group is the replica's. One that is stopped must go on to hear it.
                    for signal in [Signal::TERM, Signal::CONT] {
                        // It fails where all have ended just now.
                        let _gone = kill_process_group(main, signal);
                    }
                }
            }
            Phase::Stopping(before) => self.phase = Phase::Stopping(before.min(kill_at)),
            Phase::Killing(_) => {}
        }
    }

    /// What the time brings.
    fn advance(&mut self, now: Instant) {
        if matches!(self.phase, Phase::Stopping(kill_at) if now >= kill_at) {
            self.begin_to_kill(now);
        }
        if matches!(self.phase, Phase::Killing(_)) && !self.is_alone {
            if let Some(main) = self.main {
                let _gone = kill_process_group(main, Signal::KILL); // all have ended just now
            }
            kill_descendants(getpid());
            self.reap();
        }
    }

    fn begin_to_kill(&mut self, now: Instant) {
        self.phase = Phase::Killing(now.checked_add(GIVE_UP).unwrap_or(now));
    }

    /// Sees who has ended: the replica, and orphans of it, which are ours.
    fn reap(&mut self) {
        loop {
            match wait(WaitOptions::NOHANG) {
                Ok(Some((pid, status))) => {
                    if self.main == Some(pid) {
                        self.note_end(status);
                    }
                }
                Ok(None) => return,
                Err(Errno::INTR) => {}
                Err(_) => {
                    self.is_alone = true; // ECHILD
                    return;
                }
            }
        }
    }

    fn note_end(&mut self, status: WaitStatus) {
        self.main = None;
        let now = Instant::now();
        // Its last words first.
        self.read_rest(now);
        self.tell_lost();
        self.tell(Report::Exited {
            code: status.exit_status(),
            signal: status.terminating_signal(),
        });
        if self.phase == Phase::Running {
            self.begin_to_kill(now); // it didn't take along what it started
        }
    }

    /// What is in the pipes still. Bounded: somebody it left behind may write without end.
    fn read_rest(&mut self, now: Instant) {
        for _ in 0..REST_TURNS_MAX {
            if !self.read_streams(now) {
                return;
            }
        }
    }

    /// Whether there was anything, and may be more.
    fn read_streams(&mut self, now: Instant) -> bool {
        let mut lines = Vec::new();
        let mut has_more = false;
        for stream in &mut self.streams {
            for _ in 0..TURN_MAX {
                if !stream.read(&mut |line| lines.push(line)) {
                    break;
                }
                has_more = true;
            }
        }
        for text in lines {
            let has_room = self.is_heard && self.waiting.is_empty() && self.allowance.has_room(now);
            let is_told = has_room && say(self.socket, &Report::Line { text }).is_ok();
            self.allowance.note(is_told);
        }
        if self.allowance.has_room(now) && self.waiting.is_empty() {
            self.tell_lost();
        }
        has_more
    }

    fn tell_lost(&mut self) {
        let lines = self.allowance.take_lost();
        if lines > 0 && self.is_heard && say(self.socket, &Report::Lost { lines }).is_err() {
            self.allowance.keep_lost(lines);
        }
    }

    /// What lb must know waits until it reads.
    fn tell(&mut self, report: Report) {
        self.waiting.push_back(report);
        self.tell_waiting();
    }

    fn tell_waiting(&mut self) {
        while let Some(report) = self.waiting.front() {
            match say(self.socket, report) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock && self.is_heard => return,
                // Told, or there is nobody to tell: the next look at the socket finds its end.
                Ok(()) | Err(_) => drop(self.waiting.pop_front()),
            }
        }
    }
}

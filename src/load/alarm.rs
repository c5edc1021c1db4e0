//! Wakes an event loop at an instant, to some microseconds: a timerfd (timerfd_create(2)).
//!
//! `epoll_wait` counts in milliseconds, which would add up to one to every latency counted from a planned time; spinning
//! would take the core from the server under test. Used by `worker` with `--rate`.

use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

/// A timer of one event loop. Edge-triggered: every expiry is an event, nothing needs to be read.
pub(super) struct Alarm {
    timer: OwnedFd,
    set_for: Option<Instant>,
}

impl Alarm {
    pub(super) fn new(registry: &Registry, token: Token) -> io::Result<Self> {
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let timer = timerfd_create(TimerfdClockId::Monotonic, flags)?;
        registry.register(&mut SourceFd(&timer.as_raw_fd()), token, Interest::READABLE)?;
        Ok(Self { timer, set_for: None })
    }

    /// Makes the event come at `at`, at once if that is past.
    pub(super) fn set(&mut self, at: Instant) -> io::Result<()> {
        if self.set_for == Some(at) {
            return Ok(());
        }
        // Zero would switch the timer off.
        let left = at
            .saturating_duration_since(Instant::now())
            .max(Duration::from_nanos(1));
        let zero = Timespec { tv_sec: 0, tv_nsec: 0 };
        let once = Itimerspec {
            it_interval: zero,
            it_value: Timespec::try_from(left).unwrap_or(zero),
        };
        timerfd_settime(&self.timer, TimerfdTimerFlags::empty(), &once)?;
        self.set_for = Some(at);
        Ok(())
    }
}

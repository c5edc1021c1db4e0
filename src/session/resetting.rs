//! Passing a reset on without losing what came before it.
//!
//! A reset throws away what the kernel hasn't sent yet, so it waits until the peer's kernel has acknowledged everything. No event
//! tells that, so it is asked for: at once, then after 1, 2, 4, … up to 64 ms.

use std::time::Duration;

use super::direction::Wire;
use super::io::{Socket, World};
use crate::observe::End;
use crate::types::{Lane, Moment, Readiness};

/// The first pause between two looks.
const PAUSE_MIN: Duration = Duration::from_millis(1);
/// The longest.
const PAUSE_MAX: Duration = Duration::from_millis(64);

/// The side that lives, and has to learn that the other doesn't.
#[derive(Debug)]
pub(super) struct Resetting<W: World> {
    victim: Wire<W::Socket>,
    backend: W::Backend,
    end: End,
    look_at: Moment,
    pause: Duration,
    /// How long the victim may take nothing.
    patience: Duration,
    until: Moment,
    unacknowledged_then: u64,
}

impl<W: World> Resetting<W> {
    pub(super) fn new(
        victim: Wire<W::Socket>,
        backend: W::Backend,
        end: End,
        (now, patience): (Moment, Duration),
    ) -> Self {
        Self {
            victim,
            backend,
            end,
            look_at: Moment::START,
            pause: PAUSE_MIN,
            patience,
            until: now.plus(patience),
            unacknowledged_then: u64::MAX,
        }
    }

    pub(super) const fn backend(&self) -> &W::Backend {
        &self.backend
    }

    pub(super) fn deadline(&self) -> Moment {
        self.look_at.min(self.until)
    }

    /// Whether it is over: the victim is gone by itself.
    pub(super) fn on_event(&mut self, lane: Lane, ready: Readiness) -> bool {
        if lane == self.victim.lane {
            self.victim.note(ready);
        }
        self.victim.broken
    }

    /// Whether it is over: everything has arrived, or it has taken nothing for too long.
    pub(super) fn on_time(&mut self, now: Moment) -> bool {
        let unacknowledged = self.victim.socket.unacknowledged_bytes();
        if unacknowledged < self.unacknowledged_then {
            self.unacknowledged_then = unacknowledged;
            self.until = now.plus(self.patience);
        }
        if now >= self.until || unacknowledged == 0 {
            return true;
        }
        if now >= self.look_at {
            self.look_at = now.plus(self.pause);
            self.pause = self.pause.saturating_mul(2).min(PAUSE_MAX);
        }
        false
    }

    /// Drops the victim, which resets it.
    pub(super) fn into_parts(self) -> (W::Backend, End) {
        (self.backend, self.end)
    }
}

//! Moving bytes both ways until both sides have finished, or one is gone.
//!
//! FIN stays FIN: it is passed on behind every byte before it, and the other way lives on. RST stays RST: what the dead side sent
//! before is delivered, then the living side is reset.

use std::time::Duration;

use super::direction::{Direction, Ending, Flow, Pump, Wire};
use super::io::{Socket, World};
use super::resetting::Resetting;
use super::{SHORTAGE_PAUSE, SessionOptions};
use crate::observe::End;
use crate::types::{Lane, Moment, Readiness, Side, Way};

/// A client and its backend.
#[derive(Debug)]
pub(super) struct Relay<W: World> {
    client: Wire<W::Socket>,
    backend_wire: Wire<W::Socket>,
    to_backend: Direction<W::Pipe>,
    to_client: Direction<W::Pipe>,
    backend: W::Backend,
    /// When a byte last moved.
    active_at: Moment,
    /// What the peers' kernels hadn't acknowledged half-way through the silence; `None` before that.
    unacknowledged_then: Option<u64>,
    /// When to try again for want of memory.
    retry_at: Moment,
    /// Who finished or failed first: it is named in the end.
    first: First,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum First {
    Nobody,
    Finished(Side),
    Broke(Side),
}

/// What came of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Rest,
    Again,
    /// Both ways ended in order.
    Finished(End),
    /// One side is gone and everything it sent is delivered: the other is to be reset.
    Reset(Side, End),
    /// To be given up at once.
    Cut(End),
}

impl<W: World> Relay<W> {
    pub(super) const fn new(
        client: Wire<W::Socket>,
        backend_wire: Wire<W::Socket>,
        backend: W::Backend,
        now: Moment,
    ) -> Self {
        Self {
            client,
            backend_wire,
            to_backend: Direction::new(),
            to_client: Direction::new(),
            backend,
            active_at: now,
            unacknowledged_then: None,
            retry_at: Moment::NEVER,
            first: First::Nobody,
        }
    }

    pub(super) const fn backend(&self) -> &W::Backend {
        &self.backend
    }

    /// Bytes to the backend, and to the client.
    pub(super) const fn moved(&self) -> (u64, u64) {
        (self.to_backend.moved_bytes, self.to_client.moved_bytes)
    }

    fn is_half_closed(&self) -> bool {
        self.to_backend.flow != Flow::Open || self.to_client.flow != Flow::Open
    }

    fn silence_max(&self, options: &SessionOptions) -> Duration {
        if self.is_half_closed() {
            options.half_close_timeout
        } else {
            options.idle_timeout
        }
    }

    pub(super) fn deadline(&self, options: &SessionOptions) -> Moment {
        let silence_max = self.silence_max(options);
        let silence = if self.unacknowledged_then.is_none() {
            halved(silence_max)
        } else {
            silence_max
        };
        self.active_at.plus(silence).min(self.retry_at)
    }

    /// Whether a peer still takes what the kernel has for it: then it is slow, but not silent, though no byte moves here.
    /// That can only be asked for, so it is compared with what it was half-way.
    fn is_taking(&self) -> bool {
        self.unacknowledged_then
            .is_some_and(|then| self.unacknowledged_bytes() < then)
    }

    fn unacknowledged_bytes(&self) -> u64 {
        let of_client = self.client.socket.unacknowledged_bytes();
        of_client.saturating_add(self.backend_wire.socket.unacknowledged_bytes())
    }

    fn note_active(&mut self, now: Moment) {
        self.active_at = now;
        self.unacknowledged_then = None;
    }

    pub(super) fn on_event(&mut self, lane: Lane, ready: Readiness, world: &mut W) -> Verdict {
        if lane == Lane::CLIENT {
            self.client.note(ready);
        } else if lane == self.backend_wire.lane {
            self.backend_wire.note(ready);
        } else {
            return Verdict::Rest; // of a rival that lost in this very wake
        }
        self.turn(world)
    }

    pub(super) fn on_time(&mut self, world: &mut W) -> Verdict {
        let (silence, silence_max) = (world.now().since(self.active_at), self.silence_max(world.options()));
        if silence >= silence_max {
            if !self.is_taking() {
                let end = if self.is_half_closed() {
                    End::HalfCloseTimeout
                } else {
                    End::IdleTimeout
                };
                return Verdict::Cut(end);
            }
            self.note_active(world.now());
        } else if silence >= halved(silence_max) && self.unacknowledged_then.is_none() {
            self.unacknowledged_then = Some(self.unacknowledged_bytes());
        }
        self.turn(world)
    }

    /// Moves what can be moved, until nothing new is learnt of either side.
    fn turn(&mut self, world: &mut W) -> Verdict {
        self.retry_at = Moment::NEVER;
        let before = (self.moved(), self.to_backend.flow, self.to_client.flow);
        let mut goes_on = false;
        loop {
            self.spread_breakage();
            let known = (self.client.broken, self.backend_wire.broken);
            let to_backend = self.to_backend.pump(&mut self.client, &mut self.backend_wire, world);
            let to_client = self.to_client.pump(&mut self.backend_wire, &mut self.client, world);
            self.note_first();
            goes_on |= to_backend == Pump::Again || to_client == Pump::Again;
            if to_backend == Pump::Later || to_client == Pump::Later {
                self.retry_at = world.now().plus(SHORTAGE_PAUSE);
            }
            if known == (self.client.broken, self.backend_wire.broken) {
                break;
            }
        }
        let ((to_backend_before, to_client_before), ..) = before;
        let (to_backend, to_client) = self.moved();
        for (way, bytes) in [
            (Way::ToBackend, to_backend.saturating_sub(to_backend_before)),
            (Way::ToClient, to_client.saturating_sub(to_client_before)),
        ] {
            if bytes > 0 {
                world.note_moved(&self.backend, way, bytes);
            }
        }
        if before != (self.moved(), self.to_backend.flow, self.to_client.flow) {
            self.note_active(world.now());
        }
        self.verdict(goes_on)
    }

    /// A side that is gone takes no more, and however it had ended, it ended by a reset.
    fn spread_breakage(&mut self) {
        if self.client.broken {
            self.client.readable = true; // what it sent before may still be there, and then its end
            self.to_client.abandon();
            self.to_backend.source_broke();
        }
        if self.backend_wire.broken {
            self.backend_wire.readable = true;
            self.to_backend.abandon();
            self.to_client.source_broke();
        }
    }

    fn note_first(&mut self) {
        if matches!(self.first, First::Nobody | First::Finished(_)) {
            if self.client.broken {
                self.first = First::Broke(Side::Client);
            } else if self.backend_wire.broken {
                self.first = First::Broke(Side::Backend);
            } else if self.first == First::Nobody && self.to_backend.flow != Flow::Open {
                self.first = First::Finished(Side::Client);
            } else if self.first == First::Nobody && self.to_client.flow != Flow::Open {
                self.first = First::Finished(Side::Backend);
            }
        }
    }

    fn end(&self) -> End {
        match self.first {
            First::Broke(Side::Client) => End::ClientReset,
            First::Broke(Side::Backend) => End::BackendReset,
            First::Finished(Side::Backend) => End::BackendClosed,
            First::Finished(Side::Client) | First::Nobody => End::ClientClosed,
        }
    }

    fn verdict(&self, goes_on: bool) -> Verdict {
        match (self.to_backend.flow, self.to_client.flow) {
            (Flow::Ended(Ending::Fin), Flow::Ended(Ending::Fin)) => Verdict::Finished(self.end()),
            (Flow::Abandoned, Flow::Abandoned) => Verdict::Cut(self.end()),
            (Flow::Ended(Ending::Reset), _) => Verdict::Reset(Side::Backend, self.end()),
            (_, Flow::Ended(Ending::Reset)) => Verdict::Reset(Side::Client, self.end()),
            _ if goes_on => Verdict::Again,
            _ => Verdict::Rest,
        }
    }

    /// Both ways have ended in order.
    pub(super) fn close(self) -> W::Backend {
        self.client.socket.close();
        self.backend_wire.socket.close();
        self.backend
    }

    /// Neither side gets an orderly end: both are reset as they are dropped.
    pub(super) fn cut(self) -> W::Backend {
        self.backend
    }

    /// The dead side is closed now; `victim` is reset as soon as it has everything.
    pub(super) fn into_resetting(self, victim: Side, end: End, until: Moment) -> Resetting<W> {
        let wire = match victim {
            Side::Client => self.client,
            Side::Backend => self.backend_wire,
        };
        Resetting::new(wire, self.backend, end, until)
    }
}

fn halved(span: Duration) -> Duration {
    span.checked_div(2).unwrap_or(span)
}

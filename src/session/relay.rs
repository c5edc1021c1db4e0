//! Moving bytes both ways until both sides have finished, or one is gone.
//!
//! FIN stays FIN: it is passed on behind every byte before it, and the other way lives on. RST stays RST: what the dead side sent
//! before is delivered, then the living side is reset.

use std::time::Duration;

use super::direction::{Direction, Ending, Flow, Opening, Pump, Wire};
use super::io::{Socket, World};
use super::latency::Stopwatch;
use super::liveness::Liveness;
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
    /// When a byte last moved, or a peer's kernel was last found to have taken some.
    active_at: Moment,
    /// When that was last looked at, and what the peers' kernels hadn't acknowledged then.
    looked_at: Moment,
    unacknowledged_then: Option<u64>,
    liveness: Liveness,
    /// When to try again for want of memory.
    retry_at: Moment,
    /// Who finished or failed first: it is named in the end.
    first: First,
    handshake: HandshakeEnd,
    stopwatch: Stopwatch,
}

/// Where the last acknowledgement of the connect is, without which the backend doesn't see the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum HandshakeEnd {
    /// It may travel with what the client says, which mostly is on its way.
    Waits,
    /// The client has been given until the next turn; the backend may be who speaks first.
    LastCall,
    Said,
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
    pub(super) fn new(
        client: Wire<W::Socket>,
        backend_wire: Wire<W::Socket>,
        backend: W::Backend,
        opening: Opening,
        (now, measures): (Moment, bool),
    ) -> Self {
        Self {
            client,
            backend_wire,
            to_backend: Direction::opened_by(opening),
            to_client: Direction::new(),
            backend,
            active_at: now,
            looked_at: now,
            unacknowledged_then: None,
            liveness: Liveness::new(),
            retry_at: Moment::NEVER,
            first: First::Nobody,
            handshake: HandshakeEnd::Waits,
            stopwatch: if measures {
                Stopwatch::ready(now)
            } else {
                Stopwatch::Off
            },
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

    /// Whether one way still holds bytes that its target hasn't taken.
    fn holds_bytes(&self) -> bool {
        self.to_backend.holds_bytes() || self.to_client.holds_bytes()
    }

    /// Whether one side has finished and nothing here waits for the other to take it: the other is silent if it says nothing.
    fn waits_for_the_other(&self) -> bool {
        self.is_half_closed() && !self.holds_bytes()
    }

    fn is_broken(&self) -> bool {
        self.client.broken || self.backend_wire.broken
    }

    /// The longest silence, whatever is pending.
    fn patience(&self, options: &SessionOptions) -> Duration {
        if self.is_broken() {
            options.half_close_timeout
        } else if self.is_half_closed() {
            options.idle_timeout.max(options.half_close_timeout)
        } else {
            options.idle_timeout
        }
    }

    pub(super) fn deadline(&self, options: &SessionOptions) -> Moment {
        let (patience, half_close_timeout) = (self.patience(options), options.half_close_timeout);
        let (mut deadline, mut pause) = (self.active_at.plus(patience), patience);
        if self.waits_for_the_other() {
            pause = pause.min(half_close_timeout);
            let at = self.active_at.plus(half_close_timeout);
            if self.looked_at < at {
                deadline = deadline.min(at);
            }
        }
        let pause = self.looked_at.plus(halved(pause));
        deadline.min(pause).min(self.retry_at).min(self.liveness.deadline())
    }

    /// Looks how long it has been silent. A peer that still takes what the kernel has for it is slow, not silent, though no byte
    /// moves here; that can only be asked for, so it is compared with what it was at the last look.
    fn look(&mut self, now: Moment, options: &SessionOptions) -> Option<End> {
        let of_client = self.client.socket.unacknowledged_bytes();
        let unacknowledged = of_client.saturating_add(self.backend_wire.socket.unacknowledged_bytes());
        let is_taking = self.unacknowledged_then.is_some_and(|then| unacknowledged < then);
        self.looked_at = now;
        self.unacknowledged_then = Some(unacknowledged);
        if is_taking {
            self.active_at = now;
            return None;
        }
        let silence = now.since(self.active_at);
        if self.waits_for_the_other() && unacknowledged == 0 && silence >= options.half_close_timeout {
            return Some(End::HalfCloseTimeout);
        }
        let end = if self.is_broken() { self.end() } else { End::IdleTimeout };
        (silence >= self.patience(options)).then_some(end)
    }

    fn note_active(&mut self, now: Moment) {
        self.active_at = now;
        self.looked_at = now;
        self.unacknowledged_then = None;
    }

    pub(super) fn on_event(&mut self, lane: Lane, ready: Readiness, world: &mut W) -> Verdict {
        self.note_event(lane, ready);
        self.turn(world)
    }

    /// Whether it moves much at a time, so that others should have their turn first.
    pub(super) const fn is_bulk(&self) -> bool {
        self.to_backend.is_bulk() || self.to_client.is_bulk()
    }

    /// One of its sockets has news; it will be called for its turn.
    pub(super) fn note_event(&mut self, lane: Lane, ready: Readiness) {
        if lane == Lane::CLIENT {
            self.client.note(ready);
        } else if lane == self.backend_wire.lane {
            self.backend_wire.note(ready);
        } // else of a rival that lost in this very wake
    }

    pub(super) fn on_time(&mut self, world: &mut W) -> Verdict {
        let now = world.now();
        self.liveness
            .look(now, world.options(), &mut self.client, &mut self.backend_wire);
        if now >= self.deadline(world.options())
            && let Some(end) = self.look(now, world.options())
        {
            return Verdict::Cut(end);
        }
        let verdict = self.turn(world);
        if self.handshake == HandshakeEnd::LastCall {
            self.handshake = HandshakeEnd::Said;
            self.backend_wire.socket.acknowledge();
        }
        verdict
    }

    /// The pair stands: the client's first bytes are passed on, if they are there.
    pub(super) fn begin(&mut self, world: &mut W) -> Verdict {
        self.liveness.note_written(world.now(), world.options()); // its peers are asked for once, also if it says nothing
        let verdict = self.turn(world);
        if self.handshake == HandshakeEnd::Waits {
            self.handshake = HandshakeEnd::LastCall;
            return match verdict {
                Verdict::Rest => Verdict::Again,
                _ => verdict,
            };
        }
        verdict
    }

    /// Moves what can be moved, until nothing new is learnt of either side.
    fn turn(&mut self, world: &mut W) -> Verdict {
        self.retry_at = Moment::NEVER;
        let before = (self.moved(), self.to_backend.flow, self.to_client.flow);
        let header_before = self.to_backend.header_left();
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
        let moved = (
            to_backend.saturating_sub(to_backend_before),
            to_client.saturating_sub(to_client_before),
        );
        for (way, bytes) in [(Way::ToBackend, moved.0), (Way::ToClient, moved.1)] {
            if bytes > 0 {
                world.note_moved(&self.backend, way, bytes);
            }
        }
        if self.stopwatch != Stopwatch::Off {
            let asked = (&self.backend, &self.backend_wire.socket);
            self.stopwatch.note((moved.0 > 0, moved.1 > 0), asked, world);
        }
        let has_introduced = self.to_backend.header_left() < header_before;
        if has_introduced || before != (self.moved(), self.to_backend.flow, self.to_client.flow) {
            self.note_active(world.now());
            self.liveness.note_written(world.now(), world.options());
        }
        if to_backend > 0 || has_introduced || self.to_backend.flow != Flow::Open {
            self.handshake = HandshakeEnd::Said;
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

    /// It ends like this: what is still to be told of the backend.
    pub(super) fn note_end(&self, end: End, world: &mut W) {
        self.stopwatch.note_end(end, &self.backend, world);
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
    pub(super) fn into_resetting(self, victim: Side, end: End, patience: (Moment, Duration)) -> Resetting<W> {
        let wire = match victim {
            Side::Client => self.client,
            Side::Backend => self.backend_wire,
        };
        Resetting::new(wire, self.backend, end, patience)
    }
}

fn halved(span: Duration) -> Duration {
    span.checked_div(2).unwrap_or(span)
}

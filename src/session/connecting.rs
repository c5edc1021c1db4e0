//! From accept to a backend that has taken the connection.
//!
//! A connect that fails is tried on another backend at once; one that is silent for `hedge_after` gets a rival beside it, and
//! the first that stands wins. Until then not a byte is read from the client, so none can be lost; what came along with a header of
//! the PROXY protocol waits here.

use std::net::SocketAddr;
use std::time::Duration;

use super::direction::{Opening, Wire};
use super::io::{Connect, World};
use super::{SHORTAGE_PAUSE, Socket};
use crate::observe::End;
use crate::types::{BackendId, ConnectFailure, Lane, Moment, Readiness};

/// A client without a backend yet.
#[derive(Debug)]
pub(super) struct Connecting<W: World> {
    client: Wire<W::Socket>,
    /// The client's bytes that came along with its header.
    rest: Box<[u8]>,
    /// Where the client connected to, as its header says.
    destination: Option<SocketAddr>,
    attempts: Vec<Attempt<W>>,
    tried: Vec<BackendId>,
    next_lane: Lane,
    /// When a rival is due.
    race_at: Moment,
    /// When to try again for want of a descriptor or of memory.
    retry_at: Moment,
    /// How long that is worth waiting for.
    patience_until: Moment,
}

/// One connect under way.
#[derive(Debug)]
struct Attempt<W: World> {
    wire: Wire<W::Socket>,
    backend: W::Backend,
    lane: Lane,
    started: Moment,
    deadline: Moment,
    /// Held by all but the first.
    race: Option<W::Race>,
}

/// What came of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    Waiting,
    /// The attempt at this place stands.
    Connected(usize),
    Failed(End),
}

/// The pair.
pub(super) struct Connected<W: World> {
    pub(super) client: Wire<W::Socket>,
    /// What the backend gets first.
    pub(super) opening: Opening,
    pub(super) backend_wire: Wire<W::Socket>,
    pub(super) backend: W::Backend,
    pub(super) took: Duration,
}

impl<W: World> Connecting<W> {
    pub(super) fn new(client: Wire<W::Socket>, rest: Box<[u8]>, destination: Option<SocketAddr>) -> Self {
        Self {
            client,
            rest,
            destination,
            attempts: Vec::with_capacity(1),
            tried: Vec::with_capacity(1),
            next_lane: Lane::FIRST_ATTEMPT,
            race_at: Moment::NEVER,
            retry_at: Moment::NEVER,
            patience_until: Moment::START,
        }
    }

    /// Other backends tried so far.
    pub(super) fn retries(&self) -> u8 {
        u8::try_from(self.tried.len().saturating_sub(1)).unwrap_or(u8::MAX)
    }

    pub(super) fn deadline(&self) -> Moment {
        self.attempts
            .iter()
            .map(|attempt| attempt.deadline)
            .fold(self.race_at.min(self.retry_at), Moment::min)
    }

    /// Tries the first backend.
    pub(super) fn begin(&mut self, world: &mut W) -> Progress {
        self.patience_until = world.now().plus(world.options().connect_timeout);
        self.try_another(None, world);
        self.progress()
    }

    pub(super) fn on_event(&mut self, lane: Lane, ready: Readiness, world: &mut W) -> Progress {
        if lane == Lane::CLIENT {
            self.client.note(ready);
            // A FIN is no farewell: the client may have sent all it has to say, and wait for the answer.
            return if self.client.broken {
                Progress::Failed(End::ClientReset)
            } else {
                self.progress()
            };
        }
        let Some(place) = self.attempts.iter().position(|attempt| attempt.lane == lane) else {
            return self.progress(); // of an attempt that was given up in this very wake
        };
        let Some(attempt) = self.attempts.get_mut(place) else {
            return self.progress();
        };
        if !ready.writable {
            return self.progress(); // a connect is over when the socket can be written to, whichever way it went
        }
        match attempt.wire.socket.connect_outcome() {
            Connect::Pending => {}
            Connect::Up => {
                // The error was asked for just now, and there was none: what an older event said of one is settled.
                attempt.wire.note(Readiness { broken: false, ..ready });
                return Progress::Connected(place);
            }
            Connect::UpAndReset => {
                attempt.wire.note(Readiness {
                    broken: true,
                    readable: true,
                    ..ready
                });
                return Progress::Connected(place);
            }
            Connect::Failed(failure) => self.give_up(place, failure, world),
        }
        self.progress()
    }

    /// Gives up what is overdue, and sends a rival where one is due.
    pub(super) fn on_time(&mut self, world: &mut W) -> Progress {
        let now = world.now();
        while let Some(place) = self.attempts.iter().position(|attempt| attempt.deadline <= now) {
            self.give_up(place, ConnectFailure::TimedOut, world);
        }
        if self.retry_at <= now {
            self.retry_at = Moment::NEVER;
            self.try_another(None, world);
        }
        if self.race_at <= now {
            // Too many races already, or nobody left to try: another look after the same time.
            self.race_at = world.options().hedge_after.map_or(Moment::NEVER, |span| now.plus(span));
            if let Some(race) = world.race() {
                self.try_another(Some(race), world);
            }
        }
        self.progress()
    }

    fn progress(&self) -> Progress {
        match (
            self.attempts.is_empty() && self.retry_at == Moment::NEVER,
            self.tried.is_empty(),
        ) {
            (false, _) => Progress::Waiting,
            (true, false) => Progress::Failed(End::ConnectFailed),
            (true, true) => Progress::Failed(End::NoBackend),
        }
    }

    /// Closes a failed attempt before the next one opens, and goes on with another backend.
    fn give_up(&mut self, place: usize, failure: ConnectFailure, world: &mut W) {
        if place >= self.attempts.len() {
            return;
        }
        let Attempt {
            wire, backend, race, ..
        } = self.attempts.swap_remove(place);
        drop(wire);
        world.note_connect_failed(&backend, failure);
        drop(backend);
        // The place in the race goes on to the successor, if it is not alone anyway.
        let race = if self.attempts.is_empty() { None } else { race };
        self.try_another(race, world);
    }

    /// Starts one more attempt, on the first backend that can even be tried.
    fn try_another(&mut self, mut race: Option<W::Race>, world: &mut W) {
        let tries_max = usize::from(world.options().connect_retries).saturating_add(1);
        while self.tried.len() < tries_max {
            let Some(backend) = world.pick(&self.tried) else { return };
            let (now, lane) = (world.now(), self.next_lane);
            let connected = world.connect(&backend, lane);
            if let Err(failure) = connected
                && failure.is_shortage()
                && self.attempts.is_empty()
                && now < self.patience_until
            {
                self.retry_at = now.plus(SHORTAGE_PAUSE);
                return;
            }
            if !self.tried.is_empty() {
                world.note_redispatch();
            }
            self.tried.push(W::id(&backend));
            self.next_lane = lane.next();
            match connected {
                Ok(socket) => {
                    self.retry_at = Moment::NEVER;
                    let deadline = now.plus(world.options().connect_timeout);
                    let wire = Wire::new(socket, lane);
                    self.attempts.push(Attempt {
                        wire,
                        backend,
                        lane,
                        started: now,
                        deadline,
                        race: race.take(),
                    });
                    let rival_after = world.options().hedge_after.filter(|_| self.tried.len() < tries_max);
                    self.race_at = rival_after.map_or(Moment::NEVER, |span| now.plus(span));
                    return;
                }
                Err(failure) => world.note_connect_failed(&backend, failure),
            }
        }
    }

    /// The pair, once the attempt at `place` stands; its rivals are reset.
    pub(super) fn into_connected(mut self, place: usize, world: &mut W) -> Option<Connected<W>> {
        if place >= self.attempts.len() {
            return None;
        }
        let Attempt {
            wire, backend, started, ..
        } = self.attempts.swap_remove(place);
        let took = world.now().since(started);
        // Those that are still silent haven't failed: they are slow, this once.
        let is_open = |id: &BackendId| self.attempts.iter().any(|attempt| W::id(&attempt.backend) == *id);
        self.tried.retain(|id| *id != W::id(&backend) && !is_open(id));
        world.note_connected(&backend, took, &self.tried);
        let header = world.header(&self.client.socket, self.destination);
        Some(Connected {
            client: self.client,
            opening: Opening::new(header, self.rest),
            backend_wire: wire,
            backend,
            took,
        })
    }
}

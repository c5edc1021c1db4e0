//! The balancer's side of the simulation: `Socket` and `World` over the simulated kernel, with everything counted by guards.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::fmt::Arguments;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use lb::observe::RefusedReason;
use lb::proxy_protocol::Endpoints;
use lb::session::{Connect, Outstanding, Read, SessionOptions, Socket, World, Write};
use lb::types::{BackendId, ConnectFailure, Lane, Moment, Side, Way};

use super::kernel::{Buffers, CLIENT, Fate, Fd, Id, Kernel, Link};

pub(crate) type Shared = Rc<RefCell<Kernel>>;

#[derive(Debug)]
pub(crate) struct SimSocket {
    kernel: Shared,
    id: Id,
    is_closed: bool,
}

impl SimSocket {
    pub(crate) fn new(kernel: &Shared, id: Id) -> Self {
        Self {
            kernel: Rc::clone(kernel),
            id,
            is_closed: false,
        }
    }
}

impl Drop for SimSocket {
    fn drop(&mut self) {
        // Not while a failed check unwinds through the kernel.
        if !self.is_closed
            && let Ok(mut kernel) = self.kernel.try_borrow_mut()
        {
            kernel.reset(self.id);
        }
    }
}

/// What a splice went through: places in the stream of a side.
#[derive(Debug)]
pub(crate) struct SimPipe {
    kernel: Shared,
    segments: VecDeque<(u64, usize)>,
    from: Side,
}

impl SimPipe {
    fn bytes(&self) -> usize {
        self.segments.iter().map(|(_, bytes)| bytes).sum()
    }
}

impl Drop for SimPipe {
    fn drop(&mut self) {
        if let Ok(mut kernel) = self.kernel.try_borrow_mut() {
            kernel.pipes_out -= 1;
        }
    }
}

impl Socket for SimSocket {
    type Pipe = SimPipe;

    fn receive(&mut self, into: &mut [u8]) -> Read {
        self.kernel.borrow_mut().receive(self.id, into)
    }

    fn send(&mut self, bytes: &[u8]) -> Write {
        self.kernel.borrow_mut().send(self.id, bytes)
    }

    fn splice_in(&mut self, pipe: &mut SimPipe) -> Read {
        let mut kernel = self.kernel.borrow_mut();
        let (place, read) = kernel.splice_in(self.id, pipe.segments.len(), pipe.bytes());
        if let Read::Bytes(bytes) = read {
            pipe.segments.push_back((place, bytes));
            pipe.from = kernel.sockets[self.id].side;
        }
        read
    }

    fn splice_out(&mut self, pipe: &mut SimPipe, bytes: usize) -> Write {
        let mut kernel = self.kernel.borrow_mut();
        let held = pipe.bytes();
        if bytes != held {
            kernel.violate(format!("splices {bytes} bytes out of a pipe that holds {held}"));
        }
        let Some((place, length)) = pipe.segments.front_mut() else {
            return Write::Wait;
        };
        let write = kernel.splice_out(self.id, (*length).min(bytes), *place, pipe.from);
        if let Write::Bytes(sent) = write {
            *place += sent as u64;
            *length -= sent;
            if *length == 0 {
                pipe.segments.pop_front();
            }
        }
        write
    }

    fn finish(&mut self) -> bool {
        self.kernel.borrow_mut().finish(self.id)
    }

    fn connect_outcome(&mut self) -> Connect {
        self.kernel.borrow_mut().connect_outcome(self.id)
    }

    fn acknowledge(&mut self) {
        self.kernel.borrow_mut().acknowledge(self.id);
    }

    fn round_trip(&self) -> Option<Duration> {
        self.kernel.borrow().round_trip
    }

    fn unacknowledged_bytes(&self) -> u64 {
        self.kernel.borrow().sockets[self.id].unacknowledged as u64
    }

    fn outstanding(&self, _: Duration) -> Outstanding {
        match &self.kernel.borrow().sockets[self.id] {
            socket if socket.unacknowledged == 0 => Outstanding::Nothing,
            socket if socket.is_cut_off => Outstanding::Unanswered,
            _ => Outstanding::Recent,
        }
    }

    fn keep_alive(&mut self) {
        self.kernel.borrow_mut().sockets[self.id].is_kept_alive = true;
    }

    fn close(mut self) {
        self.is_closed = true;
        self.kernel.borrow_mut().close(self.id);
    }
}

/// One more of something for as long as it lives.
#[derive(Debug)]
pub(crate) struct Counted(Rc<Cell<usize>>);

impl Counted {
    fn new(counter: &Rc<Cell<usize>>) -> Self {
        counter.set(counter.get() + 1);
        Self(Rc::clone(counter))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

#[derive(Debug)]
pub(crate) struct Hold {
    id: BackendId,
    _count: Counted,
}

#[derive(Debug)]
pub(crate) struct SimWorld {
    pub(crate) kernel: Shared,
    pub(crate) options: SessionOptions,
    pub(crate) scratch: Vec<u8>,
    /// How many backends there are.
    pub(crate) backends: u32,
    pub(crate) races_max: usize,
    pub(crate) holds: Rc<Cell<usize>>,
    pub(crate) races: Rc<Cell<usize>>,
    /// How the connects will go, one after the other; then all go well.
    pub(crate) plans: VecDeque<(Fate, Duration)>,
    pub(crate) buffers: Buffers,
    pub(crate) picked: Vec<BackendId>,
    pub(crate) picks_in_vain: u32,
    pub(crate) failures: Vec<(BackendId, ConnectFailure)>,
    pub(crate) redispatches: u32,
    pub(crate) connected: Vec<BackendId>,
    /// As measured of the backend that won.
    pub(crate) latencies: Vec<Duration>,
    /// What it let a first question wait for, and never answered.
    pub(crate) unanswered: Vec<Duration>,
    /// What backends get first.
    pub(crate) header: Vec<u8>,
    /// Whom the client's header names; `None`: it is none. `Some(None)`: nobody.
    pub(crate) expected: Option<Option<Endpoints>>,
    /// Whom it was said to name.
    pub(crate) introduced: Option<Option<Endpoints>>,
    introduced_at: Option<Moment>,
    /// Whether a client is turned away for what its header says.
    pub(crate) is_refusing: bool,
    pub(crate) refusals: Vec<RefusedReason>,
    /// As noted: to the backend, to the client.
    pub(crate) moved: (u64, u64),
}

impl SimWorld {
    pub(crate) fn new(kernel: Kernel, options: SessionOptions, scratch_bytes: usize, buffers: Buffers) -> Self {
        Self {
            kernel: Rc::new(RefCell::new(kernel)),
            options,
            scratch: vec![0; scratch_bytes],
            backends: 3,
            races_max: 1,
            holds: Rc::default(),
            races: Rc::default(),
            plans: VecDeque::new(),
            buffers,
            picked: Vec::new(),
            picks_in_vain: 0,
            failures: Vec::new(),
            redispatches: 0,
            connected: Vec::new(),
            latencies: Vec::new(),
            unanswered: Vec::new(),
            header: Vec::new(),
            expected: None,
            introduced: None,
            introduced_at: None,
            is_refusing: false,
            refusals: Vec::new(),
            moved: (0, 0),
        }
    }

    fn check_measured(&self, backend: &Hold) {
        if self.options.latency_every.is_none() || self.connected.last() != Some(&backend.id) {
            let mut kernel = self.kernel.borrow_mut();
            kernel.violate(format!("measured {:?}, and nobody asked", backend.id));
        }
    }

    /// When it began to look for a backend.
    fn connects_from(&self, kernel: &Kernel) -> Moment {
        self.introduced_at.unwrap_or(kernel.sockets[CLIENT].opened)
    }

    /// What a connect must hold to: enough leave for those under way, and none of them known to be dead.
    fn check_connect(&self, lane: Lane) {
        let mut kernel = self.kernel.borrow_mut();
        let mut alive = 0;
        let mut wrong = Vec::new();
        for (id, socket) in kernel.sockets.iter().enumerate().skip(1) {
            if socket.fd != Fd::Open {
                continue;
            }
            alive += 1;
            if socket.is_settled {
                wrong.push(format!("connects again before {id}, which failed, is closed"));
            }
            if socket.lane == lane {
                wrong.push(format!("{lane:?} belongs to {id} already"));
            }
        }
        if alive > self.races.get() {
            wrong.push(format!(
                "{alive} connects under way, and leave to race for {}",
                self.races.get()
            ));
        }
        for what in wrong {
            kernel.violate(what);
        }
    }
}

impl World for SimWorld {
    type Socket = SimSocket;
    type Pipe = SimPipe;
    type Backend = Hold;
    type Race = Counted;

    fn now(&self) -> Moment {
        self.kernel.borrow().now
    }

    fn options(&self) -> &SessionOptions {
        &self.options
    }

    fn introduce(&mut self, proxied: Option<&Endpoints>) -> Result<(), RefusedReason> {
        let said = Some(proxied.copied());
        let mut kernel = self.kernel.borrow_mut();
        if said != self.expected || self.introduced.is_some() {
            let (expected, before) = (self.expected, self.introduced);
            kernel.violate(format!("introduces {said:?} instead of {expected:?}, after {before:?}"));
        }
        let client = &kernel.sockets[CLIENT];
        if client.header_read < client.header_in.len() {
            kernel.violate("introduces before the header is there".to_owned());
        }
        self.introduced = said;
        self.introduced_at = Some(kernel.now);
        if self.is_refusing {
            Err(RefusedReason::ServiceLimit)
        } else {
            Ok(())
        }
    }

    fn note_refused(&mut self, reason: RefusedReason, _why: Arguments<'_>) {
        self.refusals.push(reason);
    }

    fn header(&mut self, _client: &SimSocket, destination: Option<SocketAddr>) -> Vec<u8> {
        let mut kernel = self.kernel.borrow_mut();
        let said = self.introduced.flatten().map(|endpoints| endpoints.destination);
        if destination != said {
            kernel.violate(format!("tells of {destination:?} instead of {said:?}"));
        }
        match kernel.winner {
            Some(winner) => kernel.sockets[winner].header_out.clone_from(&self.header),
            None => kernel.violate("a header, and no backend to get it".to_owned()),
        }
        self.header.clone()
    }

    fn pick(&mut self, tried: &[BackendId]) -> Option<Hold> {
        let mut kernel = self.kernel.borrow_mut();
        if self.options.is_introduced && self.introduced.is_none() {
            kernel.violate("picks before it knows for whom".to_owned());
        }
        if tried != self.picked {
            let picked = &self.picked;
            kernel.violate(format!("says it tried {tried:?}, but got {picked:?}"));
        }
        let left: Vec<u32> = (0..self.backends)
            .filter(|id| !tried.contains(&BackendId(*id)))
            .collect();
        let chance = kernel.faults.pick_none;
        if left.is_empty() || kernel.rng.percent(chance) {
            self.picks_in_vain += 1;
            return None;
        }
        let id = BackendId(kernel.rng.pick(&left));
        self.picked.push(id);
        Some(Hold {
            id,
            _count: Counted::new(&self.holds),
        })
    }

    fn id(backend: &Hold) -> BackendId {
        backend.id
    }

    fn connect(&mut self, backend: &Hold, lane: Lane) -> Result<SimSocket, ConnectFailure> {
        self.check_connect(lane);
        let (fate, delay) = self.plans.pop_front().unwrap_or((Fate::Up, Duration::from_millis(1)));
        let mut kernel = self.kernel.borrow_mut();
        kernel.trace(|| format!("  connect to {:?} by {lane:?}: {fate:?} in {delay:?}", backend.id));
        kernel.progress += 1;
        if let Fate::Immediate(failure) = fate {
            let is_alone = kernel.sockets.iter().skip(1).all(|attempt| attempt.fd != Fd::Open);
            let patience_until = self.connects_from(&kernel).plus(self.options.connect_timeout);
            if failure.is_shortage() && is_alone && kernel.now < patience_until {
                self.picked.pop(); // it says nothing of the backend, which may be tried again
            }
            return Err(failure);
        }
        let at = kernel.now.plus(delay);
        let id = kernel.open(
            Side::Backend,
            lane,
            Some(backend.id),
            Link::Pending(fate, at),
            self.buffers,
        );
        Ok(SimSocket::new(&self.kernel, id))
    }

    fn race(&mut self) -> Option<Counted> {
        (self.races.get() < self.races_max).then(|| Counted::new(&self.races))
    }

    fn note_latency(&mut self, backend: &Hold, took: Duration) {
        self.check_measured(backend);
        self.latencies.push(took);
    }

    fn note_unanswered(&mut self, backend: &Hold, waited: Duration) {
        self.check_measured(backend);
        self.unanswered.push(waited);
    }

    fn note_connected(&mut self, backend: &Hold, _took: Duration, failed: &[BackendId]) {
        self.connected.push(backend.id);
        let mut kernel = self.kernel.borrow_mut();
        // Told in the order of the picks, however they came about.
        let noted = |id: &&BackendId| self.failures.iter().any(|(failed, _)| failed == *id);
        let known: Vec<BackendId> = self.picked.iter().filter(noted).copied().collect();
        if failed != known {
            kernel.violate(format!("says {failed:?} failed, but it was {known:?}"));
        }
        kernel.active_at = kernel.now;
        kernel.winner = kernel
            .sockets
            .iter()
            .position(|socket| socket.backend == Some(backend.id) && socket.fd == Fd::Open);
        if kernel.winner.is_none_or(|winner| !kernel.sockets[winner].is_up()) {
            kernel.violate(format!("connected to {:?}, which isn't up", backend.id));
        }
    }

    fn note_connect_failed(&mut self, backend: &Hold, failure: ConnectFailure) {
        self.failures.push((backend.id, failure));
    }

    fn note_redispatch(&mut self) {
        self.redispatches += 1;
    }

    fn note_moved(&mut self, _backend: &Hold, way: Way, bytes: u64) {
        match way {
            Way::ToBackend => self.moved.0 += bytes,
            Way::ToClient => self.moved.1 += bytes,
        }
    }

    fn scratch(&mut self) -> &mut [u8] {
        &mut self.scratch
    }

    fn borrow_pipe(&mut self) -> Option<SimPipe> {
        let mut kernel = self.kernel.borrow_mut();
        let chance = kernel.faults.no_pipe;
        if kernel.rng.percent(chance) {
            return None;
        }
        kernel.pipes_out += 1;
        kernel.pipes_ever += 1;
        if kernel.pipes_out > 2 {
            kernel.violate("more than one pipe a way".to_owned());
        }
        Some(SimPipe {
            kernel: Rc::clone(&self.kernel),
            segments: VecDeque::new(),
            from: Side::Client,
        })
    }

    fn return_pipe(&mut self, pipe: SimPipe) {
        if pipe.bytes() > 0 {
            let id = CLIENT;
            self.kernel
                .borrow_mut()
                .violate(format!("returns a pipe with bytes in it (client is {id})"));
        }
        drop(pipe);
    }
}

//! The simulated kernel: TCP sockets as epoll, recv, send and splice of Linux show them, and the peers' ends of them.
//!
//! Bytes are not stored: each is a function of its side and place, made when read and compared when written. What a session must
//! never do is noted in `violations` at the call that does it; the driver looks after every call.

use std::collections::VecDeque;
use std::time::Duration;

use lb::types::{BackendId, ConnectFailure, Lane, Moment, Readiness, Side};

use super::rng::Rng;

/// A socket's place in [`Kernel::sockets`]; the client's is 0.
pub(crate) type Id = usize;
pub(crate) const CLIENT: Id = 0;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fd {
    Open,
    Closed,
    Reset,
}

/// How a connect goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    Up,
    /// Up, so many bytes, RST: all before the balancer looks.
    UpThenReset(usize),
    /// Up, so many bytes, FIN: all before the balancer looks.
    UpThenFin(usize),
    Fails(ConnectFailure),
    Silent,
    /// `connect` itself fails.
    Immediate(ConnectFailure),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Link {
    Pending(Fate, Moment),
    Up,
    Failed(ConnectFailure),
}

/// Room in the buffers of one socket and its peer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Buffers {
    pub(crate) receive: usize,
    pub(crate) send: usize,
    pub(crate) peer: usize,
}

#[derive(Debug)]
pub(crate) struct Tcp {
    pub(crate) side: Side,
    pub(crate) lane: Lane,
    pub(crate) backend: Option<BackendId>,
    pub(crate) opened: Moment,
    pub(crate) fd: Fd,
    pub(crate) link: Link,
    /// The last acknowledgement of its handshake waits to travel with bytes: the backend doesn't see the connection.
    pub(crate) owes_handshake: bool,
    /// The balancer knows how the connect went.
    pub(crate) is_settled: bool,
    pub(crate) buffers: Buffers,
    /// What stands before the bytes that are counted and compared, of the peer and of the balancer; and how much of it has come, was
    /// read, was sent.
    pub(crate) header_in: Vec<u8>,
    pub(crate) header_out: Vec<u8>,
    pub(crate) header_arrived: usize,
    pub(crate) header_read: usize,
    pub(crate) header_sent: usize,
    pub(super) segments: VecDeque<usize>,
    /// Bytes that wait to be read.
    pub(crate) waiting: usize,
    pub(crate) arrived: u64,
    pub(crate) read: u64,
    pub(crate) fin_arrived: bool,
    pub(crate) rst_arrived: bool,
    /// SO_ERROR is set.
    pub(super) error: bool,
    /// Where urgent data was sent; the urgent byte itself is not in the stream.
    pub(super) urgent_at: Option<u64>,
    /// Accepted by the kernel, not yet by the peer's.
    pub(crate) unacknowledged: usize,
    pub(crate) sent: u64,
    pub(crate) is_finished: bool,
    /// A write was refused or cut short: room will be an event.
    pub(crate) is_short: bool,
    pub(crate) edge: bool,
    /// A call said `Wait`, and no event came since: to ask again is a call for nothing.
    pub(crate) is_refused: bool,
    pub(crate) is_exhausted: bool,
    /// A read gave the end.
    pub(super) is_read_out: bool,
    /// Calls in which the session learnt of FIN and of RST.
    pub(crate) fin_told: Option<u64>,
    pub(crate) rst_told: Option<u64>,
    /// In the peer's kernel, unread.
    pub(crate) peer_waiting: usize,
    pub(crate) peer_read: u64,
    pub(crate) is_peer_closed: bool,
    /// Its network is gone: nothing is ever acknowledged again.
    pub(crate) is_cut_off: bool,
    /// The kernel was told to ask a silent peer.
    pub(crate) is_kept_alive: bool,
}

impl Tcp {
    pub(crate) const fn room(&self) -> usize {
        self.buffers.send.saturating_sub(self.unacknowledged)
    }

    /// So many of some bytes that come or go belong to a header of which there was so much before.
    pub(super) fn part_of(header: &[u8], before: &mut usize, bytes: usize) -> usize {
        let part = bytes.min(header.len() - *before);
        *before += part;
        part
    }

    /// The peer hasn't got all of the header that comes first.
    pub(crate) fn lacks_header(&self) -> bool {
        self.header_sent < self.header_out.len()
    }

    pub(crate) fn is_up(&self) -> bool {
        self.link == Link::Up
    }

    /// Something to read, or an end that was not read yet.
    pub(crate) const fn has_news(&self) -> bool {
        self.waiting > 0
            || (self.fin_arrived && self.fin_told.is_none())
            || (self.rst_arrived && self.rst_told.is_none())
    }

    fn ready(&self) -> Readiness {
        if let Link::Failed(_) = self.link {
            return Readiness {
                readable: true,
                writable: true,
                read_closed: true,
                urgent: false,
                broken: true,
            };
        }
        let hung_up = self.rst_arrived || (self.fin_arrived && self.is_finished);
        Readiness {
            readable: self.waiting > 0 || self.fin_arrived || hung_up,
            writable: self.room() * 3 >= self.buffers.send || hung_up,
            read_closed: self.fin_arrived || hung_up,
            urgent: self.urgent_at.is_some(),
            broken: self.error,
        }
    }
}

/// Chances, in a hundred calls.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Faults {
    pub(crate) later: u64,
    pub(crate) no_pipe: u64,
    pub(crate) no_splice: bool,
    pub(crate) pick_none: u64,
}

#[derive(Debug)]
pub(crate) struct Kernel {
    pub(crate) now: Moment,
    pub(crate) rng: Rng,
    pub(crate) seed: u64,
    pub(crate) sockets: Vec<Tcp>,
    pub(crate) winner: Option<Id>,
    pub(crate) faults: Faults,
    pub(crate) pipe_slots: usize,
    pub(crate) pipe_bytes: usize,
    /// Of every connection, as the kernel knows it.
    pub(crate) round_trip: Option<Duration>,
    pub(crate) violations: Vec<String>,
    /// Calls into the session so far.
    pub(crate) call: u64,
    /// Socket calls since the session was last called, and what they brought.
    pub(crate) operations: u64,
    pub(crate) progress: u64,
    pub(crate) was_short_of_memory: bool,
    /// When the relay last got on.
    pub(crate) active_at: Moment,
    /// When a peer's kernel last took something.
    pub(crate) acknowledged_at: Moment,
    pub(crate) pipes_out: usize,
    pub(crate) pipes_ever: u64,
    pub(crate) splices_in_vain: u32,
    pub(crate) notes: Vec<String>,
    pub(crate) is_tracing: bool,
}

impl Kernel {
    pub(crate) fn new(seed: u64, rng: Rng) -> Self {
        Self {
            now: Moment::from_nanos(1_000_000_000),
            rng,
            seed,
            sockets: Vec::new(),
            winner: None,
            faults: Faults::default(),
            pipe_slots: 16,
            pipe_bytes: 65_536,
            round_trip: None,
            violations: Vec::new(),
            call: 0,
            operations: 0,
            progress: 0,
            was_short_of_memory: false,
            active_at: Moment::START,
            acknowledged_at: Moment::START,
            pipes_out: 0,
            pipes_ever: 0,
            splices_in_vain: 0,
            notes: Vec::new(),
            is_tracing: false,
        }
    }

    pub(crate) fn open(
        &mut self,
        side: Side,
        lane: Lane,
        backend: Option<BackendId>,
        link: Link,
        buffers: Buffers,
    ) -> Id {
        self.sockets.push(Tcp {
            side,
            lane,
            backend,
            opened: self.now,
            fd: Fd::Open,
            link,
            owes_handshake: side == Side::Backend,
            is_settled: false,
            buffers,
            header_in: Vec::new(),
            header_out: Vec::new(),
            header_arrived: 0,
            header_read: 0,
            header_sent: 0,
            segments: VecDeque::new(),
            waiting: 0,
            arrived: 0,
            read: 0,
            fin_arrived: false,
            rst_arrived: false,
            error: false,
            urgent_at: None,
            unacknowledged: 0,
            sent: 0,
            is_finished: false,
            is_short: false,
            edge: false,
            is_refused: false,
            is_exhausted: false,
            is_read_out: false,
            fin_told: None,
            rst_told: None,
            peer_waiting: 0,
            peer_read: 0,
            is_peer_closed: false,
            is_cut_off: false,
            is_kept_alive: false,
        });
        self.sockets.len() - 1
    }

    pub(crate) fn trace(&mut self, what: impl FnOnce() -> String) {
        if self.is_tracing {
            let at = self.now.since(Moment::from_nanos(1_000_000_000));
            self.notes.push(format!("{at:?} {}", what()));
        }
    }

    pub(crate) fn violate(&mut self, what: String) {
        self.trace(|| format!("VIOLATION {what}"));
        self.violations.push(what);
    }

    /// The other end of the relay.
    pub(crate) fn other(&self, id: Id) -> Option<Id> {
        if id == CLIENT { self.winner } else { Some(CLIENT) }
    }

    pub(crate) fn told_broken(&mut self, id: Id) {
        let (call, now) = (self.call, self.now);
        let socket = &mut self.sockets[id];
        if socket.rst_told.is_none() {
            socket.rst_told = Some(call);
            self.active_at = now;
        }
    }

    /// The peer sends one segment; `false`: the window is full.
    pub(crate) fn peer_sends(&mut self, id: Id, bytes: usize) -> bool {
        let socket = &mut self.sockets[id];
        if socket.waiting + bytes > socket.buffers.receive || bytes == 0 || socket.fin_arrived || socket.rst_arrived {
            return false;
        }
        socket.segments.push_back(bytes);
        socket.waiting += bytes;
        let of_header = Tcp::part_of(&socket.header_in, &mut socket.header_arrived, bytes);
        socket.arrived += (bytes - of_header) as u64;
        socket.edge = true;
        self.trace(|| format!("peer {id} sends {bytes}"));
        true
    }

    /// The peer sends a byte out of band, behind what it has sent so far.
    pub(crate) fn peer_urges(&mut self, id: Id) {
        self.trace(|| format!("peer {id} urges"));
        let socket = &mut self.sockets[id];
        socket.urgent_at = Some(socket.arrived);
        socket.edge = true;
    }

    pub(crate) fn peer_fins(&mut self, id: Id) {
        self.trace(|| format!("peer {id} FIN"));
        let socket = &mut self.sockets[id];
        if !socket.rst_arrived {
            socket.fin_arrived = true;
            socket.edge = true;
        }
    }

    /// Closes its end: a FIN, or a RST if it leaves something unread; what comes later is answered by RST.
    pub(crate) fn peer_closes(&mut self, id: Id) {
        self.sockets[id].is_peer_closed = true;
        if self.sockets[id].peer_waiting > 0 {
            self.peer_resets(id);
        } else {
            self.peer_fins(id);
        }
    }

    pub(crate) fn peer_resets(&mut self, id: Id) {
        self.trace(|| format!("peer {id} RST"));
        let socket = &mut self.sockets[id];
        socket.rst_arrived = true;
        socket.error = true;
        socket.is_short = false;
        socket.edge = true;
    }

    /// The network carries up to so many bytes to the peer's kernel.
    pub(crate) fn carry(&mut self, id: Id, bytes: usize) {
        let socket = &mut self.sockets[id];
        let bytes = if socket.is_peer_closed {
            bytes.min(socket.unacknowledged)
        } else {
            bytes
                .min(socket.unacknowledged)
                .min(socket.buffers.peer - socket.peer_waiting)
        };
        if bytes == 0 || socket.rst_arrived || socket.is_cut_off {
            return;
        }
        if socket.is_peer_closed {
            return self.peer_resets(id);
        }
        socket.unacknowledged -= bytes;
        socket.peer_waiting += bytes;
        self.acknowledged_at = self.now;
        let socket = &mut self.sockets[id];
        if socket.is_short && socket.room() * 3 >= socket.buffers.send {
            socket.is_short = false;
            socket.edge = true;
        }
        self.trace(|| format!("peer {id} acknowledges {bytes}"));
    }

    pub(crate) fn peer_reads(&mut self, id: Id, bytes: usize) {
        let socket = &mut self.sockets[id];
        let bytes = bytes.min(socket.peer_waiting);
        socket.peer_waiting -= bytes;
        socket.peer_read += bytes as u64;
    }

    /// Whether the peer has read everything and sees the FIN behind it.
    pub(crate) fn peer_sees_fin(&self, id: Id) -> bool {
        let socket = &self.sockets[id];
        (socket.is_finished || socket.fd == Fd::Closed)
            && socket.unacknowledged == 0
            && socket.peer_waiting == 0
            && !socket.rst_arrived
    }

    /// The connect comes to what was planned.
    pub(crate) fn settle(&mut self, id: Id) {
        let Link::Pending(fate, _) = self.sockets[id].link else {
            return;
        };
        self.trace(|| format!("connect {id}: {fate:?}"));
        self.sockets[id].edge = true;
        self.sockets[id].link = Link::Up;
        match fate {
            Fate::Up => {}
            Fate::UpThenReset(bytes) => {
                self.peer_sends(id, bytes);
                self.peer_resets(id);
            }
            Fate::UpThenFin(bytes) => {
                self.peer_sends(id, bytes);
                self.peer_fins(id);
            }
            Fate::Fails(failure) | Fate::Immediate(failure) => self.sockets[id].link = Link::Failed(failure),
            Fate::Silent => {
                self.sockets[id].link = Link::Pending(fate, Moment::NEVER);
                self.sockets[id].edge = false;
            }
        }
    }

    /// What `epoll_wait` says of a socket: nothing without an edge, else all it is ready for now.
    pub(crate) fn poll(&mut self, id: Id) -> Option<Readiness> {
        let socket = &mut self.sockets[id];
        if socket.fd != Fd::Open || !std::mem::take(&mut socket.edge) {
            return None;
        }
        let ready = socket.ready();
        (ready != Readiness::default()).then_some(ready)
    }
}

pub(crate) const fn opposite(side: Side) -> Side {
    match side {
        Side::Client => Side::Backend,
        Side::Backend => Side::Client,
    }
}

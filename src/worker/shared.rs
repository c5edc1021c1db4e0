//! What other threads see of a worker.

use std::cell::Cell;
use std::collections::HashSet;
use std::fmt;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded, unbounded};

use crate::fence::SourcePermit;
use crate::observe::End;
use crate::pool::{Backend, Limiter, Permit};
use crate::service::Service;
use crate::session::PhaseName;
use crate::sys::Doorbell;
use crate::types::{BackendId, ClientAddr, ServiceId, SessionKey, WorkerId};

/// Accepted connections that may wait for a worker: a few milliseconds of its work. Full means: stop accepting.
const INBOX_ARRIVALS: usize = 512;

/// An accepted connection on its way to a worker.
#[derive(Debug)]
pub struct Arrival {
    /// Its socket; dropped, it is closed.
    pub socket: OwnedFd,
    /// Whose it is.
    pub client: ClientAddr,
    /// Its place in all the counts.
    pub ticket: Ticket,
}

/// What a connection that was let in has taken: given back when dropped.
#[derive(Debug)]
pub struct Places {
    /// Under the limit of the process.
    pub process: Permit,
    /// Under that of the service.
    pub service: Permit,
    /// Under those of its source, if it has any.
    pub source: Option<SourcePermit>,
}

/// The place of an accepted connection in every count: given back when dropped, with the end it came to.
#[derive(Debug)]
pub struct Ticket {
    /// Its service.
    pub service: Arc<Service>,
    /// How it ended. If nobody says, the balancer itself is to blame.
    pub end: End,
    /// Whether a backend has counted the end as well.
    is_backends: bool,
    places: Places,
    worker: Option<Permit>,
}

impl Ticket {
    /// A connection that was let in.
    #[must_use]
    pub fn new(service: Arc<Service>, places: Places) -> Self {
        service.counters.accepted();
        Self {
            service,
            end: End::Shutdown,
            is_backends: false,
            places,
            worker: None,
        }
    }

    /// Whose it is was learnt later than that it came: what it takes of its source.
    pub fn note_source(&mut self, source: SourcePermit) {
        self.places.source = Some(source);
    }

    /// It ended so, with this backend, after so long.
    pub fn end_with(&mut self, end: End, backend: &Backend, lasted: Duration) {
        self.end = end;
        // Only ever once: an end that a backend has counted stays counted.
        if !std::mem::replace(&mut self.is_backends, true) {
            backend.note_ended(end, lasted);
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let counters = &self.service.counters;
        if self.is_backends {
            counters.ended(self.end);
        } else {
            counters.ended_without_backend(self.end);
        }
    }
}

/// What `control` may ask of a worker.
#[derive(Debug)]
pub enum Order {
    /// Stop when the last session has ended.
    Finish,
    /// End every session at once, for this reason, by reset.
    EndAll(End),
    /// The same of the sessions on some backends; those that are only trying to reach it go on.
    EndOn(Arc<HashSet<BackendId>>, End),
    /// End one session. A key that is no longer anybody's is answered by `false`.
    EndOne(SessionKey, End, Reply<bool>),
    /// Tell of the live sessions.
    Tell(Wanted, Reply<Vec<LiveSession>>),
    /// Fail, to see what a fault costs.
    #[cfg(test)]
    Panic,
}

/// Where an answer goes: called on the worker's thread, so it must be quick and may not block.
pub struct Reply<T>(Box<dyn FnOnce(T) + Send>);

impl<T> Reply<T> {
    /// An answer goes there.
    pub fn new(to: impl FnOnce(T) + Send + 'static) -> Self {
        Self(Box::new(to))
    }

    pub(super) fn send(self, answer: T) {
        (self.0)(answer);
    }
}

impl<T> fmt::Debug for Reply<T> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Reply")
    }
}

/// Which live sessions are told of.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// Of this service only.
    pub service: Option<ServiceId>,
    /// On backends of this name only.
    pub backend: Option<String>,
    /// At most so many.
    pub limit: usize,
}

/// A live session, at one moment.
#[derive(Clone, Debug)]
pub struct LiveSession {
    /// Its key at its worker.
    pub key: SessionKey,
    /// Its service.
    pub service: Arc<str>,
    /// Who connected.
    pub client: ClientAddr,
    /// Whom to; `None` while it is connecting.
    pub backend: Option<Arc<str>>,
    /// How far it is.
    pub phase: PhaseName,
    /// Since it was accepted.
    pub age: Duration,
    /// Client to backend.
    pub bytes_to_backend: u64,
    /// Backend to client.
    pub bytes_to_client: u64,
}

/// The other threads' end of a worker; cheap to clone.
#[derive(Clone, Debug)]
pub struct WorkerHandle {
    /// Which worker.
    pub id: WorkerId,
    inbox: Sender<Arrival>,
    orders: Sender<Order>,
    doorbell: Arc<Doorbell>,
    sessions: Arc<Limiter>,
}

/// The worker's own end.
#[derive(Debug)]
pub(super) struct Mailbox {
    pub(super) inbox: Receiver<Arrival>,
    pub(super) orders: Receiver<Order>,
    pub(super) doorbell: Arc<Doorbell>,
    /// Orders that stand for good: whatever ends one life of the loop, the next one obeys them too.
    pub(super) is_finishing: Cell<bool>,
    pub(super) all_end: Cell<Option<End>>,
    /// How often the loop began.
    lives: Cell<u32>,
    /// Wakes the acceptor, if it waits for room in an inbox.
    acceptor: Arc<Doorbell>,
}

impl WorkerHandle {
    /// Both ends of a new worker. `acceptor` is woken when an inbox that was full has room again.
    ///
    /// # Errors
    /// No descriptor is left.
    pub(super) fn new(id: WorkerId, acceptor: Arc<Doorbell>) -> io::Result<(Self, Mailbox)> {
        let (inbox, arrivals) = bounded(INBOX_ARRIVALS);
        let (orders, ordered) = unbounded();
        let doorbell = Arc::new(Doorbell::new()?);
        let handle = Self {
            id,
            inbox,
            orders,
            doorbell: Arc::clone(&doorbell),
            sessions: Arc::new(Limiter::new(None)),
        };
        Ok((
            handle,
            Mailbox {
                inbox: arrivals,
                orders: ordered,
                doorbell,
                is_finishing: Cell::new(false),
                all_end: Cell::new(None),
                lives: Cell::new(0),
                acceptor,
            },
        ))
    }

    /// Sessions it has, those in its inbox among them.
    #[must_use]
    pub fn sessions(&self) -> u32 {
        self.sessions.active()
    }

    /// Whether its inbox has room. With one acceptor that stays true until it hands something over.
    #[must_use]
    pub fn has_room(&self) -> bool {
        !self.inbox.is_full()
    }

    /// Hands a connection over; [`WorkerHandle::wake`] after the last one of a burst.
    ///
    /// # Errors
    /// The connection back, if there is no room after all.
    pub fn hand_over(&self, mut arrival: Arrival) -> Result<(), Arrival> {
        arrival.ticket.worker = self.sessions.take();
        self.inbox
            .try_send(arrival)
            .map_err(|(TrySendError::Full(arrival) | TrySendError::Disconnected(arrival))| arrival)
    }

    /// Wakes it, if it sleeps.
    pub fn wake(&self) {
        self.doorbell.wake();
    }

    /// Gives an order. A worker that is gone needs none.
    pub fn order(&self, order: Order) {
        if self.orders.send(order).is_ok() {
            self.doorbell.wake();
        }
    }
}

impl Mailbox {
    /// Another life of the loop begins. The generation of its first sessions: a hundred million of one slot's owners fit between two lives.
    pub(super) fn begin_life(&self) -> u32 {
        let life = self.lives.replace(self.lives.get().wrapping_add(1));
        life.wrapping_mul(100_000_007)
    }

    /// Whether anything waits.
    pub(super) fn is_empty(&self) -> bool {
        self.inbox.is_empty() && self.orders.is_empty()
    }

    /// Takes one connection.
    pub(super) fn take(&self) -> Option<Arrival> {
        self.inbox.try_recv().ok()
    }

    /// The inbox has room: an acceptor that waits for it may go on.
    pub(super) fn tell_room(&self) {
        self.acceptor.wake();
    }
}

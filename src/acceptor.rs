//! The acceptor: one thread, all listeners, handing each connection to the worker with the fewest sessions.
//!
//! Started by `control`. It never drops what it could have left in the kernel's queue: no room in any inbox, or no descriptor left,
//! and it stops accepting until there is. What a limit forbids it takes and refuses at once, by RST, so that the client knows.

use std::cell::RefCell;
use std::io;
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use crossbeam_channel::Receiver;

use crate::observe::{AccessLog, ProcessCounters, RefusedReason, Seldom, SessionRecord, supervise};
use crate::pool::Limiter;
use crate::service::Service;
use crate::sys::{self, AllowedCalls, Clock, Decision, Doorbell, LoopThread, Memory, Poller, Stop};
use crate::types::{ClientAddr, Moment};
use crate::worker::{Arrival, Places, Ticket, WorkerHandle};

/// Connections taken from one listener before the next gets its turn.
const BURST: usize = 64;
/// After so many bursts of one connection the acceptor looks whether there is a second. It costs an accept4(2) that makes a socket
/// and a file before it finds that there is none; with one at a time, asking epoll again is a third of that.
const LONE_BURSTS: u32 = 8;
/// How long it stops when descriptors or memory are short: nothing tells when they aren't any more.
const SHORTAGE_PAUSE: Duration = Duration::from_millis(50);
/// How long the last look into the kernel's queues may take when lb stops.
const SWEEP_MAX: Duration = Duration::from_secs(1);
/// From one look at the memory to the next; each costs some microseconds.
const MEMORY_PAUSE: Duration = Duration::from_millis(100);
/// The token of the wake-up; listeners have their place in the list.
const WAKE_TOKEN: u64 = u64::MAX;

/// A bound address of a service.
#[derive(Clone, Debug)]
pub struct Listener {
    /// Non-blocking. Kept by `control` too, so that a reload keeps the very same socket.
    pub socket: Arc<TcpListener>,
    /// Whose it is.
    pub service: Arc<Service>,
}

/// What the acceptor works with.
#[derive(Debug)]
pub struct Acceptor {
    /// What it accepts from; orders exchange it, so that a new life of the loop knows it too.
    pub listeners: RefCell<Vec<Listener>>,
    /// Other listeners, all of them at once. What waits at those that are missing is taken before they close.
    pub orders: Receiver<Vec<Listener>>,
    /// Whom it hands over to.
    pub workers: Vec<WorkerHandle>,
    /// How many sessions the process may have.
    pub process: Arc<Limiter>,
    /// How much memory.
    pub memory: Arc<Memory>,
    /// Counts of the process.
    pub counters: Arc<ProcessCounters>,
    /// Where those that are refused are told.
    pub access_log: AccessLog,
    /// By which workers tell that they have room.
    pub doorbell: Arc<Doorbell>,
    /// Turns of its loop, for whoever wants to know whether it still goes round.
    pub turns: Arc<AtomicU64>,
    /// The system calls that it may make.
    pub calls: AllowedCalls,
}

impl Acceptor {
    /// Starts the thread.
    ///
    /// # Errors
    /// No descriptor, or no thread, is left.
    pub fn spawn(self) -> io::Result<LoopThread> {
        let mut first = Some(Poller::open()?);
        LoopThread::spawn("acceptor", Arc::clone(&self.doorbell), move |stop| {
            // A worker on the same core isn't interrupted for every connection that comes; they are taken together, when it rests.
            if let Err(error) = sys::wake_without_preempting() {
                log::debug!("acceptor: SCHED_BATCH: {error}");
            }
            self.calls.enforce_or_tell("acceptor");
            supervise("acceptor", &self.counters, || {
                let poller = first.take().map_or_else(Poller::open, Ok)?;
                Loop::new(&self, poller)?.run(stop);
                io::Result::Ok(())
            });
        })
    }
}

/// One life of the thread.
struct Loop<'a> {
    acceptor: &'a Acceptor,
    poller: Poller,
    is_listening: bool,
    /// Nothing is accepted before.
    short_until: Moment,
    warnings: Seldom,
    /// When this burst began.
    now: Moment,
    /// When the memory was looked at, and what was found to be short: the limit, and what is used of it, in bytes.
    memory: (Moment, Option<(u64, u64)>),
    /// Workers that were given something and are still to be woken.
    given: Vec<bool>,
    /// Bursts in a row that brought one connection; 0 = the next one looks whether there are more.
    lone_bursts: u32,
}

impl<'a> Loop<'a> {
    fn new(acceptor: &'a Acceptor, poller: Poller) -> io::Result<Self> {
        poller.add_readable(acceptor.doorbell.waker(), WAKE_TOKEN, false)?;
        Ok(Self {
            acceptor,
            poller,
            is_listening: false,
            short_until: Moment::START,
            warnings: Seldom::default(),
            now: Moment::START,
            memory: (Moment::START, None),
            given: vec![false; acceptor.workers.len()],
            lone_bursts: 0,
        })
    }

    fn run(&mut self, stop: &Stop) {
        loop {
            self.acceptor.turns.fetch_add(1, Relaxed);
            self.acceptor.doorbell.announce(); // only now do workers tell that they have room
            let now = Clock::now();
            let is_short = now < self.short_until;
            let has_room = self.least_busy().is_some();
            self.listen(has_room && !is_short);
            if has_room {
                self.acceptor.doorbell.over();
            }
            let timeout = is_short.then(|| self.short_until.since(now));
            if let Err(error) = self.poller.wait(timeout) {
                log::error!("acceptor: waiting for events: {error}");
            }
            self.acceptor.doorbell.over();
            for number in 0..self.poller.count() {
                if let Some(listener) = self.poller.event(number).and_then(|event| self.listener(event.token)) {
                    self.burst(&listener);
                }
            }
            self.wake_given();
            while let Ok(listeners) = self.acceptor.orders.try_recv() {
                self.exchange(listeners);
            }
            if stop.is_asked() {
                let listeners = self.acceptor.listeners.borrow().clone();
                return self.sweep(&listeners);
            }
        }
    }

    /// Takes what had been accepted by the kernel before the listeners close: to a client these are connections already. Bounded in
    /// time, since more may come as fast as they are taken.
    fn sweep(&mut self, listeners: &[Listener]) {
        self.listen(false); // from here on only room in an inbox wakes
        let until = Clock::now().plus(SWEEP_MAX);
        loop {
            let mut is_empty = true;
            for listener in listeners {
                is_empty &= self.burst(listener);
            }
            self.wake_given();
            let now = Clock::now();
            if is_empty || now >= until || now < self.short_until {
                return;
            }
            self.acceptor.doorbell.announce();
            if self.least_busy().is_none()
                && let Err(error) = self.poller.wait(Some(until.since(now)))
            {
                log::error!("acceptor: waiting for events: {error}");
            }
            self.acceptor.doorbell.over();
        }
    }

    fn listener(&self, token: u64) -> Option<Listener> {
        let place = usize::try_from(token).ok()?;
        self.acceptor.listeners.borrow().get(place).cloned()
    }

    /// Goes on with other listeners.
    fn exchange(&mut self, listeners: Vec<Listener>) {
        self.listen(false);
        let is_kept = |old: &Listener| listeners.iter().any(|new| Arc::ptr_eq(&new.socket, &old.socket));
        let closing: Vec<Listener> = self
            .acceptor
            .listeners
            .borrow()
            .iter()
            .filter(|old| !is_kept(old))
            .cloned()
            .collect();
        if !closing.is_empty() {
            self.sweep(&closing);
        }
        self.acceptor.listeners.replace(listeners);
    }

    /// Watches the listeners, or leaves what comes in the kernel's queues.
    fn listen(&mut self, wanted: bool) {
        if wanted == self.is_listening {
            return;
        }
        self.is_listening = wanted;
        for (listener, token) in self.acceptor.listeners.borrow().iter().zip(0_u64..) {
            let done = if wanted {
                self.poller.add_readable(&*listener.socket, token, true)
            } else {
                self.poller.remove(&*listener.socket)
            };
            if let Err(error) = done {
                log::error!("{}: can't watch the listener: {error}", listener.service.name);
            }
        }
    }

    fn least_busy(&self) -> Option<usize> {
        let with_room = self
            .acceptor
            .workers
            .iter()
            .enumerate()
            .filter(|(_, worker)| worker.has_room());
        with_room
            .min_by_key(|(_, worker)| worker.sessions())
            .map(|(place, _)| place)
    }

    fn wake_given(&mut self) {
        for (given, worker) in self.given.iter_mut().zip(&self.acceptor.workers) {
            if std::mem::take(given) {
                worker.wake();
            }
        }
    }

    /// Accepts a burst. Whether the listener's queue is known to be empty now.
    fn burst(&mut self, listener: &Listener) -> bool {
        self.now = Clock::now();
        self.look_at_memory();
        for taken in 0..BURST {
            if taken == 1 && (1..LONE_BURSTS).contains(&self.lone_bursts) {
                self.lone_bursts = self.lone_bursts.saturating_add(1);
                return false;
            }
            let Some(place) = self.least_busy() else { return false };
            match sys::accept(&listener.socket) {
                Ok((socket, address)) => {
                    if taken > 0 {
                        self.lone_bursts = 0;
                    }
                    self.admit(listener, place, socket, ClientAddr(address));
                }
                Err(error) => match sys::decide(&error) {
                    Decision::Retry => {}
                    Decision::Wait => {
                        self.lone_bursts = u32::from(taken == 1);
                        return true;
                    }
                    Decision::Skip | Decision::PeerGone => {
                        self.acceptor.counters.accept_aborted.fetch_add(1, Relaxed);
                    }
                    Decision::BackOff | Decision::Unsupported | Decision::Bug => {
                        self.note_shortage(listener, &error);
                        return false;
                    }
                },
            }
        }
        false
    }

    fn admit(&mut self, listener: &Listener, place: usize, socket: std::os::fd::OwnedFd, client: ClientAddr) {
        let places = match self.places(&listener.service, client) {
            Ok(places) => places,
            Err(reason) => {
                self.note_refused(&listener.service, client, reason);
                return sys::reset(socket);
            }
        };
        let ticket = Ticket::new(Arc::clone(&listener.service), places);
        let Some(worker) = self.acceptor.workers.get(place) else {
            return;
        };
        match worker.hand_over(Arrival { socket, client, ticket }) {
            Ok(()) => {
                if let Some(given) = self.given.get_mut(place) {
                    *given = true;
                }
            }
            // It had room a moment ago and nobody else fills it: the worker is gone. Its client learns it.
            Err(arrival) => sys::reset(arrival.socket),
        }
    }

    /// What a connection takes, or what is against it; then it takes nothing.
    fn places(&self, service: &Service, client: ClientAddr) -> Result<Places, RefusedReason> {
        if self.memory.1.is_some() {
            return Err(RefusedReason::Memory);
        }
        if !service.trusts(client) {
            return Err(RefusedReason::ProxyUntrusted);
        }
        let process = self.acceptor.process.take().ok_or(RefusedReason::ProcessLimit)?;
        let of_service = service.limiter.take().ok_or(RefusedReason::ServiceLimit)?;
        // Where a header will say whose the connection is, the worker asks when it has read it.
        let source = match service.options.is_introduced {
            true => None,
            false => service.admit(client.0.ip(), self.now)?,
        };
        Ok(Places {
            process,
            service: of_service,
            source,
        })
    }

    fn look_at_memory(&mut self) {
        let (looked_at, _) = self.memory;
        if self.now.since(looked_at) >= MEMORY_PAUSE {
            let sockets = u64::from(self.acceptor.process.active()).saturating_mul(2);
            self.memory = (self.now, self.acceptor.memory.shortage(sockets));
        }
    }

    fn note_refused(&mut self, service: &Service, client: ClientAddr, reason: RefusedReason) {
        service.counters.refused(reason);
        self.acceptor
            .access_log
            .record(SessionRecord::refused(Arc::clone(&service.name), client));
        if self.warnings.is_due(self.now) {
            let figures = match reason {
                RefusedReason::ProcessLimit => format!(": {}", self.acceptor.process.max()),
                RefusedReason::ServiceLimit => format!(": {}", service.limiter.max()),
                RefusedReason::Memory => {
                    let (max, used) = self.memory.1.unwrap_or_default();
                    let (used, max) = (used >> 20, max >> 20);
                    format!(": {used} of {max} MiB are used; sessions that live go on")
                }
                _ => String::new(),
            };
            log::warn!("{}: {client} refused: {}{figures}", service.name, reason.words());
        }
    }

    fn note_shortage(&mut self, listener: &Listener, error: &io::Error) {
        self.acceptor.counters.accept_shortages.fetch_add(1, Relaxed);
        let now = Clock::now();
        self.short_until = now.plus(SHORTAGE_PAUSE);
        if self.warnings.is_due(now) {
            log::warn!(
                "{}: can't accept: {error}; clients wait until it is over",
                listener.service.name
            );
        }
    }
}

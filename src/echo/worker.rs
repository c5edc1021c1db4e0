//! One echo thread: an edge-triggered event loop over the connections handed to it.
//!
//! Started by `server`. Order of a round: events, due timers, second turns, then new connections, so that an index
//! that one round's events speak of never has a new owner within that round. It must never block but in `poll`.

use super::connection::{Bench, Connection, Turn};
use super::counters::{Counters, WorkerCounters};
use super::sizes::{MessageSizes, Replies};
use crossbeam_channel::Receiver;
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// The token of the waker; connections have their slot's index.
pub(super) const WAKE: Token = Token(usize::MAX);

/// Events taken from the kernel at once: enough to amortize the call, few enough that a round stays short.
const EVENTS_MAX: usize = 1024;

/// The scratch buffer: the most that one read takes; fits a core's L2 cache.
const SCRATCH_BYTES: usize = 64 * 1024;

struct Slot {
    connection: Connection,
    serial: u64,
    timer_is_armed: bool,
}

/// One echo thread's state.
pub(super) struct Worker {
    poll: Poll,
    inbox: Receiver<TcpStream>,
    stop: Arc<AtomicBool>,
    counters: Arc<Counters>,
    index: usize,
    delay: Option<Duration>,
    sizes: Option<MessageSizes>,
    slots: Vec<Option<Slot>>,
    vacant: Vec<usize>,
    again: Vec<usize>,
    timers: BinaryHeap<Reverse<(Instant, usize, u64)>>,
    serial: u64,
    scratch: Vec<u8>,
    replies: Vec<u8>,
}

/// What a worker needs to begin.
pub(super) struct WorkerSetup {
    pub(super) poll: Poll,
    pub(super) inbox: Receiver<TcpStream>,
    pub(super) stop: Arc<AtomicBool>,
    pub(super) counters: Arc<Counters>,
    pub(super) index: usize,
    pub(super) delay: Option<Duration>,
    pub(super) sizes: Option<MessageSizes>,
}

impl Worker {
    pub(super) fn new(setup: WorkerSetup) -> Self {
        Self {
            poll: setup.poll,
            inbox: setup.inbox,
            stop: setup.stop,
            counters: setup.counters,
            index: setup.index,
            delay: setup.delay,
            sizes: setup.sizes,
            slots: Vec::new(),
            vacant: Vec::new(),
            again: Vec::new(),
            timers: BinaryHeap::new(),
            serial: 0,
            scratch: vec![0; SCRATCH_BYTES],
            replies: Vec::new(),
        }
    }

    /// Echoes until told to stop; all its connections end with it.
    ///
    /// # Errors
    /// When `epoll_wait` fails with anything but EINTR, which would be a bug of this file.
    pub(super) fn run(mut self) -> io::Result<()> {
        let counters = Arc::clone(&self.counters);
        let Some(counters) = counters.worker(self.index) else {
            return Ok(());
        };
        let mut events = Events::with_capacity(EVENTS_MAX);
        while !self.stop.load(Ordering::Acquire) {
            let timeout = self.timeout();
            if let Err(error) = self.poll.poll(&mut events, timeout) {
                if error.kind() == io::ErrorKind::Interrupted {
                    continue;
                }
                return Err(error);
            }
            let now = Instant::now();
            for event in events.iter().filter(|event| event.token() != WAKE) {
                let index = event.token().0;
                if (event.is_read_closed() || event.is_error())
                    && let Some(Some(slot)) = self.slots.get_mut(index)
                {
                    slot.connection.announce_fin();
                }
                self.drive(index, now, counters);
            }
            self.run_timers(now, counters);
            for index in std::mem::take(&mut self.again) {
                self.drive(index, now, counters);
            }
            self.take_new(counters);
        }
        Ok(())
    }

    fn timeout(&self) -> Option<Duration> {
        if !self.again.is_empty() {
            return Some(Duration::ZERO);
        }
        let Reverse((due, ..)) = self.timers.peek()?;
        Some(due.saturating_duration_since(Instant::now()))
    }

    fn drive(&mut self, index: usize, now: Instant, counters: &WorkerCounters) {
        let Some(entry) = self.slots.get_mut(index) else {
            return;
        };
        let Some(slot) = entry else { return };
        let mut bench = Bench {
            scratch: &mut self.scratch,
            replies: &mut self.replies,
            counters,
            now,
            delay: self.delay,
        };
        match slot.connection.drive(&mut bench) {
            Ok(Turn::Wait) => {}
            Ok(Turn::Again) => self.again.push(index),
            // An error is the peer's (reset, timed out): its connection ends, the others don't notice.
            Ok(Turn::Done) | Err(_) => {
                *entry = None;
                self.vacant.push(index);
                return;
            }
        }
        if !slot.timer_is_armed
            && let Some(due) = slot.connection.next_due().filter(|due| *due > now)
        {
            slot.timer_is_armed = true;
            self.timers.push(Reverse((due, index, slot.serial)));
        }
    }

    fn run_timers(&mut self, now: Instant, counters: &WorkerCounters) {
        while let Some(Reverse((due, index, serial))) = self.timers.peek().copied() {
            if due > now {
                return;
            }
            self.timers.pop();
            if let Some(Some(slot)) = self.slots.get_mut(index)
                && slot.serial == serial
            {
                slot.timer_is_armed = false;
                self.drive(index, now, counters);
            }
        }
    }

    /// Takes what the acceptor handed over. Registering raises a first edge, which drives the connection.
    fn take_new(&mut self, counters: &WorkerCounters) {
        while let Ok(stream) = self.inbox.try_recv() {
            counters.count_connection();
            self.serial = self.serial.wrapping_add(1);
            let mut slot = Slot {
                connection: Connection::new(stream, Replies::new(self.sizes)),
                serial: self.serial,
                timer_is_armed: false,
            };
            let index = self.vacant.pop().unwrap_or(self.slots.len());
            let interest = Interest::READABLE | Interest::WRITABLE;
            let registered = self
                .poll
                .registry()
                .register(slot.connection.stream_mut(), Token(index), interest);
            // ENOMEM or the limit on watches: this connection can't be served and is closed, its index stays free.
            let entry = registered.is_ok().then_some(slot);
            let is_vacant = entry.is_none();
            match self.slots.get_mut(index) {
                Some(place) => *place = entry,
                None => self.slots.push(entry),
            }
            if is_vacant {
                self.vacant.push(index);
            }
        }
    }
}

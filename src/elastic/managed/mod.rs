//! Replicas that lb keeps alive itself: `[service.managed]`. Started by `bin/lb.rs`; asked through [`control::Replicas`](crate::control::Replicas).
//!
//! Each replica has a keeper ([`keeper`](crate::keeper)), which is told and heard over a socket: who holds that socket has the replica. One thread,
//! `replicas`, holds them all; it brings those that take connections to `control` as backends, and takes them away before they go.
//! `room` is its loop, `kept` one service, `instance` one process, `scale` what is asked, `figures` what the processes use, `passing` how
//! another lb takes them over.
//!
//! May not: start a process without its keeper, stop one that may have sessions before its backend was taken away (but one that hangs,
//! when its time is over), or wait for anything but its epoll set. A panic in it costs a turn: the sockets outlive it.

mod figures;
mod instance;
mod kept;
mod passing;
mod room;
mod scale;
mod slot;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use crossbeam_channel::{Sender, bounded, unbounded};

use crate::control::{Board, Commander, Companion, Event, Luggage, ReplicaRequests};
use crate::observe::supervise;
use crate::sys::{Doorbell, LoopThread};
use room::{Order, Room};

/// Under which another lb finds the replicas again.
pub const NAME: &str = "managed";
/// The control thread waits no longer for the sockets.
const PACK_MAX: Duration = Duration::from_secs(1);

/// What the room works with.
pub struct Surroundings {
    /// What runs.
    pub board: Arc<Board>,
    /// Who changes it.
    pub commander: Commander,
    /// What is asked about replicas.
    pub requests: ReplicaRequests,
    /// What a keeper is: lb itself.
    pub keeper: PathBuf,
}

impl Surroundings {
    /// lb itself, whatever became of its file since it was started.
    pub const OWN_PROGRAM: &str = "/proc/self/exe";
}

/// Keeps the thread; dropped, it ends, and so do the replicas.
pub struct Managed {
    thread: Option<LoopThread>,
    orders: Sender<Order>,
    doorbell: Arc<Doorbell>,
}

impl Managed {
    /// Starts the thread, and through it every replica that isn't `inherited` from another lb.
    ///
    /// # Errors
    /// No thread or descriptor is left.
    pub fn start(around: Surroundings, inherited: Option<Luggage>) -> io::Result<Self> {
        let doorbell = Arc::clone(&around.requests.doorbell);
        let (orders, ordered) = unbounded();
        let is_news = Arc::new(AtomicBool::new(true));
        let (news, bell) = (Arc::clone(&is_news), Arc::clone(&doorbell));
        around.board.watch(move |event| {
            // Another file, or a backend that is down or gone: it is looked which.
            if matches!(event, Event::Config(_)) {
                news.store(true, Relaxed);
            }
            bell.waker().wake();
        });
        let counters = Arc::clone(around.board.counters());
        let mut room = Room::new(around, ordered, is_news, inherited);
        let mut opened = Some(room.open()?);
        let thread = LoopThread::spawn("replicas", Arc::clone(&doorbell), move |stop| {
            supervise("replicas", &counters, || room.run(stop, opened.take()));
        })?;
        Ok(Self {
            thread: Some(thread),
            orders,
            doorbell,
        })
    }

    fn order(&self, order: Order) {
        if self.orders.send(order).is_ok() {
            self.doorbell.waker().wake();
        }
    }

    /// Stops all replicas, gently and then firmly, and the thread. Takes as long as the longest `stop_timeout`, and a few seconds more
    /// where a process hangs in the kernel.
    pub fn stop(mut self) {
        let (done, all_gone) = bounded::<()>(0);
        self.order(Order::Stop(done));
        // Ended by being dropped, at the latest when the room gives up.
        let gone = all_gone.recv();
        debug_assert!(gone.is_err());
        if let Some(thread) = self.thread.take() {
            thread.stop();
        }
    }

    /// Goes along when another lb takes over.
    #[must_use]
    pub fn companion(&self) -> ManagedCompanion {
        ManagedCompanion {
            orders: self.orders.clone(),
            doorbell: Arc::clone(&self.doorbell),
        }
    }
}

/// The room, when another lb takes over: that one gets a copy of each keeper's socket, and who has a socket has the replica.
pub struct ManagedCompanion {
    orders: Sender<Order>,
    doorbell: Arc<Doorbell>,
}

impl ManagedCompanion {
    fn order(&self, order: Order) {
        if self.orders.send(order).is_ok() {
            self.doorbell.waker().wake();
        }
    }
}

impl Companion for ManagedCompanion {
    fn name(&self) -> &'static str {
        NAME
    }

    /// From now on nothing is done with the replicas here.
    fn pack(&self) -> io::Result<Luggage> {
        let (send, answer) = bounded(1);
        self.order(Order::Pause(send));
        let late = || Err(io::Error::other("the thread replicas doesn't answer"));
        answer.recv_timeout(PACK_MAX).unwrap_or_else(|_| late())
    }

    fn step_aside(&self) {}

    fn resume(&self) {
        self.order(Order::Resume);
    }

    /// It stays paused: a keeper sees no end, for its socket has a copy there.
    fn let_go(&self) {}
}

impl Drop for Managed {
    fn drop(&mut self) {
        if let Some(thread) = self.thread.take() {
            thread.stop();
        }
    }
}

//! Accepts connections and hands them to the workers in turn.
//!
//! Started by `server`, one thread. One acceptor rather than a listener for each worker (`SO_REUSEPORT`): two bulk
//! connections then land on two threads, always, and a second `tcp_server` on the same port is refused, not let in.
//! It must never die of an accept error, and never spin on one.

use super::worker::WAKE;
use crossbeam_channel::Sender;
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Poll, Token, Waker};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// The token of the listener.
pub(super) const LISTENER: Token = Token(0);

/// How long the acceptor rests when the system has no descriptor or memory for another connection.
const BACK_OFF: Duration = Duration::from_millis(50);

/// Connections accepted before the workers are woken.
const BURST_MAX: usize = 64;

/// The way to one worker. The channel needs no bound: the descriptor limit bounds what it can hold.
pub(super) struct HandOff {
    pub(super) inbox: Sender<TcpStream>,
    pub(super) waker: Arc<Waker>,
}

/// The accepting thread's state. Its `poll` has the listener as `LISTENER` and a waker as `WAKE`.
pub(super) struct Acceptor {
    pub(super) poll: Poll,
    pub(super) listener: TcpListener,
    pub(super) stop: Arc<AtomicBool>,
    pub(super) workers: Vec<HandOff>,
}

enum Burst {
    /// Nobody is waiting: the next edge tells.
    Drained,
    /// There may be more.
    Full,
    /// The system is out of something.
    Exhausted,
}

impl Acceptor {
    /// Accepts until told to stop.
    ///
    /// # Errors
    /// When `epoll_wait` fails with anything but EINTR, which would be a bug of this file.
    pub(super) fn run(mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(4);
        let mut next = 0_usize;
        let mut timeout = None;
        while !self.stop.load(Ordering::Acquire) {
            if let Err(error) = self.poll.poll(&mut events, timeout) {
                if error.kind() == io::ErrorKind::Interrupted {
                    continue;
                }
                return Err(error);
            }
            debug_assert!(events.iter().all(|event| [LISTENER, WAKE].contains(&event.token())));
            timeout = match self.accept_burst(&mut next) {
                Burst::Drained => None,
                Burst::Full => Some(Duration::ZERO),
                Burst::Exhausted => Some(BACK_OFF),
            };
        }
        Ok(())
    }

    fn accept_burst(&self, next: &mut usize) -> Burst {
        let first = *next;
        let mut outcome = Burst::Full;
        let mut taken = 0_usize;
        while taken < BURST_MAX {
            match self.listener.accept() {
                Ok((stream, _)) => {
                    taken = taken.saturating_add(1);
                    self.hand_off(stream, next);
                }
                Err(error) => match error.kind() {
                    io::ErrorKind::WouldBlock => {
                        outcome = Burst::Drained;
                        break;
                    }
                    // accept(2): the peer was gone before it was taken.
                    io::ErrorKind::Interrupted | io::ErrorKind::ConnectionAborted => {}
                    // EMFILE, ENFILE, ENOBUFS, ENOMEM, and pending network errors: others may end meanwhile.
                    _ => {
                        outcome = Burst::Exhausted;
                        break;
                    }
                },
            }
        }
        for step in 0..taken.min(self.workers.len()) {
            if let Some(worker) = self.worker(first.wrapping_add(step)) {
                // EAGAIN can't happen to mio's waker, and a worker without one is only woken later, by its own events.
                drop(worker.waker.wake());
            }
        }
        outcome
    }

    fn hand_off(&self, stream: TcpStream, next: &mut usize) {
        // Small echoes must not wait for the peer's delayed ACK; a peer already gone is found by the worker.
        drop(stream.set_nodelay(true));
        if let Some(worker) = self.worker(*next) {
            // A worker that is gone is stopping, and so is the server: the connection closes.
            drop(worker.inbox.send(stream));
        }
        *next = next.wrapping_add(1);
    }

    fn worker(&self, turn: usize) -> Option<&HandOff> {
        self.workers.get(turn.checked_rem(self.workers.len())?)
    }
}

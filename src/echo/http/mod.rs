//! `tcp_server --http`: a small, strict HTTP/1.1 responder on one thread.
//!
//! Started by `server`. One request a connection, answered and closed. It must never let a slow or silent client hold up
//! another: sockets don't block, heads are bounded, and every connection has one deadline for all it does.

mod answer;

use self::answer::{HEAD_BYTES_MAX, Snapshot, answer};
use super::acceptor::LISTENER;
use super::counters::Counters;
use super::process;
use super::worker::WAKE;
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};
use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Connections at once; the oldest makes way for the next, so that idle ones can't lock others out.
const CONNECTIONS_MAX: usize = 128;

/// From accept to the client's FIN.
const DEADLINE: Duration = Duration::from_secs(5);

/// Rest after an accept that failed for want of descriptors or memory.
const BACK_OFF: Duration = Duration::from_millis(50);

/// What the pages tell of.
pub(super) struct Facts {
    pub(super) id: String,
    pub(super) counters: Arc<Counters>,
}

enum Phase {
    Reading(Vec<u8>),
    Writing {
        response: Vec<u8>,
        written: usize,
    },
    /// Our FIN is sent; what the client still sends is thrown away, lest a reset destroys the response (RFC 9112, 9.6).
    Lingering,
}

struct Client {
    stream: TcpStream,
    phase: Phase,
    deadline: Instant,
}

/// The HTTP thread's state.
pub(super) struct HttpServer {
    poll: Poll,
    listener: TcpListener,
    stop: Arc<AtomicBool>,
    facts: Facts,
    /// By token, which grows: the first is the oldest.
    clients: BTreeMap<usize, Client>,
    next_token: usize,
}

impl HttpServer {
    /// `poll` has the listener as `LISTENER` and a waker as `WAKE`.
    pub(super) fn new(poll: Poll, listener: TcpListener, stop: Arc<AtomicBool>, facts: Facts) -> Self {
        Self {
            poll,
            listener,
            stop,
            facts,
            clients: BTreeMap::new(),
            next_token: LISTENER.0.saturating_add(1),
        }
    }

    /// Answers until told to stop.
    ///
    /// # Errors
    /// When `epoll_wait` fails with anything but EINTR, which would be a bug of this file.
    pub(super) fn run(mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(64);
        let mut accept_again = None;
        while !self.stop.load(Ordering::Acquire) {
            let now = Instant::now();
            let first_deadline = self.clients.values().map(|client| client.deadline).min();
            let timeout = [first_deadline, accept_again].into_iter().flatten().min();
            let timeout = timeout.map(|at| at.saturating_duration_since(now));
            if let Err(error) = self.poll.poll(&mut events, timeout) {
                if error.kind() == io::ErrorKind::Interrupted {
                    continue;
                }
                return Err(error);
            }
            for event in events.iter().filter(|event| ![LISTENER, WAKE].contains(&event.token())) {
                self.drive(event.token().0);
            }
            let now = Instant::now();
            self.clients.retain(|_, client| client.deadline > now);
            accept_again = self.accept_all(now).err().and_then(|_| now.checked_add(BACK_OFF));
        }
        Ok(())
    }

    /// Accepts until nobody waits; an error says that the system is out of something.
    fn accept_all(&mut self, now: Instant) -> io::Result<()> {
        loop {
            let mut stream = match self.listener.accept() {
                Ok((stream, _)) => stream,
                Err(error) => match error.kind() {
                    io::ErrorKind::WouldBlock => return Ok(()),
                    io::ErrorKind::Interrupted | io::ErrorKind::ConnectionAborted => continue,
                    _ => return Err(error),
                },
            };
            let token = self.next_token;
            self.next_token = token.wrapping_add(1);
            let interest = Interest::READABLE | Interest::WRITABLE;
            self.poll.registry().register(&mut stream, Token(token), interest)?;
            if self.clients.len() >= CONNECTIONS_MAX {
                self.clients.pop_first();
            }
            let client = Client {
                stream,
                phase: Phase::Reading(Vec::new()),
                deadline: now.checked_add(DEADLINE).unwrap_or(now),
            };
            self.clients.insert(token, client);
        }
    }

    fn drive(&mut self, token: usize) {
        let Some(client) = self.clients.get_mut(&token) else {
            return;
        };
        match client.drive(&self.facts) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            // Answered, or the client is gone: either way it is over.
            Ok(()) | Err(_) => {
                self.clients.remove(&token);
            }
        }
    }
}

impl Client {
    /// Goes on until the connection is over, or `WouldBlock`.
    fn drive(&mut self, facts: &Facts) -> io::Result<()> {
        let mut buffer = [0_u8; 2048];
        loop {
            match &mut self.phase {
                Phase::Reading(head) => {
                    let room = HEAD_BYTES_MAX.saturating_sub(head.len()).min(buffer.len());
                    let count = retry(|| self.stream.read(buffer.get_mut(..room).unwrap_or_default()))?;
                    if count == 0 {
                        return Ok(());
                    }
                    head.extend_from_slice(buffer.get(..count).unwrap_or_default());
                    let snapshot = Snapshot {
                        id: &facts.id,
                        totals: facts.counters.totals(),
                        process: process::read(),
                    };
                    if let Some(response) = answer(head, &snapshot) {
                        self.phase = Phase::Writing { response, written: 0 };
                    }
                }
                Phase::Writing { response, written } => {
                    let rest = response.get(*written..).unwrap_or_default();
                    if rest.is_empty() {
                        self.stream.shutdown(Shutdown::Write)?;
                        self.phase = Phase::Lingering;
                        continue;
                    }
                    let count = retry(|| self.stream.write(rest))?;
                    *written = written.saturating_add(count);
                }
                Phase::Lingering => {
                    if retry(|| self.stream.read(&mut buffer))? == 0 {
                        return Ok(());
                    }
                }
            }
        }
    }
}

fn retry(mut call: impl FnMut() -> io::Result<usize>) -> io::Result<usize> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            outcome => return outcome,
        }
    }
}

//! The drills' load: many sessions of checked records through the balancer, driven by one thread among the clients.
//!
//! Every session is told of: how it ended, when, how long it took to be connected and answered, and whether a byte was wrong.

use std::collections::HashMap;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};

use super::field::Field;
use super::frame::{self, Reader};
use crate::common::{PATIENCE, eventually};

/// New connections a turn: a listener's queue is no part of what is looked at.
const OPENED_A_TURN: usize = 64;
const TURN: Duration = Duration::from_millis(2);

/// What the sessions do.
#[derive(Clone)]
pub(super) struct Plan {
    pub(super) target: SocketAddr,
    /// At the same time.
    pub(super) at_once: usize,
    /// All in all; the load ends by itself after so many.
    pub(super) total: usize,
    /// From one session's begin to the next one's; zero: as soon as there is room.
    pub(super) every: Duration,
    /// Of each session; the next is sent when the last is back.
    pub(super) records: u32,
    /// Payloads of records, taken in turn.
    pub(super) sizes: Vec<usize>,
    /// Between an answer and the next record.
    pub(super) pause: Duration,
    /// For an answer, and for the end.
    pub(super) patience: Duration,
    /// Every other session sends its FIN right behind its last record.
    pub(super) finishes_early: bool,
}

impl Plan {
    /// Sessions that stay, each with a record every 100 ms.
    pub(super) fn held(count: usize) -> Self {
        Self {
            target: Field::TARGET,
            at_once: count,
            total: count,
            every: Duration::ZERO,
            records: u32::MAX,
            sizes: vec![64, 1500],
            pause: Duration::from_millis(100),
            patience: PATIENCE,
            finishes_early: false,
        }
    }

    /// One session after the other in each of `at_once` places, a record each.
    pub(super) fn short(at_once: usize, total: usize) -> Self {
        Self {
            at_once,
            total,
            records: 1,
            sizes: vec![200],
            pause: Duration::ZERO,
            ..Self::held(at_once)
        }
    }

    pub(super) fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }
}

/// How a session ended, seen from its client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Ended {
    /// Every record came back right, then FIN.
    Whole,
    /// FIN before all was there.
    Fin,
    Reset,
    /// The connect was answered by RST.
    Refused,
    /// Nothing came any more.
    Timeout,
    /// Another error of the socket.
    Error,
}

/// A session that is over.
#[derive(Clone, Copy, Debug)]
pub(super) struct Told {
    pub(super) ended: Ended,
    pub(super) begun: Instant,
    pub(super) at: Instant,
    /// From the connect to the first whole record.
    pub(super) first_answer: Option<Duration>,
    pub(super) is_wrong: bool,
}

/// All sessions of a load.
#[derive(Clone, Debug, Default)]
pub(super) struct Outcome {
    pub(super) told: Vec<Told>,
    /// From each record to its answer.
    pub(super) answers: Vec<Duration>,
}

impl Outcome {
    pub(super) fn ended(&self, ended: Ended) -> usize {
        self.told.iter().filter(|told| told.ended == ended).count()
    }

    /// Sessions that didn't end whole.
    pub(super) fn failed(&self) -> usize {
        self.told.len() - self.ended(Ended::Whole)
    }

    pub(super) fn wrong(&self) -> usize {
        self.told.iter().filter(|told| told.is_wrong).count()
    }

    /// The share `part` (0.99) of the times to the first answer is at most this.
    pub(super) fn first_answer(&self, part: f64) -> Duration {
        quantile(self.told.iter().filter_map(|told| told.first_answer).collect(), part)
    }

    pub(super) fn answer(&self, part: f64) -> Duration {
        quantile(self.answers.clone(), part)
    }

    /// In words, for a claim that fails.
    pub(super) fn words(&self) -> String {
        let mut counts: HashMap<Ended, usize> = HashMap::new();
        for told in &self.told {
            *counts.entry(told.ended).or_default() += 1;
        }
        format!("{counts:?}, {} with a wrong byte", self.wrong())
    }
}

/// The value that the share `part` of them doesn't exceed; zero of none.
pub(super) fn quantile(mut values: Vec<Duration>, part: f64) -> Duration {
    values.sort_unstable();
    let place = (values.len() as f64 * part).ceil() as usize;
    values.get(place.saturating_sub(1)).copied().unwrap_or_default()
}

#[derive(Default)]
struct Shared {
    is_stopping: AtomicBool,
    /// Sessions whose first record is back, and that aren't over.
    live: AtomicUsize,
    outcome: Mutex<Outcome>,
}

/// A load under way.
pub(super) struct Load {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Load {
    pub(super) fn start(field: &Field, plan: Plan) -> Self {
        let shared = Arc::new(Shared::default());
        let mine = Arc::clone(&shared);
        let thread = field.clients.spawn(move || Driver::new(plan, mine).run());
        Self {
            shared,
            thread: Some(thread),
        }
    }

    /// A load that is over when its sessions are.
    pub(super) fn run(field: &Field, plan: Plan) -> Outcome {
        let mut load = Self::start(field, plan);
        load.thread.take().unwrap().join().unwrap();
        load.so_far()
    }

    /// The same from where this process is.
    pub(super) fn run_here(plan: Plan) -> Outcome {
        let shared = Arc::new(Shared::default());
        Driver::new(plan, Arc::clone(&shared)).run();
        std::mem::take(&mut shared.outcome.lock().unwrap())
    }

    pub(super) fn live(&self) -> usize {
        self.shared.live.load(SeqCst)
    }

    pub(super) fn wait_for_live(&self, count: usize) {
        eventually(&format!("{count} live sessions; {}", self.so_far().words()), || {
            (self.live() >= count).then_some(())
        });
    }

    /// Whether so many were live at once within `patience`.
    pub(super) fn wait_until_live(&self, count: usize, patience: Duration) -> bool {
        let deadline = Instant::now() + patience;
        while self.live() < count {
            if Instant::now() > deadline {
                return false;
            }
            crate::common::pass(Duration::from_millis(1));
        }
        true
    }

    pub(super) fn so_far(&self) -> Outcome {
        self.shared.outcome.lock().unwrap().clone()
    }

    pub(super) fn over(&self) -> usize {
        self.shared.outcome.lock().unwrap().told.len()
    }

    /// Waits until so many are over; whether they were in time.
    pub(super) fn wait_for_over(&self, count: usize, patience: Duration) -> bool {
        let deadline = Instant::now() + patience;
        while self.over() < count {
            if Instant::now() > deadline {
                return false;
            }
            crate::common::pass(Duration::from_millis(1));
        }
        true
    }

    /// Those under way finish, and what became of all.
    pub(super) fn stop(mut self) -> Outcome {
        self.shared.is_stopping.store(true, SeqCst);
        self.thread.take().unwrap().join().unwrap();
        self.so_far()
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.shared.is_stopping.store(true, SeqCst);
    }
}

struct Session {
    stream: TcpStream,
    id: u64,
    begun: Instant,
    first_answer: Option<Duration>,
    out: Vec<u8>,
    sent: usize,
    /// Records sent so far.
    number: u32,
    record_begun: Instant,
    /// When the next record is due; `None`: an answer is awaited.
    next: Option<Instant>,
    deadline: Instant,
    reader: Reader,
    has_finished: bool,
}

struct Driver {
    plan: Plan,
    shared: Arc<Shared>,
    poll: Poll,
    sessions: HashMap<usize, Session>,
    opened: usize,
    /// No session begins before.
    opens_at: Instant,
}

impl Driver {
    fn new(plan: Plan, shared: Arc<Shared>) -> Self {
        let poll = Poll::new().unwrap();
        Self {
            plan,
            shared,
            poll,
            sessions: HashMap::new(),
            opened: 0,
            opens_at: Instant::now(),
        }
    }

    fn run(mut self) {
        let mut events = Events::with_capacity(1024);
        loop {
            let is_stopping = self.shared.is_stopping.load(SeqCst);
            for _ in 0..OPENED_A_TURN {
                let is_full = self.sessions.len() >= self.plan.at_once || self.opened >= self.plan.total;
                if is_stopping || is_full || Instant::now() < self.opens_at {
                    break;
                }
                self.opens_at += self.plan.every;
                self.open();
            }
            if self.sessions.is_empty() && (is_stopping || self.opened >= self.plan.total) {
                return;
            }
            match self.poll.poll(&mut events, Some(TURN)) {
                Err(error) if error.kind() != ErrorKind::Interrupted => panic!("epoll: {error}"),
                _ => {}
            }
            let ready: Vec<usize> = events.iter().map(|event| event.token().0).collect();
            for token in ready {
                self.turn(token);
            }
            self.look_at_clock(is_stopping);
        }
    }

    fn open(&mut self) {
        static NEXT: AtomicUsize = AtomicUsize::new(1);
        let now = Instant::now();
        let token = self.opened;
        self.opened += 1;
        let mut session = Session {
            stream: match TcpStream::connect(self.plan.target) {
                Ok(stream) => stream,
                Err(error) => panic!("a client's socket: {error}"),
            },
            // Its first byte on the wire is 0, so that a backend can tell a record from what else it is sent.
            id: (NEXT.fetch_add(1, SeqCst) as u64) << 8,
            begun: now,
            first_answer: None,
            out: Vec::new(),
            sent: 0,
            number: 0,
            record_begun: now,
            next: None,
            deadline: now + self.plan.patience,
            reader: Reader::default(),
            has_finished: false,
        };
        let interests = Interest::READABLE | Interest::WRITABLE;
        self.poll
            .registry()
            .register(&mut session.stream, Token(token), interests)
            .unwrap();
        self.write_record(&mut session);
        self.sessions.insert(token, session);
    }

    fn write_record(&self, session: &mut Session) {
        let place = (session.id >> 8) as usize + session.number as usize;
        let size = self.plan.sizes[place % self.plan.sizes.len()];
        session.out.clear();
        session.sent = 0;
        frame::write(session.id, session.number, size, &mut session.out);
        session.number += 1;
        session.record_begun = Instant::now();
        session.deadline = session.record_begun + self.plan.patience;
        session.next = None;
    }

    /// Everything that can be done for a session now; what it became, if it is over.
    fn progress(&self, session: &mut Session, is_stopping: bool) -> Option<Ended> {
        let mut buffer = [0; 16_384];
        loop {
            match session.stream.read(&mut buffer) {
                Ok(0) => {
                    let is_whole = session.has_finished && session.reader.whole == session.number;
                    return Some(if is_whole && session.reader.is_empty() {
                        Ended::Whole
                    } else {
                        Ended::Fin
                    });
                }
                Ok(count) => session.reader.take(session.id, &buffer[..count]),
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::NotConnected) => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Some(end_of(&error)),
            }
        }
        let is_answered = session.reader.whole == session.number;
        if is_answered && session.next.is_none() {
            let now = Instant::now();
            if session.first_answer.is_none() {
                session.first_answer = Some(now - session.begun);
                self.shared.live.fetch_add(1, SeqCst);
            }
            self.shared
                .outcome
                .lock()
                .unwrap()
                .answers
                .push(now - session.record_begun);
            session.next = Some(now + self.plan.pause);
        }
        if session.next.is_some_and(|next| next <= Instant::now()) && !session.has_finished {
            if session.number < self.plan.records && !is_stopping {
                self.write_record(session);
            } else {
                return self.finish(session);
            }
        }
        self.flush(session)
    }

    fn flush(&self, session: &mut Session) -> Option<Ended> {
        while session.sent < session.out.len() {
            match session.stream.write(&session.out[session.sent..]) {
                Ok(count) => session.sent += count,
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::NotConnected) => return None,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // What came before the end is still to be read: the next look tells FIN or RST.
                Err(error) if error.kind() == ErrorKind::BrokenPipe => return None,
                Err(error) => return Some(end_of(&error)),
            }
        }
        let is_last = session.number == self.plan.records;
        if is_last && self.plan.finishes_early && session.id >> 8 & 1 == 0 && !session.has_finished {
            return self.finish(session);
        }
        None
    }

    fn finish(&self, session: &mut Session) -> Option<Ended> {
        session.has_finished = true;
        session.deadline = Instant::now() + self.plan.patience;
        // One that the other side has ended already can't be finished; the next look tells how.
        drop(session.stream.shutdown(Shutdown::Write));
        None
    }

    fn turn(&mut self, token: usize) {
        let Some(mut session) = self.sessions.remove(&token) else {
            return;
        };
        let is_stopping = self.shared.is_stopping.load(SeqCst);
        match self.progress(&mut session, is_stopping) {
            None => drop(self.sessions.insert(token, session)),
            Some(ended) => self.tell(&session, ended),
        }
    }

    fn tell(&self, session: &Session, ended: Ended) {
        if session.first_answer.is_some() {
            self.shared.live.fetch_sub(1, SeqCst);
        }
        let told = Told {
            ended,
            begun: session.begun,
            at: Instant::now(),
            first_answer: session.first_answer,
            is_wrong: session.reader.is_wrong,
        };
        self.shared.outcome.lock().unwrap().told.push(told);
    }

    /// Records that are due, patience that is over.
    fn look_at_clock(&mut self, is_stopping: bool) {
        let now = Instant::now();
        let due =
            |session: &Session| session.next.is_some_and(|next| next <= now || is_stopping) && !session.has_finished;
        let due: Vec<usize> = self
            .sessions
            .iter()
            .filter(|(_, session)| due(session))
            .map(|(token, _)| *token)
            .collect();
        for token in due {
            if is_stopping && let Some(session) = self.sessions.get_mut(&token) {
                session.next = Some(now);
            }
            self.turn(token);
        }
        let is_late = |session: &Session| session.deadline <= now && (session.next.is_none() || session.has_finished);
        let late: Vec<usize> = self
            .sessions
            .iter()
            .filter(|(_, session)| is_late(session))
            .map(|(token, _)| *token)
            .collect();
        for token in late {
            if let Some(session) = self.sessions.remove(&token) {
                self.tell(&session, Ended::Timeout);
            }
        }
    }
}

fn end_of(error: &std::io::Error) -> Ended {
    match error.kind() {
        ErrorKind::ConnectionReset => Ended::Reset,
        ErrorKind::ConnectionRefused => Ended::Refused,
        ErrorKind::TimedOut => Ended::Timeout,
        _ => Ended::Error,
    }
}

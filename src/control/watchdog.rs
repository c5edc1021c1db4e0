//! Whether the threads that move connections still turn: each is asked, and only when all have answered systemd hears that lb lives.
//! A thread that hangs is told by its name, and lb is started anew by systemd (`WatchdogSec=`, systemd.service(5)).

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, after, never};

use super::systemd;
use crate::sys::Doorbell;
use crate::worker::{Order, Reply, Wanted, WorkerHandle};

/// Asked so many times within the time that systemd waits.
const ASKED_WITHIN: u32 = 3;

/// The acceptor, as it is asked: it counts its turns.
pub(super) struct AcceptorPulse {
    pub(super) turns: Arc<AtomicU64>,
    pub(super) doorbell: Arc<Doorbell>,
}

/// Who is asked, and who has answered.
pub(super) struct Watchdog {
    /// From one question to the next; `None`: nobody wants to know.
    every: Option<Duration>,
    acceptor: AcceptorPulse,
    turns_before: u64,
    /// How often each worker has answered.
    answers: Vec<Arc<AtomicU64>>,
    asked: u64,
}

impl Watchdog {
    pub(super) fn new(workers: usize, acceptor: AcceptorPulse) -> Self {
        Self {
            every: systemd::watchdog().and_then(|within| within.checked_div(ASKED_WITHIN)),
            acceptor,
            turns_before: 0,
            answers: (0..workers).map(|_| Arc::default()).collect(),
            asked: 0,
        }
    }

    /// When to look next.
    pub(super) fn next(&self) -> Receiver<Instant> {
        self.every.map_or_else(never, after)
    }

    /// Looks who has answered, and asks again.
    pub(super) fn look(&mut self, workers: &[WorkerHandle], is_accepting: bool) {
        let silent = self.silent(workers, is_accepting);
        if silent.is_empty() {
            systemd::tell_alive();
            self.ask(workers);
        } else {
            log::error!("no answer from {}: systemd isn't told that lb lives", silent.join(", "));
        }
    }

    fn ask(&mut self, workers: &[WorkerHandle]) {
        self.asked = self.asked.saturating_add(1);
        for (worker, answers) in workers.iter().zip(&self.answers) {
            let answers = Arc::clone(answers);
            let nobody = Wanted {
                service: None,
                backend: None,
                limit: 0,
            };
            let reply = move |_| {
                answers.fetch_add(1, Relaxed);
            };
            worker.order(Order::Tell(nobody, Reply::new(reply)));
        }
        self.turns_before = self.acceptor.turns.load(Relaxed);
        self.acceptor.doorbell.waker().wake();
    }

    /// Who hasn't answered the last question.
    fn silent(&self, workers: &[WorkerHandle], is_accepting: bool) -> Vec<String> {
        let answered = self.answers.iter().map(|answers| answers.load(Relaxed));
        let mut silent: Vec<String> = workers
            .iter()
            .zip(answered)
            .filter(|(_, answered)| *answered < self.asked)
            .map(|(worker, _)| format!("worker-{}", worker.id.0))
            .collect();
        if is_accepting && self.asked > 0 && self.acceptor.turns.load(Relaxed) == self.turns_before {
            silent.push("acceptor".to_owned());
        }
        silent
    }
}

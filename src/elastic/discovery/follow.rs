//! One service: hears its source, has the rules judge, has `control` put in force what follows, and shows how it goes.
//!
//! A task of the thread `discovery`. May not: decide what an answer is worth (that is `rules`), or go on asking a service that is gone.

use std::convert::Infallible;
use std::rc::Rc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::mpsc::{self, Receiver, Sender};
use tokio::sync::{Notify, oneshot};

use super::rules::{Pace, Rules};
use super::watch::Seat;
use super::{Room, until};
use super::{dns, etcd, file, http};
use crate::api;
use crate::config::{Backend, Discovery, DiscoverySource, Listed};
use crate::control::{Answer, Bringer, Command, Outcome, RefusalKind};
use crate::observe::Found;
use crate::sys::Clock;

/// Between two lines about how it goes: a source that comes and goes each second has no line each second.
const LINES_GAP: Duration = Duration::from_secs(5);

/// What a source says.
#[derive(Debug)]
pub(super) enum Word {
    /// These are all.
    Answer(Vec<Listed>),
    /// The same as last time.
    Same,
    /// It can't say, and why.
    Failed(String),
}

/// Where a source says it. Waits until it was heard.
pub(super) type Tell = Sender<Word>;

/// A service's task.
pub(super) struct Follower {
    room: Rc<Room>,
    service: String,
    settings: Discovery,
    rules: Rules,
    backends: Pace<Vec<Backend>>,
    /// What is wrong, for the log; `None`: all is well.
    lines: Pace<Option<String>>,
    shown: api::Discovery,
    /// Of the last answer.
    verdict: Result<(), String>,
    /// What of an answer `control` didn't take.
    refused: Option<String>,
}

/// A place among the watchers, of who follows a file.
pub(super) fn seat(room: &Room, settings: &Discovery) -> Option<Seat> {
    match &settings.source {
        DiscoverySource::File { path } => Some(room.watches.seat(path)),
        _ => None,
    }
}

impl Follower {
    pub(super) fn new(room: Rc<Room>, service: String, settings: Discovery) -> Self {
        let gap = Duration::from_secs(1)
            .checked_div(settings.changes_per_second)
            .unwrap_or_default();
        Self {
            rules: Rules {
                backends_min: settings.backends_min,
                backends_max: settings.backends_max,
                allow: settings.allow.clone(),
            },
            backends: Pace::new(gap),
            lines: Pace::new(LINES_GAP),
            shown: api::Discovery {
                kind: settings.source.kind().to_owned(),
                ..api::Discovery::default()
            },
            verdict: Ok(()),
            refused: None,
            room,
            service,
            settings,
        }
    }

    /// Follows for as long as the section stands. `bell` rings after each reload.
    pub(super) async fn follow(mut self, seat: Option<Seat>, bell: &Notify) -> Infallible {
        let (tell, mut words) = mpsc::channel(1);
        let room = Rc::clone(&self.room);
        let settings = self.settings.clone();
        let source = ask(&room, &settings, seat, tell);
        tokio::pin!(source);
        self.room.board.show_discovery(&self.service, Some(&self.shown));
        loop {
            let now = Clock::now();
            let due = self.backends.due().into_iter().chain(self.lines.due()).min();
            tokio::select! {
                never = &mut source => match never {},
                () = bell.notified() => self.look_after_them(),
                word = next(&mut words) => self.hear(word),
                () = until(due, now) => {}
            }
            self.provide().await;
            self.write();
        }
    }

    fn hear(&mut self, word: Word) {
        let judged = match word {
            // What couldn't be followed then can't be now.
            Word::Same => self.verdict.clone().map(|()| None),
            Word::Answer(answer) => {
                let judged = self.rules.judge(&answer);
                self.verdict = judged.as_ref().map(drop).map_err(Clone::clone);
                judged.map(Some)
            }
            Word::Failed(reason) => Err(reason),
        };
        let found = match judged {
            Ok(backends) => {
                self.shown.last_success = Some(format!("{:.3}", Timestamp::now()));
                self.shown.last_error = self.refused.clone();
                let is_new = backends.is_some_and(|backends| self.backends.offer(backends));
                if is_new { Found::Changed } else { Found::Unchanged }
            }
            Err(reason) => {
                self.shown.last_error = Some(reason);
                Found::Failed
            }
        };
        self.room.board.count_found(&self.service, found);
        self.show();
    }

    /// Has put in force what is due.
    async fn provide(&mut self) {
        let Some(backends) = self.backends.take(Clock::now()) else {
            return;
        };
        let (reply, outcome) = oneshot::channel();
        let command = Command::Provide {
            service: self.service.clone(),
            bringer: Bringer::Discovery,
            backends,
        };
        self.room.commander.ask(command, move |outcome| {
            drop(reply.send(outcome)); // who asked may be gone by a reload
        });
        match outcome.await {
            Ok(outcome) => self.note(outcome),
            // Nobody carries out commands any more: lb stops.
            Err(_) => match std::future::pending::<Infallible>().await {},
        }
        self.show();
    }

    fn note(&mut self, outcome: Outcome) {
        let before = self.refused.take();
        match outcome {
            Ok(Answer::Provided(provided)) => {
                let more = match provided.refused.len().saturating_sub(1) {
                    0 => String::new(),
                    more => format!(" (and {more} more)"),
                };
                self.refused = provided.refused.first().map(|first| format!("{first}{more}"));
            }
            Ok(_) => {}
            Err(refusal) => {
                if refusal.kind == RefusalKind::Busy {
                    self.backends.again();
                }
                self.refused = Some(refusal.message);
            }
        }
        if self.shown.last_error.is_none() || self.shown.last_error == before {
            self.shown.last_error = self.refused.clone();
        }
    }

    /// A reload that took the service away and brought one of the same name leaves it without what was found.
    fn look_after_them(&mut self) {
        let Some(service) = self.room.board.service(&self.service) else {
            return;
        };
        let is_found = |backend: &api::Backend| backend.origin == api::Origin::Discovery;
        if !service.backends.iter().any(is_found) || self.refused.is_some() {
            self.backends.again();
        }
    }

    fn show(&mut self) {
        let backends = self.backends.newest().map_or(0, Vec::len);
        self.shown.backends = u64::try_from(backends).unwrap_or(u64::MAX);
        self.room.board.show_discovery(&self.service, Some(&self.shown));
        let is_known = self.shown.last_success.is_some() || self.shown.last_error.is_some();
        if is_known {
            self.lines.offer(self.shown.last_error.clone());
        }
    }

    /// Writes how it goes, if that is otherwise than it was written last.
    fn write(&mut self) {
        let Some(state) = self.lines.take(Clock::now()) else {
            return;
        };
        let (service, kind, count) = (&self.service, &self.shown.kind, self.shown.backends);
        match state {
            None => log::info!("{service}: discovery by {kind}: found backends: {count}"),
            Some(reason) => {
                log::warn!("{service}: discovery by {kind}: {reason}; backends that stay as they were: {count}")
            }
        }
    }
}

async fn next(words: &mut Receiver<Word>) -> Word {
    match words.recv().await {
        Some(word) => word,
        // A source never ends; one that has nobody to tell would.
        None => match std::future::pending::<Infallible>().await {},
    }
}

/// Asks the source, for as long as anybody wants to hear it.
async fn ask(room: &Room, settings: &Discovery, seat: Option<Seat>, tell: Tell) -> Infallible {
    match (&settings.source, seat) {
        (DiscoverySource::File { path }, Some(seat)) => file::follow(path, seat, &tell).await,
        (
            DiscoverySource::Dns {
                name,
                record,
                server,
                interval_min,
                interval_max,
            },
            _,
        ) => {
            let names = dns::Names {
                name,
                record: *record,
                server: *server,
                interval: (*interval_min, *interval_max),
                timeout: settings.timeout,
                backends_max: settings.backends_max,
            };
            dns::follow(names, &room.questions, &tell).await
        }
        (DiscoverySource::Http { url, interval }, _) => {
            let (interval, timeout) = (*interval, settings.timeout);
            http::follow(http::Page { url, interval, timeout }, &room.questions, &tell).await
        }
        (DiscoverySource::Etcd { address, prefix }, _) => {
            let (address, timeout) = (*address, settings.timeout);
            etcd::follow(
                etcd::Keys {
                    address,
                    prefix,
                    timeout,
                },
                &tell,
            )
            .await
        }
        // A file's follower has a seat.
        (DiscoverySource::File { .. }, None) => std::future::pending().await,
    }
}

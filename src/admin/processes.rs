//! The processes behind the backends: CPU, memory and uptime, from the Prometheus text that `metrics` of a backend names.
//!
//! Asked at the pace of the health checks, on the admin thread, whoever is due for longest first; nothing waits for an answer, and
//! what doesn't come is `null`.

use std::collections::{BTreeSet, HashMap};
use std::convert::Infallible;
use std::mem;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::{Request, StatusCode, header};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::state::State;
use crate::api;
use crate::control::ProcessPage;
use crate::observe::caught;
use crate::sys::Clock;
use crate::types::{HttpUrl, Moment};

/// An answer has so long.
const ANSWER_MAX: Duration = Duration::from_secs(1);
/// And so many bytes.
const ANSWER_BYTES_MAX: usize = 256 << 10;
/// Asked at once, where the budget of descriptors has room for so many.
const ASKED_MAX: usize = 16;
/// Who doesn't answer is left alone for so long: pages that hang take the turns of those that don't.
const SILENT_PAUSE: Duration = Duration::from_secs(10);
/// How often it is looked which pages there are.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Service and backend.
type Key = (Arc<str>, Arc<str>);

/// What is known.
#[derive(Debug, Default)]
pub(super) struct Processes {
    /// As they were when it was looked last.
    pages: Vec<ProcessPage>,
    /// By service, then by backend.
    known: HashMap<Arc<str>, HashMap<Arc<str>, Known>>,
    /// By when each is to be asked; who is being asked isn't in it.
    queue: BTreeSet<(Moment, Key)>,
}

#[derive(Debug)]
struct Known {
    url: Arc<HttpUrl>,
    every: Duration,
    due: Moment,
    is_asked: bool,
    last: Option<(Moment, Reading)>,
    process: Option<api::Process>,
}

/// What a process says of itself.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Reading {
    cpu_seconds: Option<f64>,
    memory_bytes: Option<f64>,
    /// Unix time.
    start_seconds: Option<f64>,
}

impl Processes {
    /// Puts what is known into the answer.
    pub(super) fn fill(&self, service: &str, backend: &mut api::Backend) {
        if let Some(known) = self.known.get(service).and_then(|known| known.get(&*backend.name)) {
            backend.process = known.process;
        }
    }

    /// These are the pages now.
    fn list(&mut self, pages: Vec<ProcessPage>, now: Moment) {
        if pages == self.pages {
            return;
        }
        let mut before = mem::take(&mut self.known);
        self.queue.clear();
        for page in &pages {
            let old = before.get_mut(&page.service).and_then(|of| of.remove(&page.backend));
            // Another process behind an old name is another one.
            let known = match old.filter(|known| known.url == page.url) {
                Some(known) => Known {
                    every: page.every,
                    ..known
                },
                None => Known {
                    url: Arc::clone(&page.url),
                    every: page.every,
                    due: now,
                    is_asked: false,
                    last: None,
                    process: None,
                },
            };
            let (service, backend) = (Arc::clone(&page.service), Arc::clone(&page.backend));
            if !known.is_asked {
                self.queue
                    .insert((known.due, (Arc::clone(&service), Arc::clone(&backend))));
            }
            self.known.entry(service).or_default().insert(backend, known);
        }
        self.pages = pages;
    }

    /// Whom to ask now, if somebody is due: who is for longest.
    fn next(&mut self, now: Moment) -> Option<(Key, Arc<HttpUrl>)> {
        let (_, key) = self.queue.first().filter(|(due, _)| *due <= now).cloned()?;
        self.queue.pop_first();
        let known = self.known.get_mut(&key.0)?.get_mut(&key.1)?;
        known.is_asked = true;
        known.due = now.plus(known.every);
        Some((key, Arc::clone(&known.url)))
    }

    /// When somebody is due.
    fn next_due(&self) -> Option<Moment> {
        self.queue.first().map(|(due, _)| *due)
    }

    /// Somebody has answered, or hasn't. `unix_seconds` is the time of day.
    fn note(&mut self, (key, url): &(Key, Arc<HttpUrl>), now: Moment, unix_seconds: f64, reading: Option<Reading>) {
        let known = self.known.get_mut(&key.0).and_then(|known| known.get_mut(&key.1));
        let Some(known) = known.filter(|known| known.is_asked && known.url == *url) else {
            return;
        };
        known.is_asked = false;
        if reading.is_none() {
            known.due = known.due.max(now.plus(SILENT_PAUSE));
        }
        self.queue.insert((known.due, key.clone()));
        known.read(now, unix_seconds, reading);
    }
}

impl Known {
    fn read(&mut self, now: Moment, unix_seconds: f64, reading: Option<Reading>) {
        let Some(reading) = reading else {
            (self.last, self.process) = (None, None);
            return;
        };
        let cpu_percent = self.last.and_then(|(at, before)| {
            let is_same = before.start_seconds == reading.start_seconds;
            let (used, span) = (reading.cpu_seconds? - before.cpu_seconds?, now.since(at).as_secs_f64());
            (is_same && used >= 0.0 && span > 0.0).then(|| round(used / span * 100.0))
        });
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "filtered: finite and not negative; saturates"
        )]
        let whole = |figure: f64| figure as u64;
        self.process = Some(api::Process {
            cpu_percent,
            memory_bytes: reading.memory_bytes.filter(|bytes| *bytes >= 0.0).map(whole),
            uptime_seconds: reading
                .start_seconds
                .map(|start| round((unix_seconds - start).max(0.0))),
        });
        self.last = Some((now, reading));
    }
}

/// To the hundredth.
fn round(figure: f64) -> f64 {
    (figure * 100.0).round() / 100.0
}

/// Asks whoever is due, for as long as lb runs, at most so many at once.
pub(super) async fn watch(state: Rc<State>, descriptors_max: usize) -> Infallible {
    let asked_max = descriptors_max.clamp(1, ASKED_MAX);
    let mut looks = tokio::time::interval(LOOK_EVERY);
    looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut asked = JoinSet::new();
    loop {
        let mut wait = LOOK_EVERY;
        while asked.len() < asked_max {
            let (now, mut processes) = (Clock::now(), state.processes.borrow_mut());
            let Some((key, url)) = processes.next(now) else {
                wait = processes.next_due().map_or(wait, |due| due.since(now));
                break;
            };
            let counters = Arc::clone(state.board.counters());
            asked.spawn_local(async move {
                let reading = caught("admin: a look at a process", &counters, look(&url)).await;
                ((key, url), reading.flatten())
            });
        }
        tokio::select! {
            _ = looks.tick() => {
                let pages = state.board.process_pages();
                state.processes.borrow_mut().list(pages, Clock::now());
            }
            Some(answered) = asked.join_next() => {
                // Nobody aborts them: there is always an outcome.
                if let Ok((of, reading)) = answered {
                    let unix_seconds = jiff::Timestamp::now().as_duration().as_secs_f64();
                    state.processes.borrow_mut().note(&of, Clock::now(), unix_seconds, reading);
                }
            }
            _ = tokio::time::timeout(wait, std::future::pending::<Infallible>()) => {}
        }
    }
}

async fn look(url: &HttpUrl) -> Option<Reading> {
    let answer = tokio::time::timeout(ANSWER_MAX, ask(url)).await;
    answer.ok().flatten().map(|text| read(&text))
}

async fn ask(url: &HttpUrl) -> Option<String> {
    let stream = TcpStream::connect(url.address).await.ok()?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.ok()?;
    let request = Request::get(&*url.path)
        .header(header::HOST, url.address.to_string())
        .header(header::ACCEPT, "text/plain")
        .header(header::CONNECTION, "close")
        .body(Empty::<Bytes>::new())
        .ok()?;
    let exchange = async move {
        let answer = sender.send_request(request).await.ok()?;
        let is_good = answer.status() == StatusCode::OK;
        let body = Limited::new(answer.into_body(), ANSWER_BYTES_MAX).collect().await;
        let bytes = body.ok()?.to_bytes();
        is_good.then(|| String::from_utf8(bytes.into()).ok()).flatten()
    };
    // The connection goes with whoever waits for the answer: none outlives its turn.
    let connection = async move {
        if let Err(error) = connection.await {
            log::debug!("admin: {}: {error}", url.address);
        }
        std::future::pending::<Infallible>().await
    };
    tokio::select! {
        text = exchange => text,
        never = connection => match never {},
    }
}

/// Prometheus text: a name, perhaps labels, a value. Of the standard names of a process, the three that are shown.
fn read(text: &str) -> Reading {
    let mut reading = Reading::default();
    for line in text.lines() {
        let mut parts = line.split_ascii_whitespace();
        let (Some(name), Some(value)) = (parts.next(), parts.next()) else {
            continue;
        };
        let field = match name {
            "process_cpu_seconds_total" => &mut reading.cpu_seconds,
            "process_resident_memory_bytes" => &mut reading.memory_bytes,
            "process_start_time_seconds" => &mut reading.start_seconds,
            _ => continue,
        };
        *field = value.parse().ok().filter(|figure: &f64| figure.is_finite());
    }
    reading
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(backend: &str, port: u16) -> ProcessPage {
        ProcessPage {
            service: "echo".into(),
            backend: backend.into(),
            url: Arc::new(HttpUrl {
                address: ([127, 0, 0, 1], port).into(),
                path: "/metrics".into(),
            }),
            every: Duration::from_secs(2),
        }
    }

    fn at(seconds: u64) -> Moment {
        Moment::START.plus(Duration::from_secs(seconds))
    }

    fn reading(cpu: f64, start: f64) -> Option<Reading> {
        Some(Reading {
            cpu_seconds: Some(cpu),
            memory_bytes: Some(10.0),
            start_seconds: Some(start),
        })
    }

    /// Who is asked next.
    fn name(asked: Option<(Key, Arc<HttpUrl>)>) -> Option<String> {
        asked.map(|((_, backend), _)| backend.to_string())
    }

    #[test]
    fn the_three_figures_are_found_among_others() {
        let text = "# HELP process_cpu_seconds_total x\n# TYPE process_cpu_seconds_total counter\nprocess_cpu_seconds_total 1.5\n\
                    process_resident_memory_bytes 4.096e3 1700000000\nother{a=\"b\"} 7\nprocess_start_time_seconds NaN\n";
        let wanted = Reading {
            cpu_seconds: Some(1.5),
            memory_bytes: Some(4096.0),
            start_seconds: None,
        };
        assert_eq!(read(text), wanted);
        assert_eq!(read("\u{0}\n  \nprocess_cpu_seconds_total"), Reading::default());
    }

    #[test]
    fn cpu_is_what_was_used_between_two_looks_of_one_process() {
        let mut processes = Processes::default();
        processes.list(vec![page("a", 1)], at(0));
        let shown = |processes: &Processes| processes.known["echo"]["a"].process;
        let asked = processes.next(at(0)).unwrap();
        assert!(processes.next(at(9)).is_none(), "it is being asked");
        processes.note(&asked, at(0), 1000.0, reading(1.0, 900.0));
        let first = shown(&processes).unwrap();
        assert_eq!(
            (first.cpu_percent, first.uptime_seconds, first.memory_bytes),
            (None, Some(100.0), Some(10))
        );
        assert!(processes.next(at(1)).is_none(), "not due");
        assert_eq!(processes.next_due(), Some(at(2)));
        let asked = processes.next(at(2)).unwrap();
        processes.note(&asked, at(2), 1002.0, reading(2.0, 900.0));
        assert_eq!(shown(&processes).unwrap().cpu_percent, Some(50.0));
        let asked = processes.next(at(4)).unwrap();
        processes.note(&asked, at(4), 1004.0, reading(0.1, 1003.0));
        assert_eq!(shown(&processes).unwrap().cpu_percent, None, "it was started anew");
        processes.list(vec![page("a", 2)], at(5));
        assert!(shown(&processes).is_none(), "another page behind the same name");
        assert!(processes.next(at(5)).is_some());
    }

    #[test]
    fn who_is_due_for_longest_is_asked_first_and_who_is_silent_is_left_alone() {
        let mut processes = Processes::default();
        let (a, b, c) = (page("a", 1), page("b", 2), page("c", 3));
        processes.list(vec![b.clone()], at(0));
        processes.list(vec![a.clone(), b.clone(), c.clone()], at(1));
        let silent = processes.next(at(1)).unwrap();
        assert_eq!(&*silent.0.1, "b");
        assert_eq!(name(processes.next(at(1))).as_deref(), Some("a"));
        processes.note(&silent, at(2), 0.0, None);
        assert!(processes.known["echo"]["b"].process.is_none());
        // A new list changes nothing for those who are in it still.
        processes.list(vec![b, c], at(2));
        assert_eq!(name(processes.next(at(3))).as_deref(), Some("c"));
        assert_eq!((processes.next(at(11)), processes.next_due()), (None, Some(at(12))));
        assert_eq!(name(processes.next(at(12))).as_deref(), Some("b"));
    }

    #[test]
    fn an_answer_from_before_a_change_is_nobodys() {
        let mut processes = Processes::default();
        processes.list(vec![page("a", 1)], at(0));
        let old = processes.next(at(0)).unwrap();
        processes.list(Vec::new(), at(1));
        processes.note(&old, at(1), 0.0, reading(1.0, 0.0));
        assert!(processes.queue.is_empty());
        processes.list(vec![page("a", 2)], at(2));
        processes.note(&old, at(2), 0.0, reading(1.0, 0.0));
        assert!(processes.known["echo"]["a"].process.is_none());
        assert_eq!(name(processes.next(at(2))).as_deref(), Some("a"));
    }
}

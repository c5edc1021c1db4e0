//! The processes behind the backends: CPU, memory and uptime, from the Prometheus text that `metrics` of a backend names.
//!
//! Asked at the pace of the health checks, on the admin thread; nothing waits for an answer, and what doesn't come is `null`.

use std::collections::HashMap;
use std::convert::Infallible;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::{Request, StatusCode, header};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::state::State;
use crate::api;
use crate::sys::Clock;
use crate::types::{HttpUrl, Moment};

/// An answer has so long.
const ANSWER_MAX: Duration = Duration::from_secs(1);
/// And so many bytes.
const ANSWER_BYTES_MAX: usize = 256 << 10;
/// Asked at once.
const ASKED_MAX: usize = 8;
/// How often it is looked who is due.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// By service and backend.
type Key = (String, String);

/// What is known.
#[derive(Debug, Default)]
pub(super) struct Processes {
    known: HashMap<Key, Known>,
}

#[derive(Debug)]
struct Known {
    url: Arc<HttpUrl>,
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
        if self.known.is_empty() {
            return;
        }
        let key = (service.to_owned(), backend.name.clone());
        backend.process = self.known.get(&key).and_then(|known| known.process);
    }

    /// Whom to ask now.
    fn due(&mut self, wanted: Vec<(Key, Arc<HttpUrl>, Duration)>, now: Moment) -> Vec<(Key, Arc<HttpUrl>)> {
        let wanted: HashMap<Key, (Arc<HttpUrl>, Duration)> = wanted
            .into_iter()
            .map(|(key, url, every)| (key, (url, every)))
            .collect();
        // Another process behind an old name is another one.
        self.known
            .retain(|key, known| wanted.get(key).is_some_and(|(url, _)| *url == known.url));
        let mut room = ASKED_MAX.saturating_sub(self.known.values().filter(|known| known.is_asked).count());
        let mut due = Vec::new();
        for (key, (url, every)) in wanted {
            let known = self.known.entry(key.clone()).or_insert_with(|| Known {
                url: Arc::clone(&url),
                due: now,
                is_asked: false,
                last: None,
                process: None,
            });
            if known.is_asked || known.due > now || room == 0 {
                continue;
            }
            room = room.saturating_sub(1);
            known.is_asked = true;
            known.due = now.plus(every);
            due.push((key, url));
        }
        due
    }

    /// Somebody has answered, or hasn't. `unix_seconds` is the time of day.
    fn note(&mut self, key: &Key, now: Moment, unix_seconds: f64, reading: Option<Reading>) {
        let Some(known) = self.known.get_mut(key) else { return };
        known.is_asked = false;
        let Some(reading) = reading else {
            (known.last, known.process) = (None, None);
            return;
        };
        let cpu_percent = known.last.and_then(|(at, before)| {
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
        known.process = Some(api::Process {
            cpu_percent,
            memory_bytes: reading.memory_bytes.filter(|bytes| *bytes >= 0.0).map(whole),
            uptime_seconds: reading
                .start_seconds
                .map(|start| round((unix_seconds - start).max(0.0))),
        });
        known.last = Some((now, reading));
    }
}

/// To the hundredth.
fn round(figure: f64) -> f64 {
    (figure * 100.0).round() / 100.0
}

/// Asks whoever is due, for as long as lb runs.
pub(super) async fn watch(state: Rc<State>) -> Infallible {
    let mut looks = tokio::time::interval(LOOK_EVERY);
    looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        looks.tick().await;
        let wanted = state.board.process_pages();
        let due = state.processes.borrow_mut().due(wanted, Clock::now());
        for (key, url) in due {
            let state = Rc::clone(&state);
            tokio::task::spawn_local(async move {
                let answer = tokio::time::timeout(ANSWER_MAX, ask(&url)).await;
                let reading = answer.ok().flatten().map(|text| read(&text));
                let unix_seconds = jiff::Timestamp::now().as_duration().as_secs_f64();
                state
                    .processes
                    .borrow_mut()
                    .note(&key, Clock::now(), unix_seconds, reading);
            });
        }
    }
}

async fn ask(url: &HttpUrl) -> Option<String> {
    let stream = TcpStream::connect(url.address).await.ok()?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.ok()?;
    let conversation = tokio::task::spawn_local(connection);
    let request = Request::get(&*url.path)
        .header(header::HOST, url.address.to_string())
        .header(header::ACCEPT, "text/plain")
        .header(header::CONNECTION, "close")
        .body(Empty::<Bytes>::new())
        .ok()?;
    let answer = sender.send_request(request).await.ok()?;
    let is_good = answer.status() == StatusCode::OK;
    let body = Limited::new(answer.into_body(), ANSWER_BYTES_MAX).collect().await;
    conversation.abort();
    let bytes = body.ok()?.to_bytes();
    is_good.then(|| String::from_utf8(bytes.into()).ok()).flatten()
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

    fn key() -> Key {
        ("echo".to_owned(), "a".to_owned())
    }

    fn url(port: u16) -> Arc<HttpUrl> {
        Arc::new(HttpUrl {
            address: ([127, 0, 0, 1], port).into(),
            path: "/metrics".into(),
        })
    }

    fn at(seconds: u64) -> Moment {
        Moment::START.plus(Duration::from_secs(seconds))
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
        let ask = |processes: &mut Processes, now| processes.due(vec![(key(), url(1), Duration::from_secs(2))], now);
        let reading = |cpu, start| {
            Some(Reading {
                cpu_seconds: Some(cpu),
                memory_bytes: Some(10.0),
                start_seconds: Some(start),
            })
        };
        let shown = |processes: &Processes| processes.known.get(&key()).and_then(|known| known.process);
        assert_eq!(ask(&mut processes, at(0)).len(), 1);
        assert!(ask(&mut processes, at(9)).is_empty(), "it is being asked");
        processes.note(&key(), at(0), 1000.0, reading(1.0, 900.0));
        let first = shown(&processes).unwrap();
        assert_eq!(
            (first.cpu_percent, first.uptime_seconds, first.memory_bytes),
            (None, Some(100.0), Some(10))
        );
        assert!(ask(&mut processes, at(1)).is_empty(), "not due");
        assert_eq!(ask(&mut processes, at(2)).len(), 1);
        processes.note(&key(), at(2), 1002.0, reading(2.0, 900.0));
        assert_eq!(shown(&processes).unwrap().cpu_percent, Some(50.0));
        processes.note(&key(), at(4), 1004.0, reading(0.1, 1003.0));
        assert_eq!(shown(&processes).unwrap().cpu_percent, None, "it was started anew");
        processes.note(&key(), at(6), 1006.0, None);
        assert!(shown(&processes).is_none(), "it doesn't answer");
        let others = processes.due(vec![(key(), url(2), Duration::from_secs(2))], at(6));
        assert_eq!(others.len(), 1, "another page behind the same name");
    }
}

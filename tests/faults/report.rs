//! What a drill is: a fault, claims that must hold, figures; and where they go.
//!
//! In the suite each drill is a short test of lb: claims must hold, figures are only told where nobody's patience hangs on them.
//! `scripts/drills.sh` sets [`ROWS`] and reads one file a drill from there, [`SUBJECT`] and [`LONG`] say of whom and how much.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::field::Field;
use super::subject::Subject;
use crate::common::tell;

const SUBJECT: &str = "LB_DRILLS_SUBJECT";
const LONG: &str = "LB_DRILLS_LONG";
const ROWS: &str = "LB_DRILLS_ROWS";

/// A figure's name, what it is, its unit, and what HAProxy 2.6 and nginx 1.22 had and lb is to have; lower is better, except percent.
type Known = (&'static str, &'static str, &'static str, Option<f64>, Option<f64>, f64);

/// Measured once with a Python client on another day of the same kind of machine, and the goals set from it.
const BOOK: [Known; 18] = [
    (
        "B1",
        "1 MiB up, FIN, 1 MiB down: whole",
        "%",
        Some(100.0),
        Some(100.0),
        100.0,
    ),
    (
        "B2",
        "backend's RST reaches the client as RST",
        "%",
        Some(0.0),
        Some(0.0),
        100.0,
    ),
    (
        "B3",
        "client's RST reaches the backend as RST",
        "%",
        Some(100.0),
        Some(0.0),
        100.0,
    ),
    (
        "B4",
        "kill -9: the dead one's clients told in",
        "ms",
        Some(2.0),
        Some(4.0),
        5.0,
    ),
    (
        "B5",
        "new connections right after, p99",
        "ms",
        Some(58.0),
        Some(19.0),
        15.0,
    ),
    (
        "B6",
        "hung backend: of 90 hang after 2 s",
        "",
        Some(30.0),
        Some(30.0),
        0.0,
    ),
    (
        "B6b",
        "hung backend: of 90 hang after 5 s",
        "",
        Some(30.0),
        Some(30.0),
        0.0,
    ),
    (
        "B7",
        "blackholed backend: slowest of the first 90",
        "ms",
        Some(1014.0),
        Some(1004.0),
        300.0,
    ),
    ("B8", "all down: clients told, p99", "ms", Some(8.4), Some(3.5), 5.0),
    ("B9", "all back: first success after", "s", Some(0.86), Some(5.93), 0.5),
    (
        "B10",
        "client that doesn't read: kernel memory",
        "MiB",
        Some(1.34),
        Some(1.46),
        0.5,
    ),
    (
        "B10b",
        "client that doesn't read: RSS",
        "kB",
        Some(18.7),
        Some(21.0),
        16.0,
    ),
    ("B11", "idle session: RSS", "kB", Some(3.39), Some(9.58), 3.0),
    (
        "B12",
        "reloads under load: failed connections",
        "",
        Some(0.0),
        Some(0.0),
        0.0,
    ),
    (
        "B13",
        "drain: exit after the last session",
        "ms",
        Some(10.0),
        Some(10.0),
        10.0,
    ),
    ("B14", "silent PROXY client held", "s", Some(60.0), Some(30.0), 3.0),
    ("B15", "cold start to first accept", "ms", Some(47.0), Some(5.0), 10.0),
    ("B16", "kill -9 and restart: failed connects", "", Some(8.0), None, 8.0),
];

/// One drill under way.
pub(super) struct Run {
    pub(super) subject: Subject,
    pub(super) is_long: bool,
    held: Vec<String>,
    not_held: Vec<String>,
    /// Claims about what isn't in lb yet.
    pending: Vec<String>,
    figures: Vec<Value>,
}

impl Run {
    /// Something that must hold, in words; `seen` says more when it doesn't.
    pub(super) fn claim(&mut self, holds: bool, claim: &str, seen: impl std::fmt::Display) {
        if holds {
            // Of several rounds one line.
            if !self.held.iter().any(|held| held == claim) {
                self.held.push(claim.to_owned());
            }
        } else {
            self.not_held.push(format!("{claim} (seen: {seen})"));
        }
    }

    /// A claim that needs what this build of lb hasn't got: reported as not held, and no reason for the suite to fail.
    pub(super) fn pending(&mut self, claim: &str, reason: &str) {
        self.pending.push(format!("{claim} ({reason})"));
    }

    /// A figure of the book.
    pub(super) fn figure(&mut self, key: &str, value: f64) {
        let (_, what, unit, haproxy, nginx, goal) = BOOK.iter().find(|known| known.0 == key).unwrap();
        self.note(json!({
            "key": key, "what": what, "unit": unit, "value": rounded(value), "haproxy": haproxy, "nginx": nginx, "goal": goal,
        }));
    }

    /// Another figure, told for what it is.
    pub(super) fn told(&mut self, what: &str, value: f64, unit: &str) {
        self.note(json!({ "what": what, "unit": unit, "value": rounded(value) }));
    }

    /// Of several rounds the worst is told: the least percent of what should be all, the most of anything else.
    fn note(&mut self, figure: Value) {
        let value = |figure: &Value| figure["value"].as_f64().unwrap_or_default();
        let Some(old) = self.figures.iter_mut().find(|old| old["what"] == figure["what"]) else {
            self.figures.push(figure);
            return;
        };
        let is_share = figure["unit"] == "%" && figure["key"].is_string();
        if (value(&figure) < value(old)) == is_share {
            *old = figure;
        }
    }

    /// The long form's number, or the short one's.
    pub(super) const fn size(&self, short: usize, long: usize) -> usize {
        if self.is_long { long } else { short }
    }

    pub(super) fn is_lb(&self) -> bool {
        self.subject == Subject::Lb
    }
}

pub(super) fn millis(span: Duration) -> f64 {
    span.as_secs_f64() * 1000.0
}

/// Three digits that count.
fn rounded(value: f64) -> f64 {
    if value == 0.0 || !value.is_finite() {
        return 0.0;
    }
    let scale = 10f64.powi(2 - value.abs().log10().floor() as i32);
    if scale < 1.0 {
        value.round()
    } else {
        (value * scale).round() / scale
    }
}

/// Runs a drill, where it can be run; of lb in the suite, of whom the environment names otherwise.
pub(super) fn drill(id: &str, fault: &str, subjects: &[Subject], act: impl FnOnce(&mut Run, &Field)) {
    let subject = std::env::var(SUBJECT).map_or(Subject::Lb, |name| Subject::named(&name));
    if !subjects.contains(&subject) {
        return;
    }
    let Some(field) = Field::open(id) else { return };
    let mut run = Run {
        subject,
        is_long: std::env::var_os(LONG).is_some_and(|value| value == "1"),
        held: Vec::new(),
        not_held: Vec::new(),
        pending: Vec::new(),
        figures: Vec::new(),
    };
    let begun = Instant::now();
    let outcome = catch_unwind(AssertUnwindSafe(|| act(&mut run, &field)));
    drop(field);
    if let Err(panic) = &outcome {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        let first = text.unwrap_or_default().lines().take(3).collect::<Vec<_>>().join(" ");
        run.not_held.push(format!("the drill came to its end (seen: {first})"));
    }
    let row = json!({
        "drill": id, "fault": fault, "subject": subject.name(), "form": if run.is_long { "long" } else { "short" },
        "seconds": rounded(begun.elapsed().as_secs_f64()),
        "held": run.held, "not_held": run.not_held, "pending": run.pending, "figures": run.figures,
    });
    if let Some(folder) = std::env::var_os(ROWS) {
        let file = PathBuf::from(folder).join(format!("{id}-{}.json", subject.name()));
        std::fs::write(file, row.to_string()).unwrap();
        return;
    }
    for pending in &run.pending {
        tell(&format!("{id}: not held yet: {pending}"));
    }
    if let Err(panic) = outcome {
        resume_unwind(panic);
    }
    assert!(
        run.not_held.is_empty(),
        "{id}, {fault}: not held: {:#?}; held: {:#?}",
        run.not_held,
        run.held
    );
}

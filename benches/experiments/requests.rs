//! 50 connections' worth of 100 requests each over four backends: every backend has exactly a quarter.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use lb::page::Picture;
use serde::Serialize;
use serde_json::json;

use crate::chapter::{Chapter, GREYS, bars, grouped_bars, picture, server_colour, table};
use crate::common::Failure;
use crate::figures::{grouped, mean, millis, percentile, span};
use crate::policy::ROUND_ROBIN;
use crate::scene::{NO_HEALTH, Setup, Stage, server_name, tell};

const BACKENDS: usize = 4;
const CLIENTS: &str = "50";
const REQUESTS: &str = "100";
const TOTAL: usize = 5_000;
const EXPECTED: f64 = 1_250.0;

#[derive(Serialize)]
struct Row {
    backend: String,
    requests: f64,
    /// As lb's access log has them: from accept to end.
    mean_seconds: f64,
    p50_seconds: f64,
    p99_seconds: f64,
}

/// Writes how many requests each server had to `file` too.
pub(crate) fn run(stage: &Stage, file: &Path) -> Result<Chapter, Failure> {
    let mut chapter = Chapter {
        title: "A-6: 50 x 100 requests",
        how: format!(
            "{CLIENTS} clients at a time, {REQUESTS} requests each, every request on a connection of its own, over {BACKENDS} backends \
             with round_robin. Requests are those that the backends counted; times by backend are those of lb's access log."
        ),
        ..Chapter::default()
    };
    let setup = Setup {
        policy: ROUND_ROBIN,
        keys: "",
        tables: NO_HEALTH,
        delays: vec!["0s"; BACKENDS],
        is_http: false,
    };
    let (report, requests, entries) = stage.play(&setup, |scene| {
        let report = scene.load(&["--conns", CLIENTS, "--requests", REQUESTS, "--new-connection"])?;
        Ok((report, scene.connections()?, scene.await_access_log(TOTAL)?))
    })?;
    let mut seconds: BTreeMap<String, Vec<f64>> = BTreeMap::new();
    for entry in entries {
        seconds
            .entry(entry.backend.unwrap_or_default())
            .or_default()
            .push(entry.seconds);
    }
    let row = |(place, count): (usize, &f64)| {
        let backend = server_name(place);
        let times = seconds.entry(backend.clone()).or_default();
        Row {
            backend,
            requests: *count,
            mean_seconds: mean(times),
            p50_seconds: percentile(times, 0.5),
            p99_seconds: percentile(times, 0.99),
        }
    };
    let rows: Vec<Row> = requests.iter().enumerate().map(row).collect();
    chapter.keep_times("A-6", &report);
    for row in rows.iter().filter(|row| row.requests != EXPECTED) {
        let broken = format!("{} had {} requests, {EXPECTED} are required", row.backend, row.requests);
        chapter.broken.push(broken);
    }
    tell("A-6", &format!("{requests:?}"));
    chapter.pictures = vec![counts(&rows), times(&rows)];
    chapter.tables = vec![figures(&rows)];
    chapter.figures = json!({"clients": CLIENTS, "requests_each": REQUESTS, "expected": EXPECTED, "rows": rows});
    let lines = rows.iter().map(|row| format!("{}: {}\n", row.backend, row.requests));
    fs::write(file, lines.collect::<String>())?;
    Ok(chapter)
}

fn counts(rows: &[Row]) -> Picture {
    let shown: Vec<(&str, &'static str, f64)> = rows
        .iter()
        .enumerate()
        .map(|(place, row)| (row.backend.as_str(), server_colour(place), row.requests))
        .collect();
    let requests: Vec<f64> = rows.iter().map(|row| row.requests).collect();
    let exact = requests.iter().filter(|count| **count == EXPECTED).count();
    bars(picture("Requests of each backend", "requests"), &shown).caption(&format!(
        "Each backend had {} requests, {} in all. {exact} of {} had exactly the {} that a quarter is.",
        span(&requests, grouped),
        grouped(requests.iter().sum()),
        rows.len(),
        grouped(EXPECTED)
    ))
}

fn times(rows: &[Row]) -> Picture {
    let names: Vec<&str> = rows.iter().map(|row| row.backend.as_str()).collect();
    let values = |value: fn(&Row) -> f64| rows.iter().map(|row| 1000.0 * value(row)).collect();
    let series = [
        ("p50".to_owned(), GREYS[0], values(|row| row.p50_seconds)),
        ("p99".to_owned(), GREYS[2], values(|row| row.p99_seconds)),
    ];
    let told = |value: fn(&Row) -> f64| span(&rows.iter().map(value).collect::<Vec<_>>(), millis);
    grouped_bars(picture("Time of a connection in lb, by backend", "ms"), &names, &series).caption(&format!(
        "Half of the connections took no more than {}, by backend. The slowest hundredth took more than {}.",
        told(|row| row.p50_seconds),
        told(|row| row.p99_seconds)
    ))
}

fn figures(rows: &[Row]) -> lb::page::Table {
    let cells = |row: &Row| {
        vec![
            row.backend.clone(),
            grouped(row.requests),
            millis(row.mean_seconds),
            millis(row.p50_seconds),
            millis(row.p99_seconds),
        ]
    };
    let head = ["backend", "requests", "mean", "p50", "p99"];
    table("", &head, rows.iter().map(cells).collect())
}

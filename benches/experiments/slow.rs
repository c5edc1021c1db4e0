//! one of four backends is twenty times slower; who finds out?

use lb::page::Picture;
use serde::Serialize;
use serde_json::json;

use crate::chapter::{Chapter, GREYS, grouped_bars, picture, table};
use crate::common::Failure;
use crate::figures::{grouped, millis, percent};
use crate::policy::{FASTEST, HASHING, PLAIN, Policy, ROUND_ROBIN};
use crate::scene::{NO_HEALTH, Setup, Stage, tell};

const DELAYS: [&str; 4] = ["1ms", "1ms", "1ms", "20ms"];
const SLOW: usize = 3;
/// Enough for two on each backend; many more would measure the processor instead, which all programs share.
const AT_ONCE: &str = "8";
/// `fastest` is to keep its slowest hundredth below this part of round robin's.
const PART_MAX: f64 = 0.2;

/// What the clients do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
enum Mode {
    /// A new connection for each request.
    Short,
    /// Ten requests a connection.
    Long,
}

const REQUESTS_OF_LONG: &str = "10";

impl Mode {
    const fn words(self) -> &'static str {
        match self {
            Self::Short => "a new connection for each request",
            Self::Long => "ten requests a connection",
        }
    }
}

#[derive(Serialize)]
struct Row {
    policy: &'static str,
    mode: Mode,
    requests: f64,
    requests_per_second: f64,
    p50_seconds: f64,
    p99_seconds: f64,
    /// Of all connections.
    slow_share_percent: f64,
}

pub(crate) fn run(stage: &Stage) -> Result<Chapter, Failure> {
    let mut chapter = Chapter {
        title: "A-5: one backend is slow",
        how: format!(
            "Three backends answer after 1 ms, one after 20 ms; {AT_ONCE} connections at a time, each with its next request as soon as \
             the answer is there (a closed loop). A new connection for each request, its connect counted; and connections of ten \
             requests. The hashing policies go by the connection's number. \
             (Connections that last for the whole run would show nothing: each is placed once, before anyone has answered.)"
        ),
        ..Chapter::default()
    };
    let policies: Vec<Policy> = match stage.is_quick {
        true => vec![ROUND_ROBIN, FASTEST],
        false => PLAIN.into_iter().chain(HASHING).collect(),
    };
    let mut rows = Vec::new();
    for mode in [Mode::Short, Mode::Long] {
        for policy in &policies {
            rows.push(one(stage, *policy, mode, &mut chapter)?);
        }
    }
    for mode in [Mode::Short, Mode::Long] {
        let part = part(&rows, mode);
        // A look is short, and may be at a machine that is busy with other things: it says nothing of times.
        if !stage.is_quick && (part.is_nan() || part > PART_MAX) {
            chapter.broken.push(format!(
                "with {}, the p99 of fastest is {part:.2} of that of round_robin, at most {PART_MAX} is required",
                mode.words()
            ));
        }
    }
    chapter.pictures = [Mode::Short, Mode::Long].map(|mode| times(&rows, mode)).to_vec();
    chapter.tables = vec![figures(&rows)];
    chapter.figures =
        json!({"delays": DELAYS, "at_once": AT_ONCE, "fastest_to_round_robin_p99_max": PART_MAX, "rows": rows});
    Ok(chapter)
}

fn one(stage: &Stage, policy: Policy, mode: Mode, chapter: &mut Chapter) -> Result<Row, Failure> {
    let setup = Setup {
        policy,
        keys: "hash_key = \"connection\"",
        tables: NO_HEALTH,
        delays: DELAYS.to_vec(),
        is_http: false,
    };
    // The first connections find out; they are to be well below a hundredth.
    let (duration, conns) = (stage.either("8s", "2s"), stage.either("2500", "800"));
    let (report, connections) = stage.play(&setup, |scene| {
        let report = match mode {
            Mode::Short => scene.load(&["--conns", AT_ONCE, "--new-connection", "--duration", duration])?,
            Mode::Long => scene.load(&[
                "--conns",
                conns,
                "--concurrency",
                AT_ONCE,
                "--requests",
                REQUESTS_OF_LONG,
            ])?,
        };
        Ok((report, scene.connections()?))
    })?;
    chapter.keep_times(&format!("A-5 {}, {}", policy.label, mode.words()), &report);
    let slow = connections.get(SLOW).copied().unwrap_or(f64::NAN);
    let row = Row {
        policy: policy.label,
        mode,
        requests: report.number("/requests/ok")?,
        requests_per_second: report.number("/requests_per_second")?,
        p50_seconds: report.number("/response_time_seconds/p50")?,
        p99_seconds: report.number("/response_time_seconds/p99")?,
        slow_share_percent: 100.0 * slow / connections.iter().sum::<f64>(),
    };
    let (p50, p99) = (millis(row.p50_seconds), millis(row.p99_seconds));
    tell(
        "A-5",
        &format!("{}, {}: p50 {p50}, p99 {p99}", policy.label, mode.words()),
    );
    Ok(row)
}

fn find<'a>(rows: &'a [Row], policy: &Policy, mode: Mode) -> Option<&'a Row> {
    rows.iter().find(|row| row.policy == policy.label && row.mode == mode)
}

/// The p99 of `fastest`, in parts of round robin's.
fn part(rows: &[Row], mode: Mode) -> f64 {
    let p99 = |policy| find(rows, policy, mode).map_or(f64::NAN, |row| row.p99_seconds);
    p99(&FASTEST) / p99(&ROUND_ROBIN)
}

fn times(rows: &[Row], mode: Mode) -> Picture {
    let shown: Vec<&Row> = rows.iter().filter(|row| row.mode == mode).collect();
    let names: Vec<&str> = shown.iter().map(|row| row.policy).collect();
    let values = |value: fn(&Row) -> f64| shown.iter().map(|row| 1000.0 * value(row)).collect();
    let series = [
        ("p50".to_owned(), GREYS[0], values(|row| row.p50_seconds)),
        ("p99".to_owned(), GREYS[2], values(|row| row.p99_seconds)),
    ];
    let told = |policy: &Policy| {
        find(rows, policy, mode).map_or_else(String::new, |row| {
            format!(
                "{} sends {} of its connections to the slow backend, and its p99 is {}",
                row.policy,
                percent(row.slow_share_percent),
                millis(row.p99_seconds)
            )
        })
    };
    let caption = format!(
        "{}; {}. That is {:.2} of round robin's, and at most {PART_MAX} is required.",
        told(&ROUND_ROBIN),
        told(&FASTEST),
        part(rows, mode)
    );
    let picture = picture(&format!("Response times: {}", mode.words()), "ms");
    grouped_bars(picture, &names, &series).caption(&caption)
}

fn figures(rows: &[Row]) -> lb::page::Table {
    let cells = |row: &Row| {
        vec![
            row.policy.to_owned(),
            row.mode.words().to_owned(),
            grouped(row.requests),
            grouped(row.requests_per_second),
            millis(row.p50_seconds),
            millis(row.p99_seconds),
            percent(row.slow_share_percent),
        ]
    };
    let head = [
        "policy",
        "load",
        "requests",
        "requests/s",
        "p50",
        "p99",
        "connections to the slow one",
    ];
    table("", &head, rows.iter().map(cells).collect())
}

//! what more backends change: the load of each, how far it spreads, and the response times.

use lb::page::{Picture, axis};
use plotly::common::{ErrorData, ErrorType, Line, Marker, Mode};
use plotly::layout::RangeMode;
use plotly::{Bar, Scatter};
use serde::Serialize;
use serde_json::json;

use crate::chapter::{Chapter, picture, table};
use crate::common::Failure;
use crate::figures::{deviation, grouped, least, mean, millis, most, percent, span};
use crate::policy::{LEAST_CONNECTIONS, MAGLEV, Policy, RANDOM_TWO, ROUND_ROBIN};
use crate::scene::{NO_HEALTH, Setup, Stage, tell};

const BACKENDS: [usize; 5] = [2, 3, 4, 5, 6];
const POLICIES: [Policy; 4] = [ROUND_ROBIN, LEAST_CONNECTIONS, RANDOM_TWO, MAGLEV];
const AT_ONCE: &str = "32";
const DELAY: &str = "2ms";

#[derive(Serialize)]
struct Row {
    policy: &'static str,
    backends: usize,
    connections: Vec<f64>,
    mean: f64,
    least: f64,
    most: f64,
    /// The standard deviation, in per cent of the mean.
    spread_percent: f64,
    p50_seconds: f64,
    p99_seconds: f64,
}

pub(crate) fn run(stage: &Stage) -> Result<Chapter, Failure> {
    let total = stage.either(10_000_u32, 600);
    let mut chapter = Chapter {
        title: "A-2: two to six backends",
        how: format!(
            "{} connections of one request, {AT_ONCE} at a time; every backend takes {DELAY} to answer. Client, lb and all backends \
             share this machine's cores: more backends share the load, but bring no more processor time.",
            grouped(f64::from(total))
        ),
        ..Chapter::default()
    };
    let mut rows = Vec::new();
    for backends in BACKENDS {
        for policy in POLICIES {
            rows.push(one(stage, total, (policy, backends), &mut chapter)?);
        }
    }
    chapter.pictures = vec![
        loads(&rows),
        spreads(&rows),
        times(&rows, "Median response time", |row| row.p50_seconds),
        times(&rows, "Response time of the slowest hundredth (p99)", |row| {
            row.p99_seconds
        }),
    ];
    chapter.tables = vec![figures(&rows)];
    chapter.figures = json!({"connections": total, "at_once": AT_ONCE, "delay": DELAY, "rows": rows});
    Ok(chapter)
}

fn one(stage: &Stage, total: u32, (policy, backends): (Policy, usize), chapter: &mut Chapter) -> Result<Row, Failure> {
    let setup = Setup {
        policy,
        keys: "hash_key = \"connection\"",
        tables: NO_HEALTH,
        delays: vec![DELAY; backends],
        is_http: false,
    };
    let (report, connections) = stage.play(&setup, |scene| {
        // The connect belongs to the response time only so.
        let total = total.to_string();
        let report = scene.load(&["--conns", &total, "--concurrency", AT_ONCE, "--new-connection"])?;
        Ok((report, scene.connections()?))
    })?;
    chapter.keep_times(&format!("A-2 {} over {backends} backends", policy.label), &report);
    tell(
        "A-2",
        &format!("{} over {backends} backends: {connections:?}", policy.label),
    );
    let mean = mean(&connections);
    Ok(Row {
        policy: policy.label,
        backends,
        mean,
        least: least(&connections),
        most: most(&connections),
        spread_percent: 100.0 * deviation(&connections) / mean,
        p50_seconds: report.number("/response_time_seconds/p50")?,
        p99_seconds: report.number("/response_time_seconds/p99")?,
        connections,
    })
}

fn of<'a>(rows: &'a [Row], policy: &Policy) -> impl Iterator<Item = &'a Row> {
    let label = policy.label;
    rows.iter().filter(move |row| row.policy == label)
}

fn loads(rows: &[Row]) -> Picture {
    let mut picture =
        picture("Mean load of a backend, from the least to the most", "connections").x_axis(axis("backends"));
    for policy in POLICIES {
        let backends = of(rows, &policy).map(|row| row.backends).collect();
        let above = of(rows, &policy).map(|row| row.most - row.mean).collect();
        let below = of(rows, &policy).map(|row| row.mean - row.least).collect();
        let bars = Bar::new(backends, of(rows, &policy).map(|row| row.mean).collect())
            .name(policy.label)
            .marker(Marker::new().color(policy.colour))
            .error_y(ErrorData::new(ErrorType::Data).array(above).array_minus(below));
        picture = picture.trace(bars);
    }
    let means = |backends| {
        let mut found = rows.iter().filter(move |row| row.backends == backends);
        found.next().map_or(f64::NAN, |row| row.mean)
    };
    let widest = rows
        .iter()
        .max_by(|one, other| (one.most - one.least).total_cmp(&(other.most - other.least)));
    let widest = widest.map_or_else(String::new, |row| {
        format!(
            "{} over {} backends, {} to {} connections",
            row.policy,
            row.backends,
            grouped(row.least),
            grouped(row.most)
        )
    });
    picture.caption(&format!(
        "The mean falls from {} connections with 2 backends to {} with 6, for every policy. Farthest apart are the backends of {widest}.",
        grouped(means(2)),
        grouped(means(6))
    ))
}

fn lines(mut picture: Picture, rows: &[Row], value: impl Fn(&Row) -> f64) -> Picture {
    for policy in POLICIES {
        let backends = of(rows, &policy).map(|row| row.backends).collect();
        let line = Scatter::new(backends, of(rows, &policy).map(&value).collect())
            .name(policy.label)
            .mode(Mode::LinesMarkers)
            .line(Line::new().color(policy.colour))
            .marker(Marker::new().color(policy.colour));
        picture = picture.trace(line);
    }
    picture.x_axis(axis("backends").dtick(1.0))
}

fn spreads(rows: &[Row]) -> Picture {
    let worst = |policy: &Policy| most(&of(rows, policy).map(|row| row.spread_percent).collect::<Vec<_>>());
    let told = POLICIES.map(|policy| format!("{} {}", policy.label, percent(worst(&policy))));
    let six: Vec<String> = rows
        .iter()
        .filter(|row| row.backends == 6)
        .map(|row| format!("{} {}", row.policy, percent(row.spread_percent)))
        .collect();
    let picture = picture("Spread: standard deviation of the loads", "% of the mean");
    lines(picture, rows, |row| row.spread_percent).caption(&format!(
        "At their worst the loads spread by {}. With 6 backends it is {}.",
        told.join(", "),
        six.join(", ")
    ))
}

fn times(rows: &[Row], title: &str, value: impl Fn(&Row) -> f64) -> Picture {
    let end = |backends: usize| {
        let values: Vec<f64> = rows.iter().filter(|row| row.backends == backends).map(&value).collect();
        span(&values, millis)
    };
    let by_value = |one: &&Row, other: &&Row| value(one).total_cmp(&value(other));
    let highest = rows.iter().max_by(by_value).map_or_else(String::new, |row| {
        format!(
            "{} over {} backends with {}",
            row.policy,
            row.backends,
            millis(value(row))
        )
    });
    lines(
        picture(title, "ms").y_axis(axis("ms").range_mode(RangeMode::ToZero)),
        rows,
        |row| 1000.0 * value(row),
    )
    .caption(&format!(
        "With 2 backends it is {}, with 6 it is {}. The highest is that of {highest}.",
        end(2),
        end(6)
    ))
}

fn figures(rows: &[Row]) -> lb::page::Table {
    let cells = |row: &Row| {
        vec![
            row.policy.to_owned(),
            row.backends.to_string(),
            grouped(row.mean),
            grouped(row.least),
            grouped(row.most),
            percent(row.spread_percent),
            millis(row.p50_seconds),
            millis(row.p99_seconds),
        ]
    };
    let head = [
        "policy",
        "backends",
        "mean load",
        "least",
        "most",
        "spread",
        "p50",
        "p99",
    ];
    table("", &head, rows.iter().map(cells).collect())
}

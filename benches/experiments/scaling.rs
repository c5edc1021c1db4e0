//! what a forecast of the load saves: a week of traffic, simulated, that lb's own scaling follows with and without it.

use lb::page::{Picture, Table, axis};
use plotly::Scatter;
use plotly::common::{Line, LineShape, Marker, Mode};
use plotly::layout::RangeMode;
use serde::Serialize;
use serde_json::json;

use crate::chapter::{Chapter, grouped_bars, picture, table};
use crate::common::Failure;
use crate::figures::{grouped, mean, percent, span};
use crate::replicas::{
    self, COOLDOWN, LEARNING_DAYS, LOOK_SECONDS, MAX, Outcome, PREDICTION, START_SECONDS, TARGET, Way,
};
use crate::scene::{Stage, tell};
use crate::traffic::{self, DAY_SECONDS, DAYS, Shape, Traffic};

/// A lower target is room for what comes: it is what prediction has to beat.
const TARGETS: [u32; 6] = [100, 95, 90, 85, 80, 75];

#[derive(Serialize)]
struct Row {
    traffic: &'static str,
    way: &'static str,
    target: u32,
    /// Of each week.
    above_percent: Vec<f64>,
    replica_minutes: Vec<f64>,
    changes: Vec<f64>,
}

#[derive(Serialize)]
struct Backtest {
    traffic: &'static str,
    /// Of each week, at its end: mean absolute errors in connections.
    own_error: Vec<f64>,
    naive_error: Vec<f64>,
    used_percent: Vec<f64>,
}

/// A day of one week, for the picture.
struct Day {
    live: Vec<f64>,
    ready: Vec<(Way, Vec<f64>)>,
}

pub(crate) fn run(stage: &Stage) -> Result<Chapter, Failure> {
    let weeks = stage.either(5_u64, 1);
    let (mut rows, mut backtests, mut day) = (Vec::new(), Vec::new(), None);
    for shape in Shape::ALL {
        let mut backtest = Backtest {
            traffic: shape.label(),
            own_error: Vec::new(),
            naive_error: Vec::new(),
            used_percent: Vec::new(),
        };
        let mut of_shape: Vec<Row> = cases().map(|(way, target)| Row::new(shape, way, target)).collect();
        for seed in 1..=weeks {
            let traffic = traffic::week(shape, seed);
            let outlooks = replicas::outlooks(&traffic);
            let errors = replicas::errors(&outlooks).ok_or("a week was too short to learn from")?;
            backtest.own_error.push(errors.own);
            backtest.naive_error.push(errors.naive);
            backtest.used_percent.push(replicas::used_percent(&outlooks));
            let mut shown = Vec::new();
            for ((way, target), row) in cases().zip(&mut of_shape) {
                let outcome = replicas::follow(&traffic, &outlooks, way, target);
                row.add(&outcome);
                shown.extend((target == TARGET).then_some((way, outcome)));
            }
            if shape == Shape::Office && seed == 1 {
                day = Some(Day::of(&traffic, &shown));
            }
        }
        tell_of(&backtest, &of_shape);
        rows.extend(of_shape);
        backtests.push(backtest);
    }
    let mut chapter = Chapter {
        title: "A-7: scaling with and without prediction",
        how: how(weeks),
        broken: broken(&rows),
        ..Chapter::default()
    };
    chapter.pictures.push(above(&rows));
    chapter.pictures.extend(day.map(|day| morning(&day)));
    chapter
        .pictures
        .extend([Shape::Office, Shape::Hourly].map(|shape| trade(&rows, shape)));
    chapter.tables = vec![figures(&rows), errors(&backtests)];
    chapter.figures = json!({
        "weeks": weeks, "learning_days": LEARNING_DAYS, "target_connections": TARGET, "max": MAX, "start_seconds": START_SECONDS,
        "cooldown_seconds": COOLDOWN.as_secs(), "predict_seconds": PREDICTION.ahead.as_secs(), "rows": rows, "backtests": backtests,
    });
    Ok(chapter)
}

fn cases() -> impl Iterator<Item = (Way, u32)> {
    let targets = |way: Way| {
        TARGETS
            .into_iter()
            .filter(move |target| way != Way::Fixed || *target == TARGET)
    };
    Way::ALL
        .into_iter()
        .flat_map(move |way| targets(way).map(move |target| (way, target)))
}

fn how(weeks: u64) -> String {
    format!(
        "Simulated: processes and the clock; lb's own code forecasts and decides, every {LOOK_SECONDS} s. {weeks} week(s) of each kind of \
         traffic, the last {} days measured, the days before only learnt from. Connections come at random and live a minute on average; \
         weekdays differ by up to a third as a factor, and the rate wanders by some per cent. A replica takes {START_SECONDS} s from its \
         order to its first connection and is to have at most {TARGET} live connections; there are 1 to {MAX}, cooldown {} min, predict \
         {} min. Above target = the connections that came while the ready replicas had more than {TARGET} each on average. A lower \
         target, 95 to 75, leaves room for what comes, and costs replicas too: prediction has to be better than that.",
        DAYS - LEARNING_DAYS,
        COOLDOWN.as_secs() / 60,
        PREDICTION.ahead.as_secs() / 60,
    )
}

impl Row {
    fn new(shape: Shape, way: Way, target: u32) -> Self {
        Self {
            traffic: shape.label(),
            way: way.label(),
            target,
            above_percent: Vec::new(),
            replica_minutes: Vec::new(),
            changes: Vec::new(),
        }
    }

    fn add(&mut self, outcome: &Outcome) {
        self.above_percent.push(outcome.above_percent());
        self.replica_minutes.push(outcome.replica_minutes);
        self.changes.push(outcome.changes);
    }
}

fn tell_of(backtest: &Backtest, rows: &[Row]) {
    let kind = backtest.traffic;
    let (own, naive) = (mean(&backtest.own_error), mean(&backtest.naive_error));
    tell(
        "A-7",
        &format!("{kind}: off by {own:.1} connections, \"the same as now\" by {naive:.1}"),
    );
    for row in rows.iter().filter(|row| row.target == TARGET) {
        let (above, minutes) = (percent(mean(&row.above_percent)), grouped(mean(&row.replica_minutes)));
        tell(
            "A-7",
            &format!("{kind}, {}: {above} above target, {minutes} replica-minutes", row.way),
        );
    }
}

fn find(rows: &[Row], shape: Shape, way: Way) -> impl Iterator<Item = &Row> {
    rows.iter()
        .filter(move |row| row.traffic == shape.label() && row.way == way.label())
}

fn at_target(rows: &[Row], shape: Shape, way: Way, value: impl Fn(&Row) -> &Vec<f64>) -> f64 {
    find(rows, shape, way)
        .find(|row| row.target == TARGET)
        .map_or(f64::NAN, |row| mean(value(row)))
}

/// Prediction must never make more connections wait than its absence does.
fn broken(rows: &[Row]) -> Vec<String> {
    let is_worse = |shape: &Shape| {
        let above = |way| at_target(rows, *shape, way, |row| &row.above_percent);
        above(Way::Predicting) > above(Way::Reactive)
    };
    let worse = Shape::ALL.into_iter().filter(is_worse);
    worse
        .map(|shape| {
            format!(
                "{}: more connections above target with prediction than without",
                shape.label()
            )
        })
        .collect()
}

fn above(rows: &[Row]) -> Picture {
    let names = Shape::ALL.map(Shape::label);
    let values = |way: Way| {
        Shape::ALL
            .map(|shape| at_target(rows, shape, way, |row| &row.above_percent))
            .to_vec()
    };
    let series = [Way::Reactive, Way::PredictingMean, Way::Predicting]
        .map(|way| (way.label().to_owned(), way.colour(), values(way)));
    let told = Shape::ALL.map(|shape| {
        let above = |way| percent(at_target(rows, shape, way, |row| &row.above_percent));
        let minutes = |way| at_target(rows, shape, way, |row| &row.replica_minutes);
        let more = 100.0 * (minutes(Way::Predicting) / minutes(Way::Reactive) - 1.0);
        format!(
            "{}: {} without, {} with, for {} more replica-minutes",
            shape.label(),
            above(Way::Reactive),
            above(Way::Predicting),
            percent(more)
        )
    });
    grouped_bars(
        picture("Connections above target", "% of those that came"),
        &names,
        &series,
    )
    .caption(&format!(
        "{}. The fixed {MAX} replicas have none above, and take {} replica-minutes where reactive ones take {}.",
        told.join("; "),
        grouped(at_target(rows, Shape::Office, Way::Fixed, |row| &row.replica_minutes)),
        grouped(at_target(rows, Shape::Office, Way::Reactive, |row| &row.replica_minutes)),
    ))
}

impl Day {
    /// The fifth day, minute by minute.
    fn of(traffic: &Traffic, outcomes: &[(Way, Outcome)]) -> Self {
        let minutes = 4 * DAY_SECONDS / 60..5 * DAY_SECONDS / 60;
        let live = |minute: usize| {
            traffic
                .live
                .get(minute.saturating_mul(60))
                .map_or(f64::NAN, |live| f64::from(*live) / f64::from(TARGET))
        };
        let ready = |outcome: &Outcome| {
            minutes
                .clone()
                .filter_map(|minute| outcome.ready.get(minute))
                .map(|ready| f64::from(*ready))
                .collect()
        };
        let shown = outcomes
            .iter()
            .filter(|(way, _)| matches!(way, Way::Reactive | Way::Predicting));
        Self {
            live: minutes.clone().map(live).collect(),
            ready: shown.map(|(way, outcome)| (*way, ready(outcome))).collect(),
        }
    }
}

/// From eight to nine, when all come.
fn morning(day: &Day) -> Picture {
    const SHOWN: std::ops::Range<usize> = 480..545;
    let hours = || SHOWN.map(|minute| minute as f64 / 60.0).collect::<Vec<_>>();
    let part = |values: &[f64]| values.get(SHOWN).unwrap_or_default().to_vec();
    let live = Scatter::new(hours(), part(&day.live))
        .mode(Mode::Lines)
        .line(Line::new().color("#343a40").dash(plotly::common::DashType::Dot));
    let mut picture = picture("The fifth morning in the office", "replicas")
        .x_axis(axis("hour of the day"))
        .trace(live.name("live connections / target"));
    for (way, ready) in &day.ready {
        let line = Line::new().color(way.colour()).shape(LineShape::Hv);
        picture = picture.trace(
            Scatter::new(hours(), part(ready))
                .mode(Mode::Lines)
                .line(line)
                .name(format!("ready, {}", way.label())),
        );
    }
    picture.caption("Where a line of ready replicas runs below the dotted one, connections are above target.")
}

fn trade(rows: &[Row], shape: Shape) -> Picture {
    let title = format!("What room costs: {}", shape.label());
    let mut picture = picture(&title, "% above target")
        .x_axis(axis("replica-minutes, in four days"))
        .y_axis(axis("% above target").range_mode(RangeMode::ToZero));
    for way in [Way::Reactive, Way::PredictingMean, Way::Predicting] {
        let minutes = find(rows, shape, way).map(|row| mean(&row.replica_minutes)).collect();
        let above = find(rows, shape, way).map(|row| mean(&row.above_percent)).collect();
        let line = Scatter::new(minutes, above)
            .mode(Mode::LinesMarkers)
            .line(Line::new().color(way.colour()))
            .marker(Marker::new().color(way.colour()));
        picture = picture.trace(line.name(way.label()));
    }
    picture.caption(
        "Each line is one way, with targets from 100 (left) to 75 (right): further down and further left is better.",
    )
}

fn figures(rows: &[Row]) -> Table {
    let cells = |row: &Row| {
        vec![
            row.traffic.to_owned(),
            row.way.to_owned(),
            row.target.to_string(),
            percent(mean(&row.above_percent)),
            span(&row.above_percent, percent),
            grouped(mean(&row.replica_minutes)),
            grouped(mean(&row.changes)),
        ]
    };
    let head = [
        "traffic",
        "way",
        "target",
        "above target",
        "least to most",
        "replica-minutes",
        "changes",
    ];
    table("", &head, rows.iter().map(cells).collect())
}

fn errors(backtests: &[Backtest]) -> Table {
    let one = |value: f64| format!("{value:.1}");
    let cells = |row: &Backtest| {
        vec![
            row.traffic.to_owned(),
            span(&row.own_error, one),
            span(&row.naive_error, one),
            percent(mean(&row.used_percent)),
        ]
    };
    let head = [
        "traffic",
        "forecast off by",
        "\"the same as now\" off by",
        "forecast in use",
    ];
    let title = "Mean absolute errors of the last day, in connections; of the weeks, the least to the most";
    table(title, &head, backtests.iter().map(cells).collect())
}

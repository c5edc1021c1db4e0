//! What a forecast costs: `cargo bench --bench forecast`. A full point (the decomposition of four seasons), a look at any other moment, and
//! saying what is expected; by how far ahead, which decides how many points a season has.

#![allow(clippy::expect_used, reason = "what can't go on stops the measurement")]

use std::f64::consts::TAU;
use std::hint::black_box;
use std::time::Duration;

use criterion::{BatchSize, BenchmarkId, Criterion};
use lb::config::Prediction;
use lb::elastic::scale::forecast::{Forecaster, Outlook};

const DAY: Duration = Duration::from_hours(24);
const AHEAD: [Duration; 2] = [Duration::from_mins(2), Duration::from_hours(1)];

/// A forecaster that has seen five days, and the middle of its next point.
fn learnt(ahead: Duration) -> (Forecaster, Duration) {
    let mut forecaster = Forecaster::new(Prediction { ahead, season: DAY });
    let mut now = forecaster.step().mul_f64(0.5);
    let mut random = fastrand::Rng::with_seed(1);
    while now < DAY.saturating_mul(5) {
        let wave = (now.as_secs_f64() / DAY.as_secs_f64() * TAU).sin();
        forecaster.observe(now, (500.0 + 400.0 * wave + 30.0 * random.f64()) as u64);
        now = now.saturating_add(forecaster.step());
    }
    assert!(matches!(forecaster.outlook(), Outlook::Use(..)), "nothing was learnt");
    (forecaster, now)
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    let mut group = criterion.benchmark_group("forecast");
    for ahead in AHEAD {
        let (forecaster, now) = learnt(ahead);
        let points = DAY.as_secs_f64() / forecaster.step().as_secs_f64();
        let name = |what: &str| BenchmarkId::new(what, format!("{points:.0} points a day"));
        let observe = |mut forecaster: Forecaster, at: Duration| {
            forecaster.observe(at, 500);
            forecaster
        };
        group.bench_function(name("a full point"), |bencher| {
            bencher.iter_batched(
                || forecaster.clone(),
                |forecaster| observe(forecaster, now),
                BatchSize::SmallInput,
            );
        });
        let between = now.saturating_sub(forecaster.step().mul_f64(0.75));
        group.bench_function(name("a look"), |bencher| {
            bencher.iter_batched(
                || forecaster.clone(),
                |forecaster| observe(forecaster, between),
                BatchSize::SmallInput,
            );
        });
        group.bench_function(name("what is expected"), |bencher| {
            bencher.iter(|| black_box(&forecaster).outlook())
        });
    }
    group.finish();
    criterion.final_summary();
}

//! A week of traffic, second by second, for A-7: made of seeded chance, the same at each run.
//!
//! Connections arrive as a Poisson process whose rate follows a pattern of the day; each lives for an exponentially distributed time,
//! a minute on average. Over the pattern lie a weekday's factor, and a disturbance that wanders by some per cent over minutes.

use std::f64::consts::TAU;

pub(crate) const DAY_SECONDS: usize = 86_400;
pub(crate) const DAYS: usize = 7;
/// Mean life of a connection.
const LIFE_SECONDS: f64 = 60.0;
/// From Monday on.
const WEEKDAYS: [f64; DAYS] = [1.0, 1.05, 1.1, 1.0, 0.95, 0.75, 0.7];

/// The shape of a day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// An office: within ten minutes all are there, and at noon many go.
    Office,
    /// People at home: it rises slowly to the evening.
    Evening,
    /// Jobs that start with each hour, over a quiet ground.
    Hourly,
    /// No pattern: the rate wanders.
    Wandering,
}

impl Shape {
    pub(crate) const ALL: [Self; 4] = [Self::Office, Self::Hourly, Self::Evening, Self::Wandering];

    pub(crate) const fn label(self) -> &'static str {
        match self {
            Self::Office => "office",
            Self::Evening => "evening",
            Self::Hourly => "hourly jobs",
            Self::Wandering => "no pattern",
        }
    }

    /// Live connections that the day's pattern is for, at a part of the day from 0 to 1.
    fn live(self, part: f64) -> f64 {
        let bell = |middle: f64, width: f64| (-((part - middle) / width).powi(2) / 2.0).exp();
        let step = |at: f64, width: f64| 1.0 / (1.0 + (-(part - at) / width).exp());
        // Two minutes, as a part of a day: the width of the logistic function whose middle half takes about five.
        const MINUTES: f64 = 2.0 / 1440.0;
        match self {
            Self::Office => {
                let present = step(0.354, MINUTES) - step(0.729, 4.0 * MINUTES);
                let lunch = step(0.5, MINUTES) - step(0.535, MINUTES);
                80.0 + 900.0 * present - 450.0 * lunch
            }
            Self::Evening => 80.0 + 300.0 * bell(0.5, 0.12) + 900.0 * bell(0.84, 0.07),
            Self::Hourly => {
                let hour = (part * 24.0).fract();
                let jobs = if hour < 0.12 { 600.0 } else { 0.0 };
                150.0 + 120.0 * (TAU * (part - 0.3)).sin() + jobs
            }
            Self::Wandering => 500.0,
        }
    }
}

/// What came and what was there, each second.
pub(crate) struct Traffic {
    pub(crate) arrived: Vec<u32>,
    pub(crate) live: Vec<u32>,
}

/// A week of that shape.
pub(crate) fn week(shape: Shape, seed: u64) -> Traffic {
    let mut random = fastrand::Rng::with_seed(seed);
    let seconds = DAYS * DAY_SECONDS;
    let mut leaving = vec![0_u32; seconds + 1];
    let (mut arrived, mut live) = (Vec::with_capacity(seconds), Vec::with_capacity(seconds));
    let (mut disturbance, mut wander, mut here) = (0.0_f64, 0.0_f64, 0_u32);
    for second in 0..seconds {
        // Both return to their middle: over ten minutes, by 3 % or so; over two hours, by a third.
        disturbance += -disturbance / 600.0 + 0.003 * (random.f64() - 0.5);
        wander += -wander / 7200.0 + 0.017 * (random.f64() - 0.5);
        let factor = match shape {
            Shape::Wandering => wander.exp(),
            _ => WEEKDAYS.get(second / DAY_SECONDS).copied().unwrap_or(1.0),
        };
        let part = (second % DAY_SECONDS) as f64 / DAY_SECONDS as f64;
        let rate = (shape.live(part) * factor * (1.0 + disturbance) / LIFE_SECONDS).max(0.0);
        let new = poisson(rate, &mut random);
        for _ in 0..new {
            let life = -LIFE_SECONDS * (1.0 - random.f64()).ln();
            let end = second.saturating_add(1).saturating_add(life as usize).min(seconds);
            if let Some(leaving) = leaving.get_mut(end) {
                *leaving = leaving.saturating_add(1);
            }
        }
        here = here
            .saturating_add(new)
            .saturating_sub(leaving.get(second).copied().unwrap_or(0));
        arrived.push(new);
        live.push(here);
    }
    Traffic { arrived, live }
}

/// Knuth's multiplication of uniform numbers (The Art of Computer Programming, volume 2, 3.4.1); for small rates.
fn poisson(rate: f64, random: &mut fastrand::Rng) -> u32 {
    let floor = (-rate).exp();
    let (mut product, mut count) = (random.f64(), 0_u32);
    while product > floor {
        product *= random.f64();
        count = count.saturating_add(1);
    }
    count
}

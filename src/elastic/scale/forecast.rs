//! The live connections that are to be expected a while ahead, with an interval, and whether that beats "the same as now".
//!
//! The load is cut into points, at most 288 a season. Whenever one is full, what was seen of the last four seasons is decomposed into
//! season, trend and rest (STL: Cleveland et al., "STL: A Seasonal-Trend Decomposition Procedure Based on Loess", Journal of Official
//! Statistics 6, 1990; the crate `stlrs`), in logarithms: a day of half the traffic is half as high everywhere. A forecast = the season's
//! value then + a level: that of the last points, that of this moment, or half of each (`PRESENT_SHARES`): which of them is taken
//! is learnt too.
//!
//! Trust is earned: at each full point a forecast is made and kept until its time has come, and is scored beside "the same as now".
//! That is a back-test with a rolling origin over the last season, and no forecast in it has seen what it is compared with. Only
//! forecasts that were clearly better are offered; their interval is how far the last season's were off, and assumes no distribution.
//!
//! Called by [`Scaling`](super::Scaling). Memory: some 30 kB a service. Time (`cargo bench --bench forecast`): 0.7 ms a full point of
//! four seasons, once in five minutes if the season is a day; microseconds otherwise.
//!
//! May not: read a clock; offer NaN, infinity or less than nothing, whatever the load.

use std::collections::VecDeque;
use std::time::Duration;

use crate::config::Prediction;

mod pattern;
mod scores;

use pattern::Pattern;
use scores::{Pending, Scores};

/// Points a season: five minutes each of a day. Twice as many gave no smaller errors on five of six kinds of traffic.
const POINTS_MAX: u32 = 288;
/// With fewer the season is only steps.
const POINTS_MIN: u32 = 48;
/// More tell of times that are past.
const SEASONS_KEPT: usize = 4;
/// The least that a season can be told from.
const SEASONS_LEAST: usize = 2;
/// So much of a season is forecast and compared before it counts.
const SCORED_SEASONS_SHARE: usize = 4;
/// What a forecast's error may be of that of "the same as now": a lead by chance isn't one.
const BETTER: f64 = 0.95;
/// How much of the difference between this moment and the last points is taken to stay: all of it suits traffic that wanders, none
/// of it traffic that is noise around its season.
const PRESENT_SHARES: [f64; SHARES] = [0.0, 0.5, 1.0];
const SHARES: usize = 3;
/// No machine holds so many; larger figures would only lose digits.
const CONNECTIONS_MAX: u64 = 1_000_000_000;

/// What is expected at a time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Forecast {
    /// In the time of [`Forecaster::observe`].
    pub at: Duration,
    /// Live connections.
    pub mean: f64,
    /// One in ten turned out lower.
    pub lower: f64,
    /// One in ten turned out higher.
    pub upper: f64,
}

/// Mean absolute errors over the last season, in connections.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Errors {
    /// Of the forecasts.
    pub own: f64,
    /// Of "the same as now".
    pub naive: f64,
}

/// Whether there is a forecast, and why not.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Outlook {
    /// Too little was seen.
    Learning {
        /// So much.
        have: Duration,
        /// Of so much.
        need: Duration,
    },
    /// Forecasts weren't better than "the same as now".
    NotBetter(Errors),
    /// They were.
    Use(Forecast, Errors),
}

impl Outlook {
    /// The connections to be ready for: the upper end. (Experiment A-7: for the same replica-minutes it saves as many connections
    /// as the mean with a lower target, or more.)
    #[must_use]
    pub fn expected(self) -> Option<u64> {
        match self {
            Self::Use(forecast, _) => Some(forecast.upper.ceil() as u64),
            Self::Learning { .. } | Self::NotBetter(_) => None,
        }
    }
}

/// The load of this moment.
#[derive(Clone, Copy, Debug)]
struct Present {
    at: f64,
    latest: f64,
    /// Exponentially smoothed over `Forecaster::span`.
    smooth: f64,
}

/// What one service has seen.
#[derive(Clone, Debug)]
pub struct Forecaster {
    /// Seconds.
    ahead: f64,
    /// Seconds of a point.
    step: f64,
    /// Seconds over which the present is smoothed.
    span: f64,
    /// Points of a season.
    period: usize,
    /// Full points, [`scaled`], without a gap, the newest last.
    points: VecDeque<f32>,
    /// The number, from the beginning of time, of the point that is filling, and what it has.
    number: u64,
    sum: f64,
    count: u32,
    present: Option<Present>,
    pattern: Option<Pattern>,
    scores: Scores,
}

impl Forecaster {
    /// One that has seen nothing.
    #[must_use]
    pub fn new(prediction: Prediction) -> Self {
        let (ahead, season) = (prediction.ahead.as_secs_f64(), prediction.season.as_secs_f64());
        let period = (2.0 * season / ahead.max(f64::MIN_POSITIVE)).clamp(f64::from(POINTS_MIN), f64::from(POINTS_MAX));
        let step = (season / period.floor()).max(1e-3);
        let period = period as usize;
        Self {
            ahead,
            step,
            span: step.min(ahead) / 4.0,
            period,
            points: VecDeque::new(),
            number: 0,
            sum: 0.0,
            count: 0,
            present: None,
            pattern: None,
            scores: Scores::new(period),
        }
    }

    /// The span of a point: [`observe`](Self::observe) is to be called more often.
    #[must_use]
    pub fn step(&self) -> Duration {
        Duration::from_secs_f64(self.step)
    }

    /// Takes in the live connections of a moment. A moment that isn't after the last one is passed over; after a gap of a season or
    /// more, all begins anew.
    pub fn observe(&mut self, now: Duration, connections: u64) {
        let load = connections.min(CONNECTIONS_MAX) as f64;
        let now = now.as_secs_f64();
        let number = (now / self.step) as u64;
        let Some(before) = self.present else {
            self.begin(now, number, load);
            return;
        };
        if now <= before.at {
            return;
        }
        if number.saturating_sub(self.number) > self.period as u64 {
            self.points.clear();
            self.pattern = None;
            self.scores = Scores::new(self.period);
            self.begin(now, number, load);
            return;
        }
        let share = 1.0 - (-(now - before.at) / self.span).exp();
        self.present = Some(Present {
            at: now,
            latest: load,
            smooth: before.smooth + share * (load - before.smooth),
        });
        self.scores.settle(now, load, self.step);
        if number > self.number {
            self.fill_up_to(number);
            self.learn();
        }
        self.sum += load;
        self.count = self.count.saturating_add(1);
    }

    fn begin(&mut self, now: f64, number: u64, load: f64) {
        self.present = Some(Present {
            at: now,
            latest: load,
            smooth: load,
        });
        self.number = number;
        (self.sum, self.count) = (load, 1);
    }

    /// Closes the point that was filling, and those that nobody saw: they are as a season ago, or as the last one.
    fn fill_up_to(&mut self, number: u64) {
        if self.count > 0 {
            self.points.push_back(scaled(self.sum / f64::from(self.count)) as f32);
        }
        for _ in self.number.saturating_add(1)..number {
            let season_ago = self.points.len().checked_sub(self.period);
            let seen = season_ago.and_then(|at| self.points.get(at)).or(self.points.back());
            self.points.push_back(seen.copied().unwrap_or(0.0));
        }
        let kept = self.period.saturating_mul(SEASONS_KEPT);
        self.points.drain(..self.points.len().saturating_sub(kept));
        self.number = number;
        (self.sum, self.count) = (0.0, 0);
    }

    /// Finds the pattern anew, and makes a forecast that is to be scored.
    fn learn(&mut self) {
        if self.points.len() < self.period.saturating_mul(SEASONS_LEAST) {
            return;
        }
        // A load that can't be decomposed leaves the older pattern, which its scores judge.
        if let Some(pattern) = Pattern::of(self.points.make_contiguous(), self.period, self.number, self.step) {
            self.pattern = Some(pattern);
        }
        if let Some((present, guesses)) = self.present.zip(self.guesses()) {
            self.scores.expect(Pending {
                due: present.at + self.ahead,
                guesses,
                naive: present.latest,
            });
        }
    }

    /// What each share of the present gives for `ahead` from now.
    fn guesses(&self) -> Option<[f64; SHARES]> {
        let (pattern, present) = (self.pattern.as_ref()?, self.present?);
        // What is smoothed is as old as the span on average.
        let level_now = scaled(present.smooth) - pattern.season(present.at - self.span);
        let season = pattern.season(present.at + self.ahead);
        let level = |share: f64| pattern.level + share * (level_now - pattern.level);
        Some(PRESENT_SHARES.map(|share| unscaled(season + level(share))))
    }

    /// What is to be expected, as far as it can be told.
    #[must_use]
    pub fn outlook(&self) -> Outlook {
        let scored_least = self.period.div_euclid(SCORED_SEASONS_SHARE);
        let known = self.scores.best(scored_least).zip(self.present.zip(self.guesses()));
        let Some((best, (present, guesses))) = known else {
            let seen_least = self.period.saturating_mul(SEASONS_LEAST);
            let have = self.points.len().min(seen_least).saturating_add(self.scores.len());
            let span = |points: usize| Duration::from_secs_f64(self.step * points as f64);
            return Outlook::Learning {
                have: span(have),
                need: span(seen_least.saturating_add(scored_least)),
            };
        };
        if best.errors.own >= BETTER * best.errors.naive {
            return Outlook::NotBetter(best.errors);
        }
        let mean = guesses.get(best.place).copied().unwrap_or(0.0);
        let forecast = Forecast {
            at: Duration::from_secs_f64(present.at + self.ahead),
            mean,
            lower: unscaled(scaled(mean) + best.off_by.0).min(mean),
            upper: unscaled(scaled(mean) + best.off_by.1).max(mean),
        };
        Outlook::Use(forecast, best.errors)
    }
}

/// A load as it is decomposed. Forecasts of A-7's office, evening and hourly jobs were off by 15, 12 and 18 connections so, and by 26, 18
/// and 30 without; its weekdays differ by factors, as most traffic's do.
fn scaled(connections: f64) -> f64 {
    connections.ln_1p()
}

/// And back: what a machine can hold.
fn unscaled(scaled: f64) -> f64 {
    scaled.exp_m1().clamp(0.0, CONNECTIONS_MAX as f64)
}

#[cfg(test)]
mod tests;

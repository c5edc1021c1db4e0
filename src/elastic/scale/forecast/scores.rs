//! Forecasts that wait for their time, and how far off those were whose time has come. Kept by [`Forecaster`](super::Forecaster).
//!
//! May not: keep more than a season of them.

use std::collections::VecDeque;

use super::{Errors, SHARES, scaled};

/// The interval: one in ten below, one in ten above.
const TENTH: usize = 10;

/// A forecast whose time hasn't come.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pending {
    /// Seconds.
    pub(super) due: f64,
    /// Of each share of the present.
    pub(super) guesses: [f64; SHARES],
    /// "The same as now."
    pub(super) naive: f64,
}

/// What was said, and what came.
#[derive(Clone, Copy, Debug)]
struct Score {
    guesses: [f64; SHARES],
    naive: f64,
    came: f64,
}

/// The share of the present that did best.
#[derive(Clone, Copy, Debug)]
pub(super) struct Best {
    pub(super) place: usize,
    pub(super) errors: Errors,
    /// What came, less what was said, both [`scaled`]: one in ten is lower than the first, one in ten higher than the second.
    pub(super) off_by: (f64, f64),
}

/// A season of them.
#[derive(Clone, Debug)]
pub(super) struct Scores {
    most: usize,
    pending: VecDeque<Pending>,
    scores: VecDeque<Score>,
    /// Of the scores as they are.
    best: Option<Best>,
}

impl Scores {
    /// None yet; `most` = a season of points.
    pub(super) fn new(most: usize) -> Self {
        Self {
            most,
            pending: VecDeque::new(),
            scores: VecDeque::new(),
            best: None,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.scores.len()
    }

    pub(super) fn expect(&mut self, pending: Pending) {
        if self.pending.len() >= self.most {
            self.pending.pop_front();
        }
        self.pending.push_back(pending);
    }

    /// Scores what is due. What was due longer ago than `late` seconds is forgotten: nobody saw what came.
    pub(super) fn settle(&mut self, now: f64, load: f64, late: f64) {
        while let Some(pending) = self.pending.front().copied().filter(|pending| pending.due <= now) {
            self.pending.pop_front();
            if now - pending.due > late {
                continue;
            }
            self.scores.push_back(Score {
                guesses: pending.guesses,
                naive: pending.naive,
                came: load,
            });
            if self.scores.len() > self.most {
                self.scores.pop_front();
            }
            self.best = self.compare();
        }
    }

    /// The best of at least so many.
    pub(super) fn best(&self, least: usize) -> Option<Best> {
        self.best.filter(|_| self.scores.len() >= least)
    }

    fn compare(&self) -> Option<Best> {
        let error = |place: usize| {
            mean(
                self.scores
                    .iter()
                    .filter_map(|score| Some((score.came - score.guesses.get(place)?).abs())),
            )
        };
        let (place, own) = (0..SHARES)
            .map(|place| (place, error(place)))
            .min_by(|(_, one), (_, other)| one.total_cmp(other))?;
        let off_by = |score: &Score| Some(scaled(score.came) - scaled(*score.guesses.get(place)?));
        let mut sorted: Vec<f64> = self.scores.iter().filter_map(off_by).collect();
        sorted.sort_unstable_by(f64::total_cmp);
        let tenth = sorted.len().div_euclid(TENTH);
        let errors = Errors {
            own,
            naive: mean(self.scores.iter().map(|score| (score.came - score.naive).abs())),
        };
        let off_by = (*sorted.get(tenth)?, *sorted.iter().rev().nth(tenth)?);
        Some(Best { place, errors, off_by })
    }
}

fn mean(values: impl Iterator<Item = f64>) -> f64 {
    let (sum, count) = values.fold((0.0, 0.0), |(sum, count), value| (sum + value, count + 1.0));
    sum / f64::max(count, 1.0)
}

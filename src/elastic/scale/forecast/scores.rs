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

#[cfg(test)]
mod tests {
    use super::*;

    /// Forecasts for 100, of which the second is off by 1 to 20, and the others by more.
    fn scored() -> Scores {
        let mut scores = Scores::new(30);
        for off in 1..=20 {
            let (due, off) = (f64::from(off), f64::from(off));
            let guesses = [100.0 + 3.0 * off, 100.0 - off, 100.0 + 2.0 * off];
            scores.expect(Pending {
                due,
                guesses,
                naive: 100.0 - 4.0 * off,
            });
            scores.settle(due, 100.0, 1.0);
        }
        scores
    }

    #[test]
    fn the_share_with_the_smallest_error_is_the_best() {
        let best = scored().best(20).expect("scores");
        assert_eq!((best.place, best.errors.own, best.errors.naive), (1, 10.5, 42.0));
        // Sorted, the third from below is off by 3, the third from above by 18.
        let off_by = |off: f64| scaled(100.0) - scaled(100.0 - off);
        assert_eq!(best.off_by, (off_by(3.0), off_by(18.0)));
    }

    #[test]
    fn too_few_are_none() {
        assert!(scored().best(21).is_none());
        assert!(Scores::new(30).best(0).is_none());
    }

    #[test]
    fn what_nobody_saw_come_is_not_scored() {
        let mut scores = scored();
        let late = Pending {
            due: 50.0,
            guesses: [0.0; SHARES],
            naive: 0.0,
        };
        scores.expect(late);
        scores.settle(49.9, 100.0, 1.0);
        assert_eq!((scores.len(), scores.pending.len()), (20, 1));
        scores.settle(51.1, 100.0, 1.0);
        assert_eq!((scores.len(), scores.pending.len()), (20, 0));
    }
}

//! What the health checks of one backend found. Written by the health thread alone; read by scrapes and by the admin API.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use arc_swap::ArcSwapOption;

use crate::observe::{CHECK_SECONDS, Histogram};
use crate::types::Moment;

/// The checks of a backend so far.
#[derive(Debug)]
pub struct Checks {
    bad: AtomicU64,
    inconclusive: AtomicU64,
    /// Of the good ones, which it counts.
    seconds: Histogram<{ CHECK_SECONDS.len() }>,
    /// When the last one ended, in nanoseconds of a [`Moment`]; 0 = none has.
    last_at_nanos: AtomicU64,
    /// How long the last good one took; 0 = there was none.
    latency_nanos: AtomicU64,
    last_error: ArcSwapOption<String>,
}

/// A reading of how many checks came to what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CheckTotals {
    /// It answered as it should.
    pub good: u64,
    /// It didn't.
    pub bad: u64,
    /// This machine couldn't even ask.
    pub inconclusive: u64,
}

impl Checks {
    /// Of a backend that nobody has looked at.
    pub(super) const fn new() -> Self {
        Self {
            bad: AtomicU64::new(0),
            inconclusive: AtomicU64::new(0),
            seconds: Histogram::new(&CHECK_SECONDS),
            last_at_nanos: AtomicU64::new(0),
            latency_nanos: AtomicU64::new(0),
            last_error: ArcSwapOption::const_empty(),
        }
    }

    /// Nothing is known any more: whoever is behind it may be another by now. What was counted stays.
    pub(super) fn begin(&self) {
        self.last_at_nanos.store(0, Relaxed);
        self.latency_nanos.store(0, Relaxed);
    }

    /// A check succeeded at `now`, after so long.
    pub fn note_good(&self, now: Moment, took: Duration) {
        self.seconds.note(took);
        let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.latency_nanos.store(nanos.max(1), Relaxed);
        self.note_end(now);
    }

    /// A check failed at `now`, for this reason.
    pub fn note_bad(&self, now: Moment, words: &str) {
        self.bad.fetch_add(1, Relaxed);
        self.note_error(words);
        self.note_end(now);
    }

    /// A check said nothing about the backend, for this reason.
    pub fn note_inconclusive(&self, now: Moment, words: &str) {
        self.inconclusive.fetch_add(1, Relaxed);
        self.note_error(words);
        self.note_end(now);
    }

    /// Something was wrong with it, if no check has found it.
    pub fn note_error(&self, words: &str) {
        if self.last_error.load().as_ref().is_none_or(|last| **last != words) {
            self.last_error.store(Some(Arc::new(words.to_owned())));
        }
    }

    fn note_end(&self, now: Moment) {
        self.last_at_nanos.store(now.nanos().max(1), Relaxed);
    }

    /// When the last check ended; `None` = none has.
    #[must_use]
    pub fn last_at(&self) -> Option<Moment> {
        let nanos = self.last_at_nanos.load(Relaxed);
        (nanos > 0).then(|| Moment::from_nanos(nanos))
    }

    /// How long the last check that succeeded took.
    #[must_use]
    pub fn latency(&self) -> Option<Duration> {
        let nanos = self.latency_nanos.load(Relaxed);
        (nanos > 0).then(|| Duration::from_nanos(nanos))
    }

    /// What was wrong the last time that something was, in words; kept while all is well again.
    #[must_use]
    pub fn last_error(&self) -> Option<Arc<String>> {
        self.last_error.load_full()
    }

    /// How many came to what.
    #[must_use]
    pub fn totals(&self) -> CheckTotals {
        CheckTotals {
            good: self.seconds.count(),
            bad: self.bad.load(Relaxed),
            inconclusive: self.inconclusive.load(Relaxed),
        }
    }

    /// How long those took that succeeded.
    #[must_use]
    pub const fn seconds(&self) -> &Histogram<{ CHECK_SECONDS.len() }> {
        &self.seconds
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_known_before_the_first_check() {
        let checks = Checks::new();
        assert_eq!(
            (checks.last_at(), checks.latency(), checks.last_error()),
            (None, None, None)
        );
        checks.note_good(Moment::START, Duration::ZERO);
        assert!(
            checks.last_at().is_some() && checks.latency().is_some(),
            "even at the first moment"
        );
    }

    #[test]
    fn an_error_and_a_latency_are_kept_until_the_next_ones() {
        let checks = Checks::new();
        let at = |millis| Moment::START.plus(Duration::from_millis(millis));
        checks.note_bad(at(1), "refused");
        checks.note_good(at(2), Duration::from_micros(7));
        checks.note_inconclusive(at(3), "no descriptor");
        checks.note_bad(at(4), "silent");
        checks.note_good(at(5), Duration::from_micros(9));
        assert_eq!(checks.last_at(), Some(at(5)));
        assert_eq!(checks.latency(), Some(Duration::from_micros(9)));
        assert_eq!(checks.last_error().as_deref().map(String::as_str), Some("silent"));
        let totals = CheckTotals {
            good: 2,
            bad: 2,
            inconclusive: 1,
        };
        assert_eq!(checks.totals(), totals);
    }
}

//! What a run measures: one recorder for each thread, merged at the end.

use super::failure::FailureKind;
use super::timeline::Timeline;
use hdrhistogram::Histogram;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// The longest response time told apart; longer ones count as this.
const LONGEST: Duration = Duration::from_secs(3600);

/// Digits that a response time is exact to.
const SIGNIFICANT_DIGITS: u8 = 3;

/// What one thread has measured, and after merging, what all have.
#[derive(Debug)]
pub(super) struct Recorder {
    /// Response times in microseconds, 1 µs to `LONGEST`.
    pub(super) response_times: Option<Histogram<u64>>,
    pub(super) answered: u64,
    pub(super) failed: u64,
    /// Failed requests, and connections that ended wrongly after their last one.
    pub(super) failures: BTreeMap<FailureKind, u64>,
    pub(super) verified_bytes: u64,
    pub(super) opened: u64,
    pub(super) timeline: Timeline,
    first_start: Option<Instant>,
    last_end: Option<Instant>,
}

impl Recorder {
    /// `origin` is when the run began, the same for all recorders that are to be merged.
    pub(super) fn new(origin: Instant) -> Self {
        let longest = u64::try_from(LONGEST.as_micros()).unwrap_or(u64::MAX);
        Self {
            // These constants are within what the histogram allows; a test records with them.
            response_times: Histogram::new_with_bounds(1, longest, SIGNIFICANT_DIGITS).ok(),
            answered: 0,
            failed: 0,
            failures: BTreeMap::new(),
            verified_bytes: 0,
            opened: 0,
            timeline: Timeline::new(origin),
            first_start: None,
            last_end: None,
        }
    }

    /// The measured time begins with the first request's.
    pub(super) fn start(&mut self, at: Instant) {
        self.first_start.get_or_insert(at);
    }

    pub(super) fn answer(&mut self, started: Instant, now: Instant) {
        self.answered = self.answered.saturating_add(1);
        self.last_end = Some(now);
        self.timeline.count_answer(now);
        let micros = now.saturating_duration_since(started).as_micros();
        if let Some(times) = &mut self.response_times {
            times.saturating_record(u64::try_from(micros).unwrap_or(u64::MAX).max(1));
        }
    }

    pub(super) fn fail(&mut self, kind: FailureKind, now: Instant) {
        self.last_end = Some(now);
        self.timeline.count_error(now);
        let count = self.failures.entry(kind).or_default();
        *count = count.saturating_add(1);
    }

    pub(super) fn fail_request(&mut self, kind: FailureKind, now: Instant) {
        self.failed = self.failed.saturating_add(1);
        self.fail(kind, now);
    }

    pub(super) fn merge(&mut self, other: Self) {
        if let (Some(ours), Some(theirs)) = (&mut self.response_times, &other.response_times) {
            // Both have the same bounds: this can't fail.
            ours.add(theirs).ok();
        }
        self.answered = self.answered.saturating_add(other.answered);
        self.failed = self.failed.saturating_add(other.failed);
        for (kind, count) in other.failures {
            let sum = self.failures.entry(kind).or_default();
            *sum = sum.saturating_add(count);
        }
        self.verified_bytes = self.verified_bytes.saturating_add(other.verified_bytes);
        self.opened = self.opened.saturating_add(other.opened);
        self.timeline.merge(other.timeline);
        self.first_start = self.first_start.into_iter().chain(other.first_start).min();
        self.last_end = self.last_end.max(other.last_end);
    }

    /// From the first request's start to the last one's end.
    pub(super) fn elapsed(&self) -> Duration {
        self.span()
            .map_or(Duration::ZERO, |(start, end)| end.saturating_duration_since(start))
    }

    /// When the first request started and the last one ended.
    pub(super) fn span(&self) -> Option<(Instant, Instant)> {
        self.first_start.zip(self.last_end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_beyond_the_bounds_count_as_the_bounds() {
        let now = Instant::now();
        let mut recorder = Recorder::new(now);
        recorder.answer(now, now);
        recorder.answer(now, now.checked_add(Duration::from_secs(100_000)).unwrap());
        let times = recorder.response_times.unwrap();
        assert_eq!(times.min(), 1);
        assert!(times.max() >= 3_600_000_000 && times.max() < 3_610_000_000);
    }

    #[test]
    fn merging_adds_counts_and_spans_both_times() {
        let start = Instant::now();
        let at = |seconds| start.checked_add(Duration::from_secs(seconds)).unwrap();
        let (mut first, mut second) = (Recorder::new(start), Recorder::new(start));
        first.start(at(1));
        first.answer(at(1), at(2));
        second.start(at(0));
        second.fail_request(FailureKind::Reset, at(5));
        first.merge(second);
        assert_eq!((first.answered, first.failed), (1, 1));
        assert_eq!(first.failures.get(&FailureKind::Reset), Some(&1));
        assert_eq!(first.elapsed(), Duration::from_secs(5));
    }
}

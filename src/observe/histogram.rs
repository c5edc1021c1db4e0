//! Histograms with fixed bounds, and their bounds: written by any thread without a lock, read by a scrape.
//!
//! A count is two additions to shared words. They aren't kept a worker: each would cost memory and a longer scrape for every
//! backend, and a session counts twice in its life.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// Bounds of the time a connect takes: a local one takes some 100 us, a lost SYN is sent again after 1 s (RFC 6298).
pub const CONNECT_SECONDS: [Duration; 11] = [
    Duration::from_micros(100),
    Duration::from_micros(250),
    Duration::from_micros(500),
    Duration::from_millis(1),
    Duration::from_micros(2_500),
    Duration::from_millis(5),
    Duration::from_millis(25),
    Duration::from_millis(100),
    Duration::from_millis(250),
    Duration::from_secs(1),
    Duration::from_millis(2_500),
];

/// Bounds of the time a connection lasts: from one request to a pool's connection that stays.
pub const CONNECTION_SECONDS: [Duration; 9] = [
    Duration::from_millis(1),
    Duration::from_millis(10),
    Duration::from_millis(100),
    Duration::from_secs(1),
    Duration::from_secs(10),
    Duration::from_secs(60),
    Duration::from_secs(300),
    Duration::from_secs(1_200),
    Duration::from_secs(3_600),
];

/// Bounds of the time a health check takes.
pub const CHECK_SECONDS: [Duration; 7] = [
    Duration::from_micros(250),
    Duration::from_millis(1),
    Duration::from_millis(5),
    Duration::from_millis(25),
    Duration::from_millis(100),
    Duration::from_millis(500),
    Duration::from_millis(2_500),
];

/// How many spans of time fell under each bound, and their sum.
#[derive(Debug)]
pub struct Histogram<const BOUNDS: usize> {
    bounds: &'static [Duration; BOUNDS],
    /// By bound: above the one before it, and not above this one.
    counts: [AtomicU64; BOUNDS],
    /// Above the last bound.
    over: AtomicU64,
    /// Microseconds: of 10,000 connections that live all the time they last 58 years, nanoseconds would 21 days.
    sum_micros: AtomicU64,
}

impl<const BOUNDS: usize> Histogram<BOUNDS> {
    /// An empty one. `bounds` rise.
    #[must_use]
    pub const fn new(bounds: &'static [Duration; BOUNDS]) -> Self {
        Self {
            bounds,
            counts: [const { AtomicU64::new(0) }; BOUNDS],
            over: AtomicU64::new(0),
            sum_micros: AtomicU64::new(0),
        }
    }

    /// One more.
    pub fn note(&self, span: Duration) {
        let count = self.bounds.iter().zip(&self.counts).find(|(bound, _)| span <= **bound);
        count.map_or(&self.over, |(_, count)| count).fetch_add(1, Relaxed);
        let half_a_microsecond = Duration::from_nanos(500);
        let micros = span.saturating_add(half_a_microsecond).as_micros();
        self.sum_micros
            .fetch_add(u64::try_from(micros).unwrap_or(u64::MAX), Relaxed);
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> u64 {
        let under = self.counts.iter().map(|count| count.load(Relaxed));
        under.fold(self.over.load(Relaxed), u64::saturating_add)
    }

    /// The sum of all, in seconds.
    #[must_use]
    #[allow(clippy::cast_precision_loss, reason = "exact up to 285 years")]
    pub fn sum_seconds(&self) -> f64 {
        self.sum_micros.load(Relaxed) as f64 / 1e6
    }

    /// By bound in seconds, the last one infinite: how many lie between it and the one before.
    pub fn buckets(&self) -> impl Iterator<Item = (f64, u64)> {
        let under = self
            .bounds
            .iter()
            .zip(&self.counts)
            .map(|(bound, count)| (bound.as_secs_f64(), count.load(Relaxed)));
        under.chain(std::iter::once_with(|| (f64::INFINITY, self.over.load(Relaxed))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_counts_under_the_first_bound_that_it_does_not_pass() {
        let histogram = Histogram::new(&CONNECTION_SECONDS);
        for micros in [0, 1_000, 1_001, 3_600_000_000, 3_600_000_001] {
            histogram.note(Duration::from_micros(micros));
        }
        let counts: Vec<_> = histogram.buckets().map(|(_, count)| count).collect();
        assert_eq!(counts, [2, 1, 0, 0, 0, 0, 0, 0, 1, 1]);
        assert_eq!(histogram.buckets().last(), Some((f64::INFINITY, 1)));
        assert_eq!(histogram.count(), 5);
        assert!((histogram.sum_seconds() - 7_200.002_002).abs() < 1e-6);
    }

    #[test]
    fn all_bounds_rise() {
        assert!(CONNECT_SECONDS.is_sorted_by(|a, b| a < b));
        assert!(CONNECTION_SECONDS.is_sorted_by(|a, b| a < b));
        assert!(CHECK_SECONDS.is_sorted_by(|a, b| a < b));
    }

    #[test]
    fn many_spans_shorter_than_a_microsecond_add_up_on_average() {
        let histogram = Histogram::new(&CONNECT_SECONDS);
        for nanos in 0..1_000 {
            histogram.note(Duration::from_nanos(nanos));
        }
        assert!((histogram.sum_seconds() - 500e-6).abs() < 1e-9);
    }
}

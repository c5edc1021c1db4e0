//! How long a backend takes to answer, lately: a peak-sensitive moving average that fades with time.
//!
//! After Finagle's `PeakEwma` (twitter/finagle, "The Peak EWMA load metric"): a sample above the average becomes the average at
//! once, one below pulls it down by the time since the last, and with no sample at all it fades towards nothing, so that a backend
//! which was slow is tried again some day. Other than there, a sample also counts for itself: one answer that was late by chance is
//! outweighed by the next few dozen, not after half a minute. Written and read by all workers, without a lock.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use crate::types::Moment;

/// In this time the past fades to 1/e of its say: Finagle's default.
const DECAY: Duration = Duration::from_secs(10);
/// What one sample counts at least.
const SAMPLE_WEIGHT_MIN: f32 = 1.0 / 16.0;
/// What a backend that doesn't answer counts as.
const SAMPLE_MAX: Duration = Duration::from_secs(5);
/// A tick of the stamp is 2^22 ns, 4 ms: 32 bits of them last for 208 days, and a backend that nobody has asked for so long is
/// judged by one sample too old.
const TICK_BITS: u32 = 22;

/// The average, and when it was last written: both in one word, so that they can't be of different samples.
#[derive(Debug, Default)]
pub struct PeakEwma(AtomicU64);

/// The word, read. The average is in seconds; 0 = never measured.
#[derive(Clone, Copy)]
struct Reading {
    seconds: f32,
    tick: u32,
}

impl Reading {
    #[allow(
        clippy::cast_possible_truncation,
        reason = "each half is cut out of the bits it was put into"
    )]
    const fn from_bits(bits: u64) -> Self {
        Self {
            seconds: f32::from_bits((bits >> 32) as u32),
            tick: bits as u32,
        }
    }

    const fn to_bits(self) -> u64 {
        ((self.seconds.to_bits() as u64) << 32) | self.tick as u64
    }

    /// What is left of the past at `tick`: 1 = all.
    fn weight(self, tick: u32) -> f32 {
        let ticks = tick.wrapping_sub(self.tick);
        // Another worker's wake began later than this one's: no time has passed.
        let ticks = if ticks > u32::MAX / 2 { 0 } else { ticks };
        let elapsed = Duration::from_nanos(u64::from(ticks) << TICK_BITS);
        (-elapsed.as_secs_f32() / DECAY.as_secs_f32()).exp()
    }
}

#[allow(clippy::cast_possible_truncation, reason = "the stamp wraps, and is compared so")]
const fn tick(now: Moment) -> u32 {
    (now.since(Moment::START).as_nanos() >> TICK_BITS) as u32
}

impl PeakEwma {
    /// An answer took so long; more than 5 s count as 5 s.
    pub fn note(&self, now: Moment, took: Duration) {
        self.update(now, took, |before, past, sample| {
            Some(if sample >= before * past {
                sample
            } else {
                let past = past.min(1.0 - SAMPLE_WEIGHT_MIN);
                before.mul_add(past, sample * (1.0 - past))
            })
        });
    }

    /// No answer came in so long ([`Duration::MAX`]: none will come), which counts for 5 s at most. It might have taken any time but
    /// less, so it never lowers an average.
    pub fn note_unanswered(&self, now: Moment, waited: Duration) {
        self.update(now, waited, |before, past, sample| {
            (sample > before * past).then_some(sample)
        });
    }

    /// The backend's kernel, not its program, took so long: the program doesn't take less. Never measured, it stays so.
    pub fn note_connected(&self, now: Moment, took: Duration) {
        self.update(now, took, |before, past, sample| {
            (before > 0.0 && sample > before * past).then_some(sample)
        });
    }

    /// What another process had measured of it by now, in seconds.
    pub fn restore(&self, now: Moment, seconds: f32) {
        if seconds.is_finite() && seconds > 0.0 {
            let reading = Reading {
                seconds: seconds.min(SAMPLE_MAX.as_secs_f32()),
                tick: tick(now),
            };
            self.0.store(reading.to_bits(), Relaxed);
        }
    }

    /// It is another backend than before, as good as never measured.
    pub fn forget(&self) {
        self.0.store(0, Relaxed);
    }

    /// Writes what follows from the average before in seconds (0: never measured), what is left of it (1: all), and the sample.
    fn update(&self, now: Moment, sample: Duration, change: impl Fn(f32, f32, f32) -> Option<f32>) {
        // At least a nanosecond: 0 stands for "never measured".
        let sample = sample.clamp(Duration::from_nanos(1), SAMPLE_MAX).as_secs_f32();
        let tick = tick(now);
        let _written = self.0.fetch_update(Relaxed, Relaxed, |bits| {
            let before = Reading::from_bits(bits);
            let seconds = change(before.seconds, before.weight(tick), sample)?;
            Some(Reading { seconds, tick }.to_bits())
        });
    }

    /// The average in seconds, faded to `now`. `None`: it was never measured.
    #[must_use]
    pub fn seconds(&self, now: Moment) -> Option<f32> {
        let reading = Reading::from_bits(self.0.load(Relaxed));
        (reading.seconds > 0.0).then(|| reading.seconds * reading.weight(tick(now)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(millis: u64) -> Moment {
        Moment::START.plus(Duration::from_millis(millis))
    }

    fn millis(average: &PeakEwma, now: u64) -> f32 {
        average.seconds(at(now)).unwrap() * 1e3
    }

    #[test]
    fn a_peak_counts_at_once_and_fades_by_1_over_e_in_ten_seconds() {
        let average = PeakEwma::default();
        assert_eq!(average.seconds(at(5)), None);
        average.note(at(0), Duration::from_millis(1));
        average.note(at(0), Duration::from_millis(100));
        assert!((millis(&average, 0) - 100.0).abs() < 0.1);
        assert!((millis(&average, 10_000) - 36.8).abs() < 0.1);
    }

    #[test]
    fn a_quick_answer_counts_for_the_time_since_the_last() {
        let average = PeakEwma::default();
        average.note(at(0), Duration::from_millis(100));
        average.note(at(10_000), Duration::from_millis(1));
        // 36.8 % of the peak, and 63.2 % of 1 ms.
        assert!((millis(&average, 10_000) - 37.4).abs() < 0.2);
    }

    #[test]
    fn one_late_answer_among_many_is_soon_outweighed() {
        let average = PeakEwma::default();
        average.note(at(0), Duration::from_millis(20));
        for _ in 0..50 {
            average.note(at(1), Duration::from_millis(1));
        }
        // 1 ms, and 19 ms x (15/16)^50.
        assert!((millis(&average, 1) - 1.75).abs() < 0.05, "{}", millis(&average, 1));
    }

    #[test]
    fn a_connect_raises_an_average_and_neither_makes_nor_lowers_one() {
        let average = PeakEwma::default();
        average.note_connected(at(0), Duration::from_millis(3));
        assert_eq!(average.seconds(at(0)), None);
        average.note(at(0), Duration::from_millis(2));
        average.note_connected(at(0), Duration::from_millis(1));
        assert!((millis(&average, 0) - 2.0).abs() < 0.01);
        average.note_connected(at(0), Duration::from_millis(3));
        assert!((millis(&average, 0) - 3.0).abs() < 0.01);
    }

    #[test]
    fn who_does_not_answer_counts_for_the_time_waited_and_is_never_the_better_for_it() {
        let average = PeakEwma::default();
        average.note_unanswered(at(0), Duration::from_millis(10));
        average.note_unanswered(at(0), Duration::from_millis(1));
        assert!((millis(&average, 0) - 10.0).abs() < 0.01);
        average.note_unanswered(at(0), Duration::MAX);
        assert!((millis(&average, 0) - 5_000.0).abs() < 0.1);
        average.forget();
        assert_eq!(average.seconds(at(0)), None);
    }

    proptest! {
        #[test]
        fn it_stays_between_the_fastest_and_the_slowest_sample(
            samples in prop::collection::vec((0..60_000_u64, 1..4_000_u64), 1..50),
        ) {
            let average = PeakEwma::default();
            let (mut now, mut slowest, mut fastest) = (0, 0, u64::MAX);
            for (pause, took) in samples {
                now += pause;
                average.note(at(now), Duration::from_millis(took));
                (slowest, fastest) = (slowest.max(took), fastest.min(took));
                let millis = millis(&average, now);
                prop_assert!(millis >= fastest as f32 * 0.999 && millis <= slowest as f32 * 1.001);
            }
        }

        #[test]
        fn any_moment_gives_a_finite_average(now: u64, later: u64, took: u64) {
            let average = PeakEwma::default();
            average.note(Moment::from_nanos(now), Duration::from_nanos(took));
            let seconds = average.seconds(Moment::from_nanos(later)).unwrap();
            prop_assert!(seconds.is_finite() && (0.0..=5.001).contains(&seconds));
        }
    }
}

//! When the next probe is due. Pure: the moments and the dice are arguments.
//!
//! Thousands of backends are checked evenly: the first pass takes a whole interval, which gives each its place in time, and every
//! later probe falls around that place. (Jitter that adds up would make a random walk of it, with herds of twice the mean.)

use std::time::Duration;

use super::streak::Streak;
use crate::pool::Health;
use crate::types::Moment;

/// A backend that is down is probed at least this often, so that its return is seen in half a second (with `rise = 2`).
const INTERVAL_WHILE_DOWN: Duration = Duration::from_millis(200);
/// And one that is up, but whose last check was bad: whether it is dead is known a moment after the first sign of it, not `fall`
/// intervals later.
const INTERVAL_WHILE_SUSPECT: Duration = Duration::from_millis(100);
/// The first pass over a few backends is done at once: nobody has to wait for an interval to learn that one is dead.
const FEW_TARGETS: u32 = 16;
/// Between two first probes of a few.
const FEW_TARGETS_PAUSE: Duration = Duration::from_millis(4);
/// A probe starts later than its place by up to this part of the interval, so that probes never march in step.
const JITTER: f64 = 0.1;

/// How long after the start the first probe of the target at `place` of `count` is due.
pub(super) fn first(place: u32, count: u32, interval: Duration) -> Duration {
    if count <= FEW_TARGETS {
        FEW_TARGETS_PAUSE.saturating_mul(place)
    } else {
        interval.mul_f64(f64::from(place) / f64::from(count))
    }
}

/// The place of the next probe after the one whose place was `last`, and when it is due; `dice` is from 0 to 1.
pub(super) fn next(last: Moment, now: Moment, streak: Streak, interval: Duration, dice: f64) -> (Moment, Moment) {
    let interval = match streak.health() {
        Health::Up if streak.is_contradicted() => interval.min(INTERVAL_WHILE_SUSPECT),
        Health::Up => interval,
        Health::Down => interval.min(INTERVAL_WHILE_DOWN),
    };
    // A probe that took longer than an interval moves the place: there is no catching up.
    let place = last.plus(interval).max(now);
    (place, place.plus(interval.mul_f64(JITTER * dice.clamp(0.0, 1.0))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const INTERVAL: Duration = Duration::from_secs(2);

    fn down() -> Streak {
        let mut streak = Streak::new();
        assert!(streak.force(Health::Down));
        streak
    }

    /// The most probes that start in any 100 ms, over 20 intervals of 500 backends.
    fn densest(seed: u64) -> usize {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut starts = Vec::new();
        for place in 0..500 {
            let mut last = Moment::START.plus(first(place, 500, INTERVAL));
            while last < Moment::START.plus(INTERVAL * 20) {
                let (place, due) = next(last, last, Streak::new(), INTERVAL, random.f64());
                starts.push(due);
                last = place;
            }
        }
        starts.sort_unstable();
        let window = Duration::from_millis(100);
        let within = |from: usize| {
            starts[from..]
                .iter()
                .take_while(|at| at.since(starts[from]) < window)
                .count()
        };
        (0..starts.len()).map(within).max().unwrap()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn probes_of_500_backends_never_come_in_herds(seed: u64) {
            let mean = 500.0 * 0.1 / INTERVAL.as_secs_f64();
            let densest = densest(seed);
            prop_assert!(densest as f64 <= 2.0 * mean, "{densest} in 100 ms, {mean} is the mean");
        }
    }

    proptest! {
        #[test]
        fn the_first_pass_is_over_within_one_interval(count in 17..5000_u32, millis in 100..10_000_u64) {
            let interval = Duration::from_millis(millis);
            prop_assert!((0..count).all(|place| first(place, count, interval) < interval));
        }

        #[test]
        fn a_backend_that_is_down_is_looked_at_five_times_a_second(millis in 1..60_000_u64, dice in 0.0..1.0) {
            let interval = Duration::from_millis(millis);
            let (place, due) = next(Moment::START, Moment::START, down(), interval, dice);
            prop_assert!(due >= place && due.since(Moment::START) <= Duration::from_millis(220));
            let (place, due) = next(Moment::START, Moment::START, Streak::new(), interval, dice);
            prop_assert_eq!(place.since(Moment::START), interval);
            prop_assert!(due.since(place) <= interval / 10);
        }

        #[test]
        fn the_first_bad_check_of_a_backend_is_followed_by_others_at_once(millis in 1..60_000_u64, dice in 0.0..1.0) {
            let interval = Duration::from_millis(millis);
            let mut suspect = Streak::new();
            prop_assert_eq!(suspect.note(Health::Down, 2, 3), None);
            let (_, due) = next(Moment::START, Moment::START, suspect, interval, dice);
            prop_assert!(due.since(Moment::START) <= Duration::from_millis(110));
            prop_assert_eq!(suspect.note(Health::Up, 2, 3), None);
            let (place, _) = next(Moment::START, Moment::START, suspect, interval, dice);
            prop_assert_eq!(place.since(Moment::START), interval);
        }

        #[test]
        fn a_probe_that_took_long_is_followed_at_once_and_once(late in 1..100_u64) {
            let now = Moment::START.plus(INTERVAL * 2 + Duration::from_millis(late));
            let (place, _) = next(Moment::START, now, Streak::new(), INTERVAL, 0.5);
            prop_assert_eq!(place, now);
        }
    }
}

//! Slow start: which backends have come up lately, and how much of their weight they have by now. Pure: time is an argument.

use std::collections::HashMap;
use std::time::Duration;

use crate::pool::Ramp;
use crate::types::{BackendId, Moment};

/// Ramps are looked at this often at most, however many backends are on their way: each look may make a new wheel or schedule.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// And so many times as rarely as it takes to make those: a tenth of the thread's time is for slow start, the rest for verdicts.
const REBUILDS_APART: u32 = 10;

/// The backends of one service that are on their way up.
#[derive(Debug)]
pub(super) struct Ramps {
    /// `None` = a backend that comes up gets all its weight at once.
    slow_start: Option<Duration>,
    since: HashMap<BackendId, Moment>,
}

impl Ramps {
    pub(super) fn new(slow_start: Option<Duration>) -> Self {
        Self {
            slow_start,
            since: HashMap::new(),
        }
    }

    /// What one has that comes up just now.
    pub(super) fn first(&self) -> Ramp {
        self.slow_start
            .map_or(Ramp::FULL, |whole| Ramp::after(Duration::ZERO, whole))
    }

    /// A backend came up.
    pub(super) fn begin(&mut self, backend: BackendId, now: Moment) {
        if self.slow_start.is_some() {
            self.since.insert(backend, now);
        }
    }

    /// It went down again.
    pub(super) fn end(&mut self, backend: BackendId) {
        self.since.remove(&backend);
    }

    /// How far it is; whoever isn't on the way has all.
    pub(super) fn of(&self, backend: BackendId, now: Moment) -> Ramp {
        match (self.slow_start, self.since.get(&backend)) {
            (Some(whole), Some(since)) => Ramp::after(now.since(*since), whole),
            _ => Ramp::FULL,
        }
    }

    /// Forgets those that have arrived.
    pub(super) fn tidy(&mut self, now: Moment) {
        let Some(whole) = self.slow_start else { return };
        self.since
            .retain(|_, since| Ramp::after(now.since(*since), whole) != Ramp::FULL);
    }

    /// Whether somebody is on the way.
    pub(super) fn is_any(&self) -> bool {
        !self.since.is_empty()
    }

    /// When to look again after a look at this moment, if it takes so long to rebuild what follows from one; `None` while nobody is
    /// on the way.
    pub(super) fn next(&self, looked_at: Moment, rebuild: Duration) -> Option<Moment> {
        let step = self.slow_start?.checked_div(u32::from(Ramp::STEPS).saturating_sub(1))?;
        let due = |since: &Moment| {
            let done = u32::from(Ramp::after(looked_at.since(*since), self.slow_start?).tenths());
            Some(since.plus(step.saturating_mul(done)))
        };
        let first = self.since.values().filter_map(due).min()?;
        let pause = LOOK_EVERY.max(rebuild.saturating_mul(REBUILDS_APART));
        // A nanosecond more, for what the division left over.
        let first = first.plus(Duration::from_nanos(u64::from(Ramp::STEPS)));
        Some(first.max(looked_at.plus(pause)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUICK: Duration = Duration::from_micros(1);

    fn at(millis: u64) -> Moment {
        Moment::START.plus(Duration::from_millis(millis))
    }

    #[test]
    fn following_the_looks_a_backend_meets_every_tenth_and_arrives_in_time() {
        let mut ramps = Ramps::new(Some(Duration::from_secs(30)));
        assert_eq!(ramps.next(at(0), QUICK), None);
        ramps.begin(BackendId(1), at(500));
        let (mut now, mut seen) = (at(500), vec![ramps.of(BackendId(1), at(500)).tenths()]);
        while let Some(next) = ramps.next(now, QUICK) {
            assert!(next > now);
            now = next;
            seen.push(ramps.of(BackendId(1), now).tenths());
            ramps.tidy(now);
        }
        assert_eq!(seen, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
        assert_eq!(now.since(at(500)).as_secs(), 30);
        assert_eq!(ramps.of(BackendId(1), now), Ramp::FULL);
    }

    #[test]
    fn without_slow_start_nobody_is_on_the_way() {
        let mut ramps = Ramps::new(None);
        ramps.begin(BackendId(1), at(0));
        assert_eq!(
            (ramps.next(at(0), QUICK), ramps.of(BackendId(1), at(0))),
            (None, Ramp::FULL)
        );
    }

    #[test]
    fn a_backend_that_goes_down_again_begins_anew() {
        let mut ramps = Ramps::new(Some(Duration::from_secs(9)));
        ramps.begin(BackendId(1), at(0));
        ramps.end(BackendId(1));
        assert_eq!(ramps.next(at(100), QUICK), None);
        ramps.begin(BackendId(1), at(5000));
        assert_eq!(ramps.of(BackendId(1), at(5999)).tenths(), 1);
    }

    #[test]
    fn the_pause_is_a_tenth_of_a_second_or_ten_times_what_a_rebuild_takes() {
        let mut ramps = Ramps::new(Some(Duration::from_secs(1)));
        // One each millisecond: somebody is always due.
        for number in 0..1_000 {
            ramps.begin(BackendId(number), at(number.into()));
        }
        assert_eq!(ramps.next(at(500), QUICK), Some(at(600)));
        assert_eq!(ramps.next(at(500), Duration::from_millis(10)), Some(at(600)));
        assert_eq!(ramps.next(at(500), Duration::from_millis(400)), Some(at(4_500)));
    }

    #[test]
    fn a_tenth_that_was_due_since_the_last_look_is_not_passed_over() {
        let mut ramps = Ramps::new(Some(Duration::from_secs(9)));
        assert!(!ramps.is_any());
        ramps.begin(BackendId(1), at(2_000));
        assert!(ramps.is_any());
        // Verdicts on others came in between, and nobody looked: it is asked from the last look on, whenever that is.
        for looked_at in [0, 2_000, 2_999] {
            let next = ramps.next(at(looked_at), QUICK).unwrap();
            assert_eq!(next.since(at(0)).as_millis(), 3_000.max(u128::from(looked_at) + 100));
        }
    }
}

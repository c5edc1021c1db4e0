//! Slow start: which backends have come up lately, and how much of their weight they have by now. Pure: time is an argument.

use std::collections::HashMap;
use std::time::Duration;

use crate::pool::Ramp;
use crate::types::{BackendId, Moment};

/// Ramps are looked at this often at most, however many backends are on their way: each look may make a new wheel or schedule.
const LOOK_EVERY: Duration = Duration::from_millis(100);

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

    /// When to look again; `None` while nobody is on the way.
    pub(super) fn next(&self, now: Moment) -> Option<Moment> {
        let step = self.slow_start?.checked_div(u32::from(Ramp::STEPS).saturating_sub(1))?;
        let due = |since: &Moment| {
            let done = u32::from(Ramp::after(now.since(*since), self.slow_start?).tenths());
            Some(since.plus(step.saturating_mul(done)))
        };
        let first = self.since.values().filter_map(due).min()?;
        // A nanosecond more, for what the division left over.
        Some(
            first
                .plus(Duration::from_nanos(u64::from(Ramp::STEPS)))
                .max(now.plus(LOOK_EVERY)),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Moment {
        Moment::START.plus(Duration::from_millis(millis))
    }

    #[test]
    fn following_the_looks_a_backend_meets_every_tenth_and_arrives_in_time() {
        let mut ramps = Ramps::new(Some(Duration::from_secs(30)));
        assert_eq!(ramps.next(at(0)), None);
        ramps.begin(BackendId(1), at(500));
        let (mut now, mut seen) = (at(500), vec![ramps.of(BackendId(1), at(500)).tenths()]);
        while let Some(next) = ramps.next(now) {
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
        assert_eq!((ramps.next(at(0)), ramps.of(BackendId(1), at(0))), (None, Ramp::FULL));
    }

    #[test]
    fn a_backend_that_goes_down_again_begins_anew() {
        let mut ramps = Ramps::new(Some(Duration::from_secs(9)));
        ramps.begin(BackendId(1), at(0));
        ramps.end(BackendId(1));
        assert_eq!(ramps.next(at(100)), None);
        ramps.begin(BackendId(1), at(5000));
        assert_eq!(ramps.of(BackendId(1), at(5999)).tenths(), 1);
    }
}

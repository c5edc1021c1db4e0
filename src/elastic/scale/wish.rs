//! Load and forecast -> how many replicas. Out at once, in slowly.
//!
//! Out: as soon as the live connections, or those expected, are more than the replicas may have. In: only to the greatest number that
//! was needed at any time within the whole `cooldown`, as Kubernetes' HorizontalPodAutoscaler does it ("stabilization window",
//! <https://kubernetes.io/docs/tasks/run-application/horizontal-pod-autoscale/>); and only to where a tenth of the room is left, so that a
//! load that sways by less never makes it flap. A forecast can raise the number, never lower it below what is needed now.
//!
//! Called by [`Scaling`](super::Scaling). Memory: an entry for each number between min and max, at most.
//!
//! May not: read a clock, start anything, go outside `min` to `max`.

use std::collections::VecDeque;
use std::time::Duration;

use crate::config::Scale;

/// Room left after going in, in per cent of the target: a load has to fall so far below a step before the step is taken.
const ROOM_PERCENT: u64 = 10;

/// A service's replicas as they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Replicas {
    /// All that are to live, those that are starting among them, those that are leaving not.
    pub running: u16,
    /// Those that take connections.
    pub ready: u16,
}

/// What one service needed lately.
#[derive(Clone, Debug)]
pub struct Wish {
    rules: Scale,
    /// When it was asked first.
    since: Option<Duration>,
    /// When how many had to stay: numbers fall from front to back, so the front is the greatest of the cooldown.
    stays: VecDeque<(Duration, u16)>,
}

impl Wish {
    /// One that has seen nothing: it goes in after a whole cooldown at the earliest.
    #[must_use]
    pub fn new(rules: Scale) -> Self {
        Self {
            rules,
            since: None,
            stays: VecDeque::new(),
        }
    }

    /// How many replicas there are to be. `expected` = the live connections that a forecast says are to come.
    pub fn decide(&mut self, now: Duration, connections: u64, replicas: Replicas, expected: Option<u64>) -> u16 {
        let load = connections.max(expected.unwrap_or(0));
        let needed = self.replicas(load.saturating_mul(100), 100);
        let stay = self.replicas(load.saturating_mul(100), 100_u64.saturating_sub(ROOM_PERCENT));
        let greatest = self.greatest_of_cooldown(now, stay);
        let has_seen_a_cooldown = now.saturating_sub(*self.since.get_or_insert(now)) >= self.rules.cooldown;
        let running = replicas.running.clamp(self.rules.min, self.rules.max);
        if needed >= running {
            return needed;
        }
        // Those that would stay must be there: nothing goes while they are still starting.
        let may_go_in = has_seen_a_cooldown && replicas.ready >= greatest;
        if may_go_in { greatest.min(running) } else { running }
    }

    /// For a load in hundredths of a connection, with replicas of this many per cent of the target.
    fn replicas(&self, load_hundredths: u64, percent: u64) -> u16 {
        let each = u64::from(self.rules.target_connections.max(1)).saturating_mul(percent);
        let replicas = load_hundredths.checked_div_euclid(each).unwrap_or(u64::MAX);
        let replicas = replicas.saturating_add(u64::from(!load_hundredths.is_multiple_of(each)));
        let replicas = u16::try_from(replicas).unwrap_or(u16::MAX);
        replicas.clamp(self.rules.min, self.rules.max)
    }

    fn greatest_of_cooldown(&mut self, now: Duration, stay: u16) -> u16 {
        while self.stays.back().is_some_and(|(_, before)| *before <= stay) {
            self.stays.pop_back();
        }
        self.stays.push_back((now, stay));
        let is_old = |at: Duration| now.saturating_sub(at) >= self.rules.cooldown;
        while self.stays.len() > 1 && self.stays.front().is_some_and(|(at, _)| is_old(*at)) {
            self.stays.pop_front();
        }
        self.stays.front().map_or(stay, |(_, stay)| *stay)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const RULES: Scale = Scale {
        min: 1,
        max: 10,
        target_connections: 100,
        cooldown: Duration::from_mins(1),
        prediction: None,
    };

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn all_ready(replicas: u16) -> Replicas {
        Replicas {
            running: replicas,
            ready: replicas,
        }
    }

    /// What is wanted at the end of these loads, one each 2 s, if each wish comes true at once.
    fn follow(wish: &mut Wish, begin: Duration, replicas: u16, loads: impl IntoIterator<Item = u64>) -> Vec<u16> {
        let mut replicas = replicas;
        let mut now = begin;
        let mut wanted = Vec::new();
        for load in loads {
            replicas = wish.decide(now, load, all_ready(replicas), None);
            wanted.push(replicas);
            now += seconds(2);
        }
        wanted
    }

    #[test]
    fn out_at_once_as_far_as_is_needed() {
        let mut wish = Wish::new(RULES);
        assert_eq!(wish.decide(seconds(0), 100, all_ready(1), None), 1);
        assert_eq!(wish.decide(seconds(2), 101, all_ready(1), None), 2);
        assert_eq!(wish.decide(seconds(4), 720, all_ready(2), None), 8);
        assert_eq!(wish.decide(seconds(6), 99_999, all_ready(8), None), 10);
    }

    #[test]
    fn those_that_are_starting_count_as_ordered() {
        let mut wish = Wish::new(RULES);
        let starting = Replicas { running: 5, ready: 1 };
        assert_eq!(wish.decide(seconds(0), 450, starting, None), 5);
    }

    #[test]
    fn in_only_after_a_whole_cooldown_below() {
        let mut wish = Wish::new(RULES);
        let high = std::iter::repeat_n(800, 31);
        let low = std::iter::repeat_n(50, 40);
        let wanted = follow(&mut wish, seconds(0), 8, high.chain(low));
        // The last high load was at 60 s: until 120 s it is within the cooldown.
        assert!(wanted[..60].iter().all(|wanted| *wanted == 8), "{wanted:?}");
        assert!(wanted[60..].iter().all(|wanted| *wanted == 1), "{wanted:?}");
    }

    #[test]
    fn a_peak_within_the_cooldown_is_what_stays() {
        let mut wish = Wish::new(RULES);
        let loads = (0..100).map(|look| if look % 20 == 0 { 350 } else { 20 });
        let wanted = follow(&mut wish, seconds(0), 8, loads);
        assert_eq!(wanted.last(), Some(&4));
    }

    #[test]
    fn one_that_has_just_started_watches_for_a_cooldown_first() {
        let mut wish = Wish::new(RULES);
        let wanted = follow(&mut wish, seconds(1000), 6, std::iter::repeat_n(10, 35));
        assert!(wanted[..30].iter().all(|wanted| *wanted == 6), "{wanted:?}");
        assert_eq!(wanted[30], 1);
    }

    #[test]
    fn a_step_in_needs_a_tenth_of_room() {
        // 95 fit into one replica, but not into 90 % of it.
        for (load, wanted) in [(95, 2), (90, 1), (101, 2), (181, 3)] {
            let found = follow(&mut Wish::new(RULES), seconds(0), 3, std::iter::repeat_n(load, 50));
            assert_eq!(found.last(), Some(&wanted), "{load}");
        }
    }

    #[test]
    fn nothing_goes_while_those_that_would_stay_are_starting() {
        let mut wish = Wish::new(RULES);
        let starting = Replicas { running: 8, ready: 2 };
        for look in 0..100 {
            assert_eq!(wish.decide(seconds(look * 2), 250, starting, None), 8);
        }
        assert_eq!(wish.decide(seconds(200), 250, all_ready(8), None), 3);
    }

    #[test]
    fn a_forecast_raises_and_never_lowers() {
        let mut wish = Wish::new(RULES);
        assert_eq!(wish.decide(seconds(0), 150, all_ready(2), Some(640)), 7);
        assert_eq!(wish.decide(seconds(2), 640, all_ready(7), Some(100)), 7);
        assert_eq!(wish.decide(seconds(4), 800, all_ready(7), Some(100)), 8);
    }

    #[test]
    fn a_raised_min_and_a_lowered_max_hold_at_once() {
        let rules = Scale {
            min: 3,
            max: 5,
            ..RULES
        };
        assert_eq!(Wish::new(rules).decide(seconds(0), 0, all_ready(1), None), 3);
        assert_eq!(Wish::new(rules).decide(seconds(0), 900, all_ready(9), None), 5);
        assert_eq!(Wish::new(rules).decide(seconds(0), 0, all_ready(9), None), 5);
    }

    prop_compose! {
        fn any_rules()(min in 1_u16..=256, more in 0_u16..256, target_connections in 1_u32..2000, cooldown in 1_u64..600) -> Scale {
            Scale { min, max: min.saturating_add(more).min(256), target_connections, cooldown: seconds(cooldown), prediction: None }
        }
    }

    prop_compose! {
        fn any_load()(load in prop_oneof![0_u64..100, 0_u64..100_000, any::<u64>()]) -> u64 { load }
    }

    proptest! {
        #[test]
        fn within_min_and_max_and_enough_for_the_load(
            rules in any_rules(),
            looks in proptest::collection::vec((0_u64..100, any_load(), 0_u16..300, 0_u16..300, proptest::option::of(any_load())), 1..60)
        ) {
            let mut wish = Wish::new(rules);
            let mut now = Duration::ZERO;
            for (passed, load, running, ready, expected) in looks {
                now += seconds(passed);
                let wanted = wish.decide(now, load, Replicas { running, ready: ready.min(running) }, expected);
                prop_assert!((rules.min..=rules.max).contains(&wanted));
                let room = u128::from(wanted) * u128::from(rules.target_connections);
                prop_assert!(wanted == rules.max || room >= u128::from(load), "{wanted} for {load}");
                prop_assert!(wanted == rules.max || room >= u128::from(expected.unwrap_or(0)));
                prop_assert!(wish.stays.len() <= usize::from(rules.max - rules.min) + 1, "{}", wish.stays.len());
            }
        }

        #[test]
        fn more_load_never_wants_fewer(
            rules in any_rules(), past in proptest::collection::vec(any_load(), 0..30), running in 0_u16..300, one in any_load(), other in any_load()
        ) {
            let mut wish = Wish::new(rules);
            let mut now = Duration::ZERO;
            for load in past {
                wish.decide(now, load, all_ready(running), None);
                now += seconds(30);
            }
            let (less, more) = (one.min(other), one.max(other));
            let few = wish.clone().decide(now, less, all_ready(running), None);
            let many = wish.decide(now, more, all_ready(running), None);
            prop_assert!(few <= many, "{few} for {less}, {many} for {more}");
        }

        #[test]
        fn a_constant_load_changes_the_number_at_most_twice(rules in any_rules(), load in any_load(), begin in 0_u16..300) {
            // Out at once, then perhaps in, once; and that is where it stays.
            let looks = usize::try_from(rules.cooldown.as_secs()).expect("few") + 50;
            let mut wanted = vec![begin];
            wanted.extend(follow(&mut Wish::new(rules), seconds(0), begin, std::iter::repeat_n(load, looks)));
            let changes = wanted.windows(2).filter(|pair| pair[0] != pair[1]).count();
            prop_assert!(changes <= 2, "{wanted:?}");
            let (late, last) = (wanted[wanted.len() - 10], wanted[wanted.len() - 1]);
            prop_assert_eq!(late, last);
        }

        #[test]
        fn a_load_that_sways_by_less_than_the_room_never_flaps(rules in any_rules(), load in 200_u64..100_000, seed in any::<u64>()) {
            // A sway of 4 % each way, slower than the cooldown, so that the window alone wouldn't hold it.
            let mut random = fastrand::Rng::with_seed(seed);
            let mut wish = Wish::new(rules);
            let mut replicas = wish.replicas(load * 100, 90);
            let slow = rules.cooldown * 2;
            let mut changes = Vec::new();
            let mut now = Duration::ZERO;
            for _ in 0..200 {
                let swayed = load * random.u64(960..=1040) / 1000;
                for _ in 0..4 {
                    let wanted = wish.decide(now, swayed, all_ready(replicas), None);
                    if wanted != replicas {
                        changes.push((replicas, wanted));
                    }
                    replicas = wanted;
                    now += slow / 4;
                }
            }
            // Once it has found the number that bears the greatest, it comes back to no number it has left.
            let ups = changes.iter().filter(|(from, to)| to > from).count();
            let downs = changes.len() - ups;
            prop_assert!(ups == 0 || downs == 0, "{changes:?}");
        }
    }
}

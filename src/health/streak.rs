//! Rise and fall: so many good checks in a row to go up, so many bad ones to go down.

use crate::pool::Health;

/// The state of one backend's checks. Starts up: a backend is trusted until it fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Streak {
    health: Health,
    /// Checks in a row that contradict `health`.
    against: u32,
}

impl Streak {
    pub(super) const fn new() -> Self {
        Self {
            health: Health::Up,
            against: 0,
        }
    }

    pub(super) const fn health(self) -> Health {
        self.health
    }

    /// Whether the last check was against the verdict.
    pub(super) const fn is_contradicted(self) -> bool {
        self.against > 0
    }

    /// One more check. The number of checks in a row, if they changed the verdict.
    pub(super) fn note(&mut self, found: Health, rise: u32, fall: u32) -> Option<u32> {
        if found == self.health {
            self.against = 0;
            return None;
        }
        self.against = self.against.saturating_add(1);
        let needed = match found {
            Health::Up => rise,
            Health::Down => fall,
        };
        if self.against < needed {
            return None;
        }
        *self = Self {
            health: found,
            against: 0,
        };
        Some(needed)
    }

    /// Somebody else has seen enough. Whether that changes the verdict.
    pub(super) fn force(&mut self, found: Health) -> bool {
        let is_news = self.health != found;
        *self = Self {
            health: found,
            against: 0,
        };
        is_news
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn run(found: &str, rise: u32, fall: u32) -> Vec<Health> {
        let mut streak = Streak::new();
        found
            .chars()
            .map(|found| {
                streak.note(if found == '+' { Health::Up } else { Health::Down }, rise, fall);
                streak.health()
            })
            .collect()
    }

    #[test]
    fn it_takes_fall_in_a_row_to_go_down_and_rise_in_a_row_to_go_up() {
        use Health::{Down, Up};
        assert_eq!(run("--+---", 2, 3), [Up, Up, Up, Up, Up, Down]);
        assert_eq!(run("---+-++", 2, 3), [Up, Up, Down, Down, Down, Down, Up]);
    }

    proptest! {
        #[test]
        fn the_verdict_is_that_of_the_last_long_enough_run(found: Vec<bool>, rise in 1..5_u32, fall in 1..5_u32) {
            let mut streak = Streak::new();
            let (mut expected, mut run, mut last) = (Health::Up, 0, None);
            for good in found {
                run = if last == Some(good) { run + 1 } else { 1 };
                last = Some(good);
                if good && run >= rise { expected = Health::Up }
                if !good && run >= fall { expected = Health::Down }
                streak.note(if good { Health::Up } else { Health::Down }, rise, fall);
                prop_assert_eq!(streak.health(), expected);
            }
        }
    }
}

//! What there is reason to say often, and is said at most once a second.

use std::time::Duration;

use crate::types::Moment;

const PAUSE: Duration = Duration::from_secs(1);

/// When something was last said.
#[derive(Clone, Debug, Default)]
pub struct Seldom {
    last: Option<Moment>,
}

impl Seldom {
    /// Whether it may be said now; if so, it counts as said.
    pub fn is_due(&mut self, now: Moment) -> bool {
        let is_due = self.last.is_none_or(|last| now.since(last) >= PAUSE);
        if is_due {
            self.last = Some(now);
        }
        is_due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_due_at_first_and_then_once_a_second() {
        let mut seldom = Seldom::default();
        let start = Moment::START.plus(Duration::from_secs(9));
        let due = |after_ms: u64| start.plus(Duration::from_millis(after_ms));
        let said: Vec<u64> = (0..35)
            .map(|tenth| tenth * 100)
            .filter(|ms| seldom.is_due(due(*ms)))
            .collect();
        assert_eq!(said, [0, 1000, 2000, 3000]);
    }
}

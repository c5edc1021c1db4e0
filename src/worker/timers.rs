//! A worker's timers: a heap of deadlines, with at most a few entries a session.
//!
//! A session that moves bytes only pushes its deadline back, and that touches nothing here: its old entry comes up, finds that there
//! is time left, and is entered again. Only an earlier deadline makes a new entry, and the old one is void (the owner remembers which
//! entry is the valid one).

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::types::{Moment, SessionKey};

/// Fewer entries than this aren't worth a pass.
const ENTRIES_MIN: usize = 256;

/// The heap.
#[derive(Debug, Default)]
pub(super) struct Timers(BinaryHeap<Reverse<Entry>>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Entry {
    at: Moment,
    key: SessionKey,
}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Entry {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.key.index, self.key.generation).cmp(&(other.at, other.key.index, other.key.generation))
    }
}

impl Timers {
    /// Calls `key` up at `at`.
    pub(super) fn enter(&mut self, at: Moment, key: SessionKey) {
        self.0.push(Reverse(Entry { at, key }));
    }

    /// When the first one is due.
    pub(super) fn next(&self) -> Option<Moment> {
        self.0.peek().map(|entry| entry.0.at)
    }

    /// Takes one that is due by `now`.
    pub(super) fn take_due(&mut self, now: Moment) -> Option<(Moment, SessionKey)> {
        if self.next()? > now {
            return None;
        }
        self.0.pop().map(|Reverse(entry)| (entry.at, entry.key))
    }

    /// Throws void entries out when they are most of what there is: a session that ends leaves one behind, due in up to
    /// `idle_timeout`. Each call costs nothing, or a pass over as many entries as were entered since the last pass.
    pub(super) fn tidy(&mut self, sessions: usize, mut is_valid: impl FnMut(Moment, SessionKey) -> bool) {
        if self.0.len() > sessions.saturating_mul(4).saturating_add(ENTRIES_MIN) {
            self.0.retain(|Reverse(entry)| is_valid(entry.at, entry.key));
            self.0.shrink_to(ENTRIES_MIN);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_come_up_in_order_and_never_early() {
        let mut timers = Timers::default();
        let key = |index| SessionKey { index, generation: 0 };
        for (at, index) in [(30, 3), (10, 1), (20, 2)] {
            timers.enter(Moment::from_nanos(at), key(index));
        }
        assert_eq!(timers.take_due(Moment::from_nanos(9)), None);
        assert_eq!(
            timers.take_due(Moment::from_nanos(20)),
            Some((Moment::from_nanos(10), key(1)))
        );
        assert_eq!(
            timers.take_due(Moment::from_nanos(20)),
            Some((Moment::from_nanos(20), key(2)))
        );
        assert_eq!(timers.take_due(Moment::from_nanos(20)), None);
        assert_eq!(timers.next(), Some(Moment::from_nanos(30)));
    }

    #[test]
    fn void_entries_are_thrown_out_when_they_are_many() {
        let mut timers = Timers::default();
        for index in 0..10_000 {
            timers.enter(
                Moment::from_nanos(u64::from(index)),
                SessionKey { index, generation: 0 },
            );
            timers.tidy(10, |_, key| key.index < 10);
            assert!(timers.0.len() <= ENTRIES_MIN + 41);
        }
        assert_eq!(timers.next(), Some(Moment::START), "the valid ones stay");
    }
}

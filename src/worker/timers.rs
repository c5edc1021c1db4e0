//! A worker's timers: a heap of deadlines, with at most a few entries a session.
//!
//! A session that moves bytes only pushes its deadline back, and that touches nothing here: its old entry comes up, finds that there
//! is time left, and is entered again. Only an earlier deadline makes a new entry, and the old one is void (the owner remembers which
//! entry is the valid one).

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::types::{Moment, SessionKey};

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

    /// Gives back what a burst left behind.
    pub(super) fn shrink(&mut self) {
        self.0.shrink_to(64);
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
}

//! How many may be connected to the admin port at once, and who goes when one more comes: who has been idle for longest.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use tokio::task::AbortHandle;

use crate::types::Moment;

/// One connection's place.
#[derive(Debug)]
pub(super) struct Seat {
    /// Since when it asks for nothing; `None` = it is being answered.
    pub(super) idle_since: Cell<Option<Moment>>,
    task: RefCell<Option<AbortHandle>>,
}

/// All places.
#[derive(Debug)]
pub(super) struct Seats {
    taken: RefCell<Vec<Rc<Seat>>>,
    most: usize,
}

impl Seats {
    pub(super) fn new(most: u32) -> Self {
        Self {
            taken: RefCell::default(),
            most: usize::try_from(most).unwrap_or(usize::MAX),
        }
    }

    /// A place for a new connection; somebody idle may lose theirs for it. `None`: all are being answered.
    pub(super) fn take(&self, now: Moment) -> Option<Rc<Seat>> {
        let mut taken = self.taken.borrow_mut();
        if taken.len() >= self.most {
            let idle = taken
                .iter()
                .enumerate()
                .filter_map(|(place, seat)| Some((place, seat.idle_since.get()?)));
            let (longest, _) = idle.min_by_key(|(_, since)| *since)?;
            let seat = taken.swap_remove(longest);
            if let Some(task) = seat.task.take() {
                task.abort();
            }
        }
        let seat = Rc::new(Seat {
            idle_since: Cell::new(Some(now)),
            task: RefCell::default(),
        });
        taken.push(Rc::clone(&seat));
        Some(seat)
    }

    pub(super) fn leave(&self, seat: &Rc<Seat>) {
        self.taken.borrow_mut().retain(|other| !Rc::ptr_eq(other, seat));
    }
}

impl Seat {
    /// The task that serves the connection.
    pub(super) fn occupy(&self, task: AbortHandle) {
        *self.task.borrow_mut() = Some(task);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn at(seconds: u64) -> Moment {
        Moment::START.plus(Duration::from_secs(seconds))
    }

    #[test]
    fn who_is_idle_for_longest_makes_room_and_who_is_answered_does_not() {
        let seats = Seats::new(2);
        let (first, second) = (seats.take(at(0)).unwrap(), seats.take(at(1)).unwrap());
        first.idle_since.set(None);
        let third = seats.take(at(2)).unwrap();
        let left = |seat: &Rc<Seat>| seats.taken.borrow().iter().any(|other| Rc::ptr_eq(other, seat));
        assert!(left(&first) && !left(&second) && left(&third));
        third.idle_since.set(None);
        assert!(seats.take(at(3)).is_none());
        seats.leave(&first);
        assert!(seats.take(at(4)).is_some());
    }
}

//! How many may be connected to the admin port at once, and who goes when one more comes: who has been idle for longest. Who takes
//! their answer too slowly goes as well.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use tokio::task::AbortHandle;

use crate::types::Moment;

/// A request has so long from its head to the last byte of its answer, however steadily it is taken.
const ANSWER_MAX: Duration = Duration::from_secs(60);

/// What a connection is for at the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Use {
    /// Nothing, since then.
    Idle(Moment),
    /// A request whose body began to come then: it may take its time, and others need not wait for it.
    Asking(Moment),
    /// A request that came then, until its answer is written.
    Answer(Moment),
    /// Events, for as long as they are listened to.
    Events,
}

/// One connection's place.
#[derive(Debug)]
pub(super) struct Seat {
    pub(super) used_for: Cell<Use>,
    task: RefCell<Option<AbortHandle>>,
}

/// All places.
#[derive(Debug)]
pub(super) struct Seats {
    taken: RefCell<Vec<Rc<Seat>>>,
    most: usize,
}

/// Keeps a seat; dropped, even by a panic, it is free.
#[derive(Debug)]
pub(super) struct Place {
    seats: Rc<Seats>,
    pub(super) seat: Rc<Seat>,
}

impl Drop for Place {
    fn drop(&mut self) {
        let is_other = |other: &Rc<Seat>| !Rc::ptr_eq(other, &self.seat);
        self.seats.taken.borrow_mut().retain(is_other);
    }
}

impl Seats {
    pub(super) fn new(most: usize) -> Self {
        Self {
            taken: RefCell::default(),
            most,
        }
    }

    /// A place for a new connection; somebody idle may lose theirs for it. `None`: all are being answered.
    pub(super) fn take(self: &Rc<Self>, now: Moment) -> Option<Place> {
        let mut taken = self.taken.borrow_mut();
        if taken.len() >= self.most {
            let idle = taken
                .iter()
                .enumerate()
                .filter_map(|(place, seat)| match seat.used_for.get() {
                    Use::Idle(since) | Use::Asking(since) => Some((place, since)),
                    Use::Answer(_) | Use::Events => None,
                });
            let (longest, _) = idle.min_by_key(|(_, since)| *since)?;
            taken.swap_remove(longest).end();
        }
        let seat = Rc::new(Seat {
            used_for: Cell::new(Use::Idle(now)),
            task: RefCell::default(),
        });
        taken.push(Rc::clone(&seat));
        Some(Place {
            seats: Rc::clone(self),
            seat,
        })
    }

    /// Ends who hasn't taken an answer in all that time.
    pub(super) fn end_late(&self, now: Moment) {
        self.taken.borrow_mut().retain(|seat| match seat.used_for.get() {
            Use::Answer(since) if now.since(since) >= ANSWER_MAX => {
                seat.end();
                false
            }
            _ => true,
        });
    }
}

impl Seat {
    /// The task that serves the connection.
    pub(super) fn occupy(&self, task: AbortHandle) {
        *self.task.borrow_mut() = Some(task);
    }

    fn end(&self) {
        if let Some(task) = self.task.take() {
            task.abort();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Moment {
        Moment::START.plus(Duration::from_secs(seconds))
    }

    fn is_kept(seats: &Seats, place: &Place) -> bool {
        seats.taken.borrow().iter().any(|other| Rc::ptr_eq(other, &place.seat))
    }

    #[test]
    fn who_is_idle_for_longest_makes_room_and_who_is_answered_does_not() {
        let seats = Rc::new(Seats::new(2));
        let (first, second) = (seats.take(at(0)).unwrap(), seats.take(at(1)).unwrap());
        first.seat.used_for.set(Use::Answer(at(1)));
        let third = seats.take(at(2)).unwrap();
        assert!(is_kept(&seats, &first) && !is_kept(&seats, &second) && is_kept(&seats, &third));
        third.seat.used_for.set(Use::Asking(at(2)));
        let fourth = seats.take(at(2)).unwrap();
        assert!(
            is_kept(&seats, &first) && !is_kept(&seats, &third),
            "who is slow to ask makes room too"
        );
        fourth.seat.used_for.set(Use::Events);
        assert!(seats.take(at(3)).is_none());
        drop(first);
        assert!(seats.take(at(4)).is_some());
    }

    #[test]
    fn who_takes_an_answer_too_slowly_is_ended() {
        let seats = Rc::new(Seats::new(8));
        let [slow, quick, idle, listener] = [0, 30, 0, 0].map(|second| {
            let place = seats.take(at(second)).unwrap();
            place.seat.used_for.set(Use::Answer(at(second)));
            place
        });
        idle.seat.used_for.set(Use::Idle(at(0)));
        listener.seat.used_for.set(Use::Events);
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let task = runtime.spawn(std::future::pending::<()>());
        slow.seat.occupy(task.abort_handle());
        seats.end_late(at(59));
        assert!(is_kept(&seats, &slow));
        seats.end_late(at(60));
        assert!(!is_kept(&seats, &slow) && [&quick, &idle, &listener].map(|place| is_kept(&seats, place)) == [true; 3]);
        assert!(runtime.block_on(task).unwrap_err().is_cancelled());
    }
}

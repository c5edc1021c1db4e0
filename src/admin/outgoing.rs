//! Answers on their way out: how many bytes of them may wait at once, and when a connection has got its own.

use std::cell::Cell;
use std::convert::Infallible;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use hyper::Response;
use hyper::body::{Body, Bytes, Frame, SizeHint};

use super::answer::{Answer, Content, busy};
use super::seats::{Seat, Use};
use crate::sys::Clock;

/// Bytes of whole answers that nobody has taken yet, of all connections together.
pub(super) const WAITING_MAX: usize = 256 << 20;

/// What whole answers may take of memory.
#[derive(Debug)]
pub(super) struct Room {
    left: Cell<usize>,
}

/// Bytes of the room; dropped, they are free.
#[derive(Debug)]
struct Share {
    room: Rc<Room>,
    bytes: usize,
}

/// The body of an answer that goes to a connection; dropped, the connection has got it: but for what is in the socket.
pub(super) struct Outgoing {
    content: Content,
    seat: Rc<Seat>,
    _share: Share,
}

impl Room {
    pub(super) fn new(bytes: usize) -> Self {
        Self { left: Cell::new(bytes) }
    }

    fn take(self: &Rc<Self>, bytes: usize) -> Option<Share> {
        self.left.set(self.left.get().checked_sub(bytes)?);
        Some(Share {
            room: Rc::clone(self),
            bytes,
        })
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.room.left.set(self.room.left.get().saturating_add(self.bytes));
    }
}

impl Drop for Outgoing {
    fn drop(&mut self) {
        self.seat.used_for.set(Use::Idle(Clock::now()));
    }
}

/// Sends an answer on its way; where there is no room for it, that is the answer.
pub(super) fn send(answer: Answer, seat: &Rc<Seat>, room: &Rc<Room>) -> Response<Outgoing> {
    let (answer, share) = match room.take(answer.body().len()) {
        Some(share) => (answer, share),
        None => {
            let busy = busy("too much waits to be taken by others already").into_answer();
            let nothing = Share {
                room: Rc::clone(room),
                bytes: 0,
            };
            (busy, nothing)
        }
    };
    if matches!(answer.body(), Content::Stream(_)) {
        seat.used_for.set(Use::Events);
    }
    answer.map(|content| Outgoing {
        content,
        seat: Rc::clone(seat),
        _share: share,
    })
}

impl Body for Outgoing {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Pin::new(&mut self.content).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.content.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.content.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::answer::whole;
    use crate::admin::seats::Seats;
    use crate::types::Moment;
    use hyper::StatusCode;

    fn answer(bytes: usize) -> Answer {
        whole(StatusCode::OK, "text/plain", vec![b'x'; bytes])
    }

    #[test]
    fn answers_that_nobody_takes_leave_no_room_for_more_and_give_it_back() {
        let (room, seats) = (Rc::new(Room::new(1000)), Rc::new(Seats::new(2)));
        let place = seats.take(Moment::START).unwrap();
        let first = send(answer(600), &place.seat, &room);
        assert_eq!(first.status(), StatusCode::OK);
        assert_eq!(
            send(answer(401), &place.seat, &room).status(),
            StatusCode::SERVICE_UNAVAILABLE
        );
        assert_eq!(send(answer(400), &place.seat, &room).status(), StatusCode::OK);
        drop(first);
        assert_eq!(send(answer(1000), &place.seat, &room).status(), StatusCode::OK);
    }

    #[test]
    fn a_connection_is_idle_from_when_it_has_got_its_answer() {
        let (room, seats) = (Rc::new(Room::new(1000)), Rc::new(Seats::new(2)));
        let place = seats.take(Moment::START).unwrap();
        place.seat.used_for.set(Use::Answer(Moment::START));
        let answer = send(answer(10), &place.seat, &room);
        assert_eq!(place.seat.used_for.get(), Use::Answer(Moment::START));
        drop(answer);
        assert!(matches!(place.seat.used_for.get(), Use::Idle(_)));
    }
}

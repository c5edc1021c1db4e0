//! Who listens to events, and what they are sent: `text/event-stream` of the HTML standard.
//!
//! Each listener has a short queue; who doesn't take what comes is cut, and reconnects.

use std::cell::Cell;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use hyper::body::Bytes;
use serde::Serialize;
use tokio::sync::mpsc;

/// Listeners at once, where there are seats for twice as many.
const LISTENERS_MAX: usize = 32;
/// Events that may wait for one of them: 8.5 minutes of samples, or a burst of a few hundred changes.
const QUEUE_EVENTS: usize = 256;
/// And their bytes, of which large pools have more: a sample of 5,000 backends has a megabyte.
const QUEUE_BYTES: usize = 8 << 20;

/// The listeners.
#[derive(Debug)]
pub(super) struct Hub {
    listeners: Vec<Listener>,
    most: usize,
}

#[derive(Debug)]
struct Listener {
    events: mpsc::Sender<Bytes>,
    bytes: Rc<Cell<usize>>,
}

/// What a listener is sent.
#[derive(Debug)]
pub(super) struct Events {
    events: mpsc::Receiver<Bytes>,
    /// That wait.
    bytes: Rc<Cell<usize>>,
}

impl Events {
    /// The next one; `None`: there is no more.
    pub(super) fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<Bytes>> {
        let event = ready!(self.events.poll_recv(context));
        let length = event.as_ref().map_or(0, Bytes::len);
        self.bytes.set(self.bytes.get().saturating_sub(length));
        Poll::Ready(event)
    }
}

impl Listener {
    /// Whether it still takes what comes.
    fn send(&self, event: &Bytes) -> bool {
        let waiting = self.bytes.get();
        let sum = waiting.saturating_add(event.len());
        // One that is larger than all the room still goes to who has taken everything before it.
        let fits = waiting == 0 || sum <= QUEUE_BYTES;
        self.bytes.set(sum);
        fits && self.events.try_send(event.clone()).is_ok()
    }
}

impl Hub {
    /// Of a port with so many seats, of which listeners may hold half.
    pub(super) fn new(seats: usize) -> Self {
        Self {
            listeners: Vec::new(),
            most: seats.div_euclid(2).clamp(1, LISTENERS_MAX),
        }
    }

    /// A new listener's events. `None`: there are too many.
    pub(super) fn listen(&mut self) -> Option<Events> {
        self.listeners.retain(|listener| !listener.events.is_closed());
        if self.listeners.len() >= self.most {
            return None;
        }
        let (send, receive) = mpsc::channel(QUEUE_EVENTS);
        let listener = Listener {
            events: send,
            bytes: Rc::default(),
        };
        let events = Events {
            events: receive,
            bytes: Rc::clone(&listener.bytes),
        };
        // A first line at once, so that the listener knows that it listens.
        let hello = listener.send(&Bytes::from_static(b": listening\n\n"));
        debug_assert!(hello);
        self.listeners.push(listener);
        Some(events)
    }

    /// Nobody listens any more.
    pub(super) fn end_all(&mut self) {
        self.listeners.clear();
    }

    /// Sends an event to all.
    pub(super) fn send<T: Serialize>(&mut self, name: &str, data: &T) {
        self.listeners.retain(|listener| !listener.events.is_closed());
        if self.listeners.is_empty() {
            return;
        }
        match serde_json::to_string(data) {
            // JSON on one line: serde_json escapes line breaks.
            Ok(data) => {
                let event = Bytes::from(format!("event: {name}\ndata: {data}\n\n"));
                self.listeners.retain(|listener| listener.send(&event));
            }
            Err(error) => log::error!("admin: an event can't be told as JSON: {error}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::task::Waker;

    /// What waits for it.
    fn next(events: &mut Events) -> Option<Bytes> {
        match events.poll_next(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(event) => event,
            Poll::Pending => None,
        }
    }

    #[test]
    fn an_event_is_a_name_and_a_line_of_json() {
        let mut hub = Hub::new(64);
        let mut events = hub.listen().unwrap();
        hub.send("backend", &"a\nb");
        assert_eq!(next(&mut events).unwrap(), ": listening\n\n");
        assert_eq!(next(&mut events).unwrap(), "event: backend\ndata: \"a\\nb\"\n\n");
    }

    #[test]
    fn who_does_not_take_what_comes_is_cut_and_the_others_are_not() {
        let mut hub = Hub::new(64);
        let (_slow, mut quick) = (hub.listen().unwrap(), hub.listen().unwrap());
        for number in 0..QUEUE_EVENTS {
            assert!(next(&mut quick).is_some());
            hub.send("sample", &number);
        }
        assert_eq!(hub.listeners.len(), 1);
        assert!(next(&mut quick).is_some());
    }

    #[test]
    fn who_lets_megabytes_wait_is_cut_however_few_events_they_are() {
        let mut hub = Hub::new(64);
        let (_slow, mut quick) = (hub.listen().unwrap(), hub.listen().unwrap());
        let large = "x".repeat(QUEUE_BYTES);
        assert!(next(&mut quick).is_some());
        hub.send("sample", &large);
        assert_eq!(hub.listeners.len(), 1, "who has taken all gets even a very large one");
        assert!(next(&mut quick).is_some());
        let half = "x".repeat(QUEUE_BYTES / 2 - 100);
        (0..2).for_each(|_| hub.send("sample", &half));
        assert_eq!(hub.listeners.len(), 1);
        hub.send("sample", &half);
        assert!(hub.listeners.is_empty());
    }

    #[test]
    fn listeners_have_half_of_the_seats_and_no_more_than_so_many() {
        for (seats, most) in [(1000, LISTENERS_MAX), (8, 4), (1, 1)] {
            let mut hub = Hub::new(seats);
            let listeners: Vec<_> = (0..most).map(|_| hub.listen().unwrap()).collect();
            assert!(hub.listen().is_none());
            drop(listeners);
            assert!(hub.listen().is_some());
        }
    }
}

//! Who listens to events, and what they are sent: `text/event-stream` of the HTML standard.
//!
//! Each listener has a short queue; who doesn't take what comes is cut, and reconnects.

use hyper::body::Bytes;
use serde::Serialize;
use tokio::sync::mpsc;

/// Listeners at once.
const LISTENERS_MAX: usize = 32;
/// Events that may wait for one of them: a minute of samples, or a burst of a few hundred changes.
const QUEUE_EVENTS: usize = 256;

/// The listeners.
#[derive(Debug, Default)]
pub(super) struct Hub {
    listeners: Vec<mpsc::Sender<Bytes>>,
}

impl Hub {
    /// A new listener's events. `None`: there are too many.
    pub(super) fn listen(&mut self) -> Option<mpsc::Receiver<Bytes>> {
        self.listeners.retain(|listener| !listener.is_closed());
        if self.listeners.len() >= LISTENERS_MAX {
            return None;
        }
        let (send, receive) = mpsc::channel(QUEUE_EVENTS);
        // A first line at once, so that the listener knows that it listens.
        let hello = send.try_send(Bytes::from_static(b": listening\n\n"));
        debug_assert!(hello.is_ok());
        self.listeners.push(send);
        Some(receive)
    }

    /// Sends an event to all.
    pub(super) fn send<T: Serialize>(&mut self, name: &str, data: &T) {
        self.listeners.retain(|listener| !listener.is_closed());
        if self.listeners.is_empty() {
            return;
        }
        match serde_json::to_string(data) {
            // JSON on one line: serde_json escapes line breaks.
            Ok(data) => {
                let event = Bytes::from(format!("event: {name}\ndata: {data}\n\n"));
                self.listeners
                    .retain(|listener| listener.try_send(event.clone()).is_ok());
            }
            Err(error) => log::error!("admin: an event can't be told as JSON: {error}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_a_name_and_a_line_of_json() {
        let mut hub = Hub::default();
        let mut listener = hub.listen().unwrap();
        hub.send("backend", &"a\nb");
        assert_eq!(listener.try_recv().unwrap(), ": listening\n\n");
        assert_eq!(listener.try_recv().unwrap(), "event: backend\ndata: \"a\\nb\"\n\n");
    }

    #[test]
    fn who_does_not_take_what_comes_is_cut_and_the_others_are_not() {
        let mut hub = Hub::default();
        let (_slow, mut quick) = (hub.listen().unwrap(), hub.listen().unwrap());
        for number in 0..QUEUE_EVENTS {
            assert!(quick.try_recv().is_ok());
            hub.send("sample", &number);
        }
        assert_eq!(hub.listeners.len(), 1);
        assert!(quick.try_recv().is_ok());
    }

    #[test]
    fn there_are_so_many_listeners_and_no_more() {
        let mut hub = Hub::default();
        let listeners: Vec<_> = (0..LISTENERS_MAX).map(|_| hub.listen().unwrap()).collect();
        assert!(hub.listen().is_none());
        drop(listeners);
        assert!(hub.listen().is_some());
    }
}

//! How long a backend takes to answer, measured on live sessions: from the client's bytes to the backend's next ones.
//!
//! A few times a second at most, and only where the policy asks for it. With each measurement goes the kernel's round-trip time;
//! the longer of the two is told: a program that is slow, or a way there that is long.
//! A backend that hangs answers nothing, so the first question of a session counts also when it has no answer, or a very late one. (The
//! later ones don't: a client may have told something that wants none.)

use std::time::Duration;

use super::io::{Socket, World};
use crate::observe::End;
use crate::types::Moment;

/// A longer silence tells of the protocol (a query that waits for news), not of the backend.
const ANSWER_MAX: Duration = Duration::from_secs(5);

/// Where a session is with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stopwatch {
    /// Nobody wants to know.
    Off,
    /// The next question from then on is timed.
    Ready { from: Moment, is_first: bool },
    /// The client asked, and its last byte went to the backend at this moment.
    Asked { at: Moment, is_first: bool },
}

impl Stopwatch {
    /// For a session that begins now.
    pub(super) const fn ready(from: Moment) -> Self {
        Self::Ready { from, is_first: true }
    }

    /// Bytes moved: some to the backend, or some to the client, or both.
    pub(super) fn note<W: World>(
        &mut self,
        (is_question, is_answer): (bool, bool),
        (backend, socket): (&W::Backend, &W::Socket),
        world: &mut W,
    ) {
        let (Some(every), now) = (world.options().latency_every, world.now()) else {
            return;
        };
        match *self {
            Self::Asked { at, is_first } if is_answer => {
                *self = Self::Ready {
                    from: now.plus(every),
                    is_first: false,
                };
                let took = now.since(at).max(socket.round_trip().unwrap_or(Duration::ZERO));
                if is_first || took <= ANSWER_MAX {
                    world.note_latency(backend, took);
                }
            }
            // One that comes in pieces is asked with the last.
            Self::Asked { is_first, .. } if is_question => *self = Self::Asked { at: now, is_first },
            // What is answered in the same breath was no question.
            Self::Ready { from, is_first } if is_question && !is_answer && now >= from => {
                *self = Self::Asked { at: now, is_first };
            }
            Self::Off | Self::Ready { .. } | Self::Asked { .. } => {}
        }
    }

    /// The session is over.
    pub(super) fn note_end<W: World>(&self, end: End, backend: &W::Backend, world: &mut W) {
        if let Self::Asked { at, is_first: true } = *self {
            let is_refused = matches!(end, End::BackendClosed | End::BackendReset);
            let waited = world.now().since(at);
            world.note_unanswered(backend, if is_refused { Duration::MAX } else { waited });
        }
    }
}

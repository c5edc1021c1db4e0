//! How long a backend takes to answer, measured on live sessions: from the client's bytes to the backend's next ones.
//!
//! A few times a second at most, and only where the policy asks for it. With each measurement goes the kernel's round-trip time;
//! the longer of the two is told: a program that is slow, or a way there that is long.

use std::time::Duration;

use super::io::{Socket, World};
use crate::types::Moment;

/// Where a session is with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stopwatch {
    /// Nobody wants to know.
    Off,
    /// The next question from then on is timed.
    Ready(Moment),
    /// The client asked at this moment.
    Asked(Moment),
}

impl Stopwatch {
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
            Self::Asked(at) if is_answer => {
                *self = Self::Ready(now.plus(every));
                let round_trip = socket.round_trip().unwrap_or(Duration::ZERO);
                world.note_latency(backend, now.since(at).max(round_trip));
            }
            // What is answered in the same breath was no question.
            Self::Ready(from) if is_question && !is_answer && now >= from => *self = Self::Asked(now),
            Self::Off | Self::Ready(_) | Self::Asked(_) => {}
        }
    }
}

//! The thread that asks lb: all it counts, once a second, and what the keys want of it.

use std::io;
use std::thread;
use std::time::Instant;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};

use super::{Event, INTERVAL, Witness};
use crate::api::{BackendChange, Connections, Status};
use crate::cli::commands::{backend_path, connections_path, status_path};
use crate::cli::failure::Failure;
use crate::cli::remote::Remote;

/// The API gives live connections in no order, so the busiest are found among so many.
const CONNECTIONS_MAX: u32 = 1000;

/// What lb counts at one moment.
#[derive(Clone, Debug)]
pub(super) struct Sample {
    pub(super) status: Status,
    pub(super) connections: Connections,
}

/// A change of one backend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Ask {
    pub(super) service: String,
    pub(super) backend: String,
    pub(super) change: BackendChange,
    /// What it is, in words.
    pub(super) what: String,
}

/// Asks lb for everything once.
///
/// # Errors
/// lb isn't reachable, or refuses.
pub(super) fn sample(lb: &Remote) -> Result<Sample, Failure> {
    Ok(Sample {
        status: lb.get(&status_path())?.read()?,
        connections: lb.get(&connections_path(None, None, CONNECTIONS_MAX))?.read()?,
    })
}

/// Starts the thread. It ends when nobody listens any more.
///
/// # Errors
/// No thread is left.
pub(super) fn start(lb: Remote, asked: Receiver<Ask>, happens: Sender<Event>) -> io::Result<()> {
    let work = move || {
        let witness = Witness(happens);
        // The first look was a moment ago.
        let now = Instant::now();
        let mut next = now.checked_add(INTERVAL).unwrap_or(now);
        while let Some(event) = turn(&lb, &asked, &mut next) {
            if witness.0.send(event).is_err() {
                return;
            }
        }
    };
    thread::Builder::new().name("ask".into()).spawn(work).map(drop)
}

/// Waits for a change to make, until it is time for the next look; `None`: nobody will ask any more.
fn turn(lb: &Remote, asked: &Receiver<Ask>, next: &mut Instant) -> Option<Event> {
    match asked.recv_deadline(*next) {
        Ok(ask) => Some(Event::Answered(change(lb, &ask))),
        Err(RecvTimeoutError::Disconnected) => None,
        Err(RecvTimeoutError::Timeout) => {
            let event = match sample(lb) {
                Ok(sample) => Event::Sampled(Box::new(sample)),
                Err(failure) => Event::Lost(failure.line()),
            };
            // From the answer on: a slow lb isn't asked without a pause.
            *next = Instant::now().checked_add(INTERVAL)?;
            Some(event)
        }
    }
}

fn change(lb: &Remote, ask: &Ask) -> Result<String, String> {
    let path = backend_path(&ask.service, &ask.backend, &[]);
    match lb.patch(&path, &ask.change) {
        Ok(_) => Ok(format!("{}/{}: {}", ask.service, ask.backend, ask.what)),
        Err(failure) => Err(failure.line()),
    }
}

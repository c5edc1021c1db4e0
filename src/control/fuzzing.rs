//! For the fuzzer alone (`fuzz/`, `cfg(fuzzing)`): commands and requests that go to whoever fuzzes instead of to the control thread, so
//! that no input reloads a file, starts a program, or fills a pool that the next input finds.

use crossbeam_channel::{Receiver, bounded};

use super::command::{Command, Commander, Outcome, REQUESTS_QUEUED, Request};
use super::replicas::{ReplicaOrder, ReplicaOutcome, ReplicaRequests, Replicas};

/// What was asked for.
pub struct Ordered {
    requests: Receiver<Request>,
    replicas: ReplicaRequests,
}

impl Commander {
    /// One whose commands nobody carries out.
    ///
    /// # Errors
    /// No descriptor is left.
    pub fn idle() -> std::io::Result<(Self, Ordered)> {
        let (send, requests) = bounded(REQUESTS_QUEUED);
        let (asking, replicas) = Replicas::new()?;
        let commander = Self {
            requests: send,
            replicas: asking,
        };
        Ok((commander, Ordered { requests, replicas }))
    }
}

impl Ordered {
    /// Answers everything that waits; how much that was.
    pub fn answer(
        &self,
        mut command: impl FnMut(Command) -> Outcome,
        mut replicas: impl FnMut(ReplicaOrder) -> ReplicaOutcome,
    ) -> usize {
        let mut count: usize = 0;
        for request in self.requests.try_iter() {
            (request.reply)(command(request.command));
            count = count.saturating_add(1);
        }
        for request in self.replicas.requests.try_iter() {
            // To be told of them changes nothing.
            count = count.saturating_add(usize::from(request.order != ReplicaOrder::Tell));
            (request.reply)(replicas(request.order));
        }
        count
    }
}

//! A worker's pipes: opened when first needed, lent while bytes are in them, never more than its share.

use std::sync::Arc;

use crate::pool::{Limiter, Permit};
use crate::sys::Pipe;

/// What a pipe is asked to hold: a few large segments, so that one splice moves what would take eight copies.
const PIPE_BYTES: usize = 131_072;

/// A pipe, and its place under the limit, which it gives back when it is closed, however that comes about.
#[derive(Debug)]
pub(super) struct PooledPipe {
    pub(super) pipe: Pipe,
    _permit: Permit,
}

/// The free ones. Boxed, because a session holds one for a moment and its place for it all its life.
#[allow(clippy::vec_box, reason = "the boxes go to sessions and back")]
#[derive(Debug)]
pub(super) struct Pipes {
    free: Vec<Box<PooledPipe>>,
    limiter: Arc<Limiter>,
}

impl Pipes {
    pub(super) const fn new(limiter: Arc<Limiter>) -> Self {
        Self {
            free: Vec::new(),
            limiter,
        }
    }

    /// An empty pipe; `None` when the share is used up or the system refuses.
    pub(super) fn borrow(&mut self) -> Option<Box<PooledPipe>> {
        self.free.pop().or_else(|| {
            let permit = self.limiter.take()?;
            let pipe = Pipe::open(PIPE_BYTES).ok()?;
            Some(Box::new(PooledPipe { pipe, _permit: permit }))
        })
    }

    /// Back, empty. One that still holds bytes must be dropped instead.
    pub(super) fn give_back(&mut self, pipe: Box<PooledPipe>) {
        self.free.push(pipe);
    }

    /// Closes the free ones.
    pub(super) fn close_free(&mut self) {
        self.free.clear();
    }
}

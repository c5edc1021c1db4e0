//! One worker: a thread with its own event loop, sessions, timers and pipes.
//!
//! Started by `control`, fed by `acceptor` through a bounded inbox. Nothing on the path of a byte is shared or locked: other threads
//! see of a worker its inbox, its wake-up and how many sessions it has. A panic in one session costs that session; a panic in the
//! loop costs this worker's sessions, and the loop starts again with the same inbox.

mod caller;
mod pipes;
mod real;
mod run;
mod shared;
mod slab;
#[cfg(test)]
mod tests;
mod timers;

pub use real::SCRATCH_BYTES;
pub use run::{Context, spawn};
pub use shared::{Arrival, LiveSession, Order, Places, Reply, Ticket, Wanted, WorkerHandle};

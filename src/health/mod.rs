//! Is a backend up? Rise and fall (pure), probes (one connection each), and the thread that runs them.
//!
//! Called by `control`, which gets a [`Change`] when a verdict changes and is the one to act on it. Workers tell of failed connects.
//! Nothing here blocks: thousands of backends are one event loop. What this machine lacks (ports, descriptors) is never held against
//! a backend.

mod check;
mod probe;
mod prober;
mod schedule;
mod streak;

pub use check::{Check, Plan};
pub use prober::{Change, Order, Prober, Target};

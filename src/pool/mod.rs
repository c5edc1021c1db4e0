//! What a backend is: identity, health and admin state, counters with their guards; and the pool of a service at one moment.
//!
//! A [`Pool`] is immutable and shared; a change makes another. The counters live in the [`Backend`], which outlives every pool
//! that lists it, so they can't be lost or counted twice when pools are swapped. `control` makes pools, `balance` reads them.

mod backend;
mod checks;
mod guard;
mod latency;
mod limiter;
mod members;

pub use backend::{Backend, BackendTotals, TrafficFailure};
pub use checks::{CheckTotals, Checks};
pub use guard::BackendGuard;
pub use latency::PeakEwma;
pub use limiter::{Limiter, Permit};
pub use members::{Admin, Health, Member, Origin, Pool, Ramp};

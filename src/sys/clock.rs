//! The monotonic clock, as nanoseconds since it was first asked for.

use std::sync::OnceLock;
use std::time::Instant;

use crate::types::Moment;

/// The process's clock. Loops read it once a wake and pass the moment on.
#[derive(Clone, Copy, Debug)]
pub struct Clock;

impl Clock {
    /// The moment it is. Never goes back, whatever is done to the wall clock (CLOCK_MONOTONIC).
    #[must_use]
    pub fn now() -> Moment {
        static START: OnceLock<Instant> = OnceLock::new();
        let elapsed = START.get_or_init(Instant::now).elapsed();
        Moment::from_nanos(u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX))
    }
}

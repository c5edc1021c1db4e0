//! Keeping a thread's work alive: a panic ends one turn of it, is counted and logged, and the next turn begins.

use std::fmt::Display;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use super::counters::ProcessCounters;

/// Between a panic and the next turn: not felt by who waits, and a turn that always panics leaves the core to others.
const PAUSE: Duration = Duration::from_millis(20);

/// Calls `turn` until it returns well; after a panic in it, or an error, it is called again.
///
/// `turn` must build what it needs afresh: whatever the panic left half done is gone with it.
pub fn supervise<E: Display>(name: &str, counters: &ProcessCounters, mut turn: impl FnMut() -> Result<(), E>) {
    loop {
        match catch_unwind(AssertUnwindSafe(&mut turn)) {
            Ok(Ok(())) => return,
            Ok(Err(error)) => log::error!("{name}: can't go on: {error}; it tries again"),
            Err(_) => {
                counters.panics.fetch_add(1, Relaxed);
                log::error!("{name}: a fault of lb ended its turn; it starts again");
            }
        }
        let pause_is_over = crossbeam_channel::after(PAUSE).recv();
        debug_assert!(pause_is_over.is_ok());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_or_an_error_ends_one_turn_and_the_next_begins() {
        let counters = ProcessCounters::default();
        let mut turns = 0;
        supervise("test", &counters, || {
            turns += 1;
            assert!(turns >= 3, "injected");
            if turns < 5 { Err("injected") } else { Ok(()) }
        });
        assert_eq!(turns, 5);
        assert_eq!(counters.panics.load(Relaxed), 2);
    }
}

//! Keeping a thread's work alive: a panic ends one turn of it, is counted and logged, and the next turn begins.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use super::counters::ProcessCounters;

/// Between a panic and the next turn: not felt by who waits, and a turn that always panics leaves the core to others.
const PAUSE: Duration = Duration::from_millis(20);

/// Calls `turn` until it returns; a panic in it is counted and it is called again.
///
/// `turn` must build what it needs afresh: whatever the panic left half done is gone with it.
pub fn supervise(name: &str, counters: &ProcessCounters, mut turn: impl FnMut()) {
    while catch_unwind(AssertUnwindSafe(&mut turn)).is_err() {
        counters.panics.fetch_add(1, Relaxed);
        log::error!("{name}: a fault of lb ended its turn; it starts again");
        let pause_is_over = crossbeam_channel::after(PAUSE).recv();
        debug_assert!(pause_is_over.is_ok());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_ends_one_turn_and_the_next_begins() {
        let counters = ProcessCounters::default();
        let mut turns = 0;
        supervise("test", &counters, || {
            turns += 1;
            assert!(turns >= 3, "injected");
        });
        assert_eq!(turns, 3);
        assert_eq!(counters.panics.load(Relaxed), 2);
    }
}

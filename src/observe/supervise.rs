//! Keeping a thread's work alive: a panic ends one turn of it, is counted and logged, and the next turn begins.

use std::fmt::Display;
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering::Relaxed;
use std::task::Poll;
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

/// What `work` comes to; `None`: a panic ended it, which is counted and logged. What it held is dropped either way.
pub async fn caught<T>(name: &str, counters: &ProcessCounters, work: impl Future<Output = T>) -> Option<T> {
    let mut work = Box::pin(work);
    let outcome = poll_fn(
        |context| match catch_unwind(AssertUnwindSafe(|| work.as_mut().poll(context))) {
            Ok(polled) => polled.map(Some),
            Err(_) => Poll::Ready(None),
        },
    );
    let outcome = outcome.await;
    if outcome.is_none() {
        counters.panics.fetch_add(1, Relaxed);
        log::error!("{name}: a fault of lb ended it; the others go on");
    }
    outcome
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_in_a_task_ends_it_alone_and_what_it_held_is_dropped() {
        let (counters, held) = (ProcessCounters::default(), std::sync::Arc::new(()));
        let waits = |fails: bool| {
            let held = std::sync::Arc::clone(&held);
            let mut is_first = true;
            poll_fn(move |context| {
                if std::mem::take(&mut is_first) {
                    context.waker().wake_by_ref();
                    return Poll::Pending;
                }
                assert!(!fails, "injected");
                Poll::Ready(std::sync::Arc::strong_count(&held))
            })
        };
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        assert_eq!(runtime.block_on(caught("test", &counters, waits(true))), None);
        assert_eq!(counters.panics.load(Relaxed), 1);
        assert_eq!(std::sync::Arc::strong_count(&held), 1);
        assert_eq!(runtime.block_on(caught("test", &counters, waits(false))), Some(2));
        assert_eq!(counters.panics.load(Relaxed), 1);
    }

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

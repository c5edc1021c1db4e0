//! What the threads of a run share: the wish to stop, how far all are, and how many still hold others open.

use mio::Waker;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

/// Ends a run early, from any thread.
#[derive(Clone, Debug, Default)]
pub struct StopHandle {
    inner: Arc<Stop>,
}

#[derive(Debug, Default)]
struct Stop {
    is_asked: AtomicBool,
    wakers: Mutex<Vec<Arc<Waker>>>,
}

impl StopHandle {
    /// A handle that has not asked yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Asks the run to stop at once; what was done so far is reported.
    pub fn stop(&self) {
        self.inner.is_asked.store(true, Ordering::Release);
        self.wake_all();
    }

    /// Whether `stop` was called.
    #[must_use]
    pub fn is_asked(&self) -> bool {
        self.inner.is_asked.load(Ordering::Acquire)
    }

    pub(super) fn add(&self, waker: Waker) {
        let mut wakers = self.inner.wakers.lock().unwrap_or_else(PoisonError::into_inner);
        wakers.push(Arc::new(waker));
    }

    fn wake_all(&self) {
        let wakers = self.inner.wakers.lock().unwrap_or_else(PoisonError::into_inner);
        for waker in wakers.iter() {
            // A thread whose eventfd is gone has ended.
            drop(waker.wake());
        }
    }
}

/// What the threads of a run share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) stop: StopHandle,
    /// When the run began.
    pub(super) started: Instant,
    /// Requests done, failed ones included, for the progress bar.
    pub(super) requests_done: AtomicU64,
    /// Lanes that have not finished, while finished ones hold their connections open for them.
    unfinished: Option<AtomicU64>,
    open: AtomicU64,
    open_max: AtomicU64,
}

impl Shared {
    /// `held` lanes wait for each other, where there is a number.
    pub(super) fn new(stop: StopHandle, held: Option<u64>) -> Self {
        Self {
            stop,
            started: Instant::now(),
            requests_done: AtomicU64::new(0),
            unfinished: held.map(AtomicU64::new),
            open: AtomicU64::new(0),
            open_max: AtomicU64::new(0),
        }
    }

    pub(super) fn is_holding(&self) -> bool {
        self.unfinished
            .as_ref()
            .is_some_and(|count| count.load(Ordering::Acquire) > 0)
    }

    /// A lane has finished; the last one wakes all threads, which then let go.
    pub(super) fn finish_lane(&self) {
        if let Some(count) = &self.unfinished
            && count.fetch_sub(1, Ordering::AcqRel) == 1
        {
            self.stop.wake_all();
        }
    }

    pub(super) fn count_open(&self) {
        let open = self.open.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        self.open_max.fetch_max(open, Ordering::Relaxed);
    }

    pub(super) fn count_closed(&self) {
        self.open.fetch_sub(1, Ordering::Relaxed);
    }

    /// The most connections that stood at the same time.
    pub(super) fn open_max(&self) -> u64 {
        self.open_max.load(Ordering::Relaxed)
    }
}

//! Waking a thread only when it sleeps: who fills its queue looks whether it is asleep, and it looks at its queue once more when it has
//! said that it is about to be (Dekker's pattern). Checked in all orders by `tests/loom`.

use std::io;

use super::wake::Waker;
use crate::sync::{AtomicBool, Ordering, fence};

/// A thread that sleeps in epoll, and how to wake it only when it does.
#[derive(Debug)]
pub struct Doorbell {
    is_asleep: AtomicBool,
    waker: Waker,
}

impl Doorbell {
    /// One for a thread that is awake.
    ///
    /// # Errors
    /// No descriptor is left.
    pub fn new() -> io::Result<Self> {
        Ok(Self {
            is_asleep: AtomicBool::new(false),
            waker: Waker::open()?,
        })
    }

    /// What the thread must have in its epoll set.
    #[must_use]
    pub const fn waker(&self) -> &Waker {
        &self.waker
    }

    /// The thread is about to wait. It must look at its queues once more after this.
    pub fn announce(&self) {
        self.is_asleep.store(true, Ordering::SeqCst);
        fence(Ordering::SeqCst);
    }

    /// The thread is awake.
    pub fn over(&self) {
        self.is_asleep.store(false, Ordering::SeqCst);
    }

    /// Wakes the thread if it sleeps; called after its queue was filled. Many calls make one wake-up.
    pub fn wake(&self) {
        fence(Ordering::SeqCst);
        // One of many gets to ring, and who doesn't writes nothing that the others would have to fetch.
        let is_ours = || {
            let (awake, asleep) = (false, true);
            self.is_asleep
                .compare_exchange(asleep, awake, Ordering::SeqCst, Ordering::Relaxed)
                .is_ok()
        };
        if self.is_asleep.load(Ordering::SeqCst) && is_ours() {
            self.waker.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::Poller;
    use std::time::Duration;

    #[test]
    fn no_wake_up_is_ever_lost() {
        const ITEMS: u32 = 50_000;
        let (send, queue) = crossbeam_channel::bounded(4);
        let doorbell = Doorbell::new().unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for item in 0..ITEMS {
                    send.send(item).unwrap();
                    doorbell.wake();
                }
            });
            let mut poller = Poller::open().unwrap();
            poller.add_readable(doorbell.waker(), 0, false).unwrap();
            let mut expected = 0;
            while expected < ITEMS {
                doorbell.announce();
                if queue.is_empty() {
                    poller.wait(Some(Duration::from_secs(10))).unwrap();
                    assert!(
                        poller.count() > 0 || !queue.is_empty(),
                        "slept with item {expected} in the queue"
                    );
                }
                doorbell.over();
                for item in queue.try_iter() {
                    assert_eq!(item, expected);
                    expected += 1;
                }
            }
        });
    }
}

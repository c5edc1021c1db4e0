//! Waking a thread that waits in epoll: eventfd(2).

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering, fence};

use rustix::event::{EventfdFlags, eventfd};

/// An eventfd. Registered edge-triggered it needs no reading: every write is an edge.
#[derive(Debug)]
pub struct Waker(OwnedFd);

impl Waker {
    /// Opens one.
    ///
    /// # Errors
    /// `EMFILE`, `ENFILE`, `ENOMEM`.
    pub fn open() -> io::Result<Self> {
        Ok(Self(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?))
    }

    /// Wakes whoever waits.
    pub fn wake(&self) {
        // The only failure is EAGAIN, when 2^64 wakes were never read: emptied, it takes one more, which is an edge again.
        if rustix::io::write(&self.0, &1_u64.to_ne_bytes()).is_err() {
            let mut count = [0_u8; 8];
            if rustix::io::read(&self.0, &mut count).is_ok()
                && rustix::io::write(&self.0, &1_u64.to_ne_bytes()).is_err()
            {
                log::error!("an eventfd takes no wake-up");
            }
        }
    }
}

impl AsFd for Waker {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

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
        if self.is_asleep.load(Ordering::SeqCst) && self.is_asleep.swap(false, Ordering::SeqCst) {
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

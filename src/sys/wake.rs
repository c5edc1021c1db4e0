//! Waking a thread that waits in epoll: eventfd(2).

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

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

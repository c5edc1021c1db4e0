//! An eventfd in an edge-triggered epoll set: a wake-up stays until it is waited for, and many are one.

use std::io;

use loom::sync::Notify;

/// Stands in for `src/sys/wake.rs`.
#[derive(Debug)]
pub struct Waker(Notify);

impl Waker {
    /// # Errors
    /// None here.
    pub fn open() -> io::Result<Self> {
        Ok(Self(Notify::new()))
    }

    pub fn wake(&self) {
        self.0.notify();
    }

    /// `epoll_wait` without a timeout; it may return for nothing.
    pub fn wait(&self) {
        self.0.wait();
    }
}

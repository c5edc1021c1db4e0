//! An eventfd in an edge-triggered epoll set: a wake-up stays until it is waited for, and many are one.

use std::io;

use loom::sync::{Condvar, Mutex};

/// Stands in for `src/sys/wake.rs`.
#[derive(Debug)]
pub struct Waker {
    is_rung: Mutex<bool>,
    rung: Condvar,
}

impl Waker {
    /// # Errors
    /// None here.
    pub fn open() -> io::Result<Self> {
        Ok(Self {
            is_rung: Mutex::new(false),
            rung: Condvar::new(),
        })
    }

    pub fn wake(&self) {
        *self.is_rung.lock().unwrap() = true;
        self.rung.notify_one();
    }

    /// `epoll_wait` without a timeout.
    pub fn wait(&self) {
        let mut is_rung = self.is_rung.lock().unwrap();
        while !*is_rung {
            is_rung = self.rung.wait(is_rung).unwrap();
        }
        *is_rung = false;
    }
}

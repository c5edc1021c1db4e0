//! Loom's atomics under the names of `src/sync.rs`. [`Broken`] takes away what a protocol stands on, so that a test sees it go red.

use std::cell::Cell;
use std::ops::Deref;

pub use loom::sync::atomic::{AtomicBool, Ordering};

/// What is broken, on this thread of the test program; loom runs all threads of a model on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Broken {
    Nothing,
    /// Fences do nothing.
    Fences,
    /// A compare-and-swap is a load and a store.
    Swaps,
}

thread_local! {
    static BROKEN: Cell<Broken> = const { Cell::new(Broken::Nothing) };
}

/// From now on this is broken.
pub fn set_broken(broken: Broken) {
    BROKEN.set(broken);
}

fn is_broken(what: Broken) -> bool {
    BROKEN.get() == what
}

/// `std::sync::atomic::fence`.
pub fn fence(order: Ordering) {
    if !is_broken(Broken::Fences) {
        loom::sync::atomic::fence(order);
    }
}

/// `std::sync::atomic::AtomicU32`.
#[derive(Debug)]
pub struct AtomicU32(loom::sync::atomic::AtomicU32);

impl AtomicU32 {
    pub fn new(value: u32) -> Self {
        Self(loom::sync::atomic::AtomicU32::new(value))
    }

    pub fn load(&self, order: Ordering) -> u32 {
        self.0.load(order)
    }

    pub fn store(&self, value: u32, order: Ordering) {
        self.0.store(value, order);
    }

    pub fn fetch_add(&self, value: u32, order: Ordering) -> u32 {
        self.0.fetch_add(value, order)
    }

    pub fn fetch_sub(&self, value: u32, order: Ordering) -> u32 {
        self.0.fetch_sub(value, order)
    }

    /// # Errors
    /// The value that it has instead.
    pub fn compare_exchange_weak(
        &self,
        current: u32,
        new: u32,
        success: Ordering,
        failure: Ordering,
    ) -> Result<u32, u32> {
        if is_broken(Broken::Swaps) {
            let found = self.0.load(failure);
            if found == current {
                self.0.store(new, success);
                return Ok(found);
            }
            return Err(found);
        }
        self.0.compare_exchange_weak(current, new, success, failure)
    }
}

/// `std::sync::Arc`, as far as its count goes: the orders of its three operations are std's (library/alloc/src/sync.rs). What it holds is
/// freed by a real one, later.
#[derive(Debug)]
pub struct Arc<T>(std::sync::Arc<(loom::sync::atomic::AtomicUsize, T)>);

impl<T> Arc<T> {
    pub fn new(value: T) -> Self {
        Self(std::sync::Arc::new((loom::sync::atomic::AtomicUsize::new(1), value)))
    }

    pub fn strong_count(this: &Self) -> usize {
        this.0.0.load(Ordering::Relaxed)
    }
}

impl<T> Clone for Arc<T> {
    fn clone(&self) -> Self {
        self.0.0.fetch_add(1, Ordering::Relaxed);
        Self(std::sync::Arc::clone(&self.0))
    }
}

impl<T> Drop for Arc<T> {
    fn drop(&mut self) {
        if self.0.0.fetch_sub(1, Ordering::Release) == 1 {
            loom::sync::atomic::fence(Ordering::Acquire);
        }
    }
}

impl<T> Deref for Arc<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0.1
    }
}

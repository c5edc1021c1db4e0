//! Counts with a limit: exact, whoever asks at the same time. Checked in all orders by `tests/loom`.

use std::sync::Arc;

use crate::sync::AtomicU32;
use crate::sync::Ordering::Relaxed;

/// One more, if there are fewer than `max`, and if there are still `seen` of them (where that is asked).
pub(super) fn enter(active: &AtomicU32, max: &AtomicU32, seen: Option<u32>) -> bool {
    let mut now = active.load(Relaxed);
    loop {
        if now >= max.load(Relaxed) || seen.is_some_and(|seen| seen != now) {
            return false;
        }
        match active.compare_exchange_weak(now, now.saturating_add(1), Relaxed, Relaxed) {
            Ok(_) => return true,
            Err(other) => now = other,
        }
    }
}

/// One less. Only who has entered may call this, once.
pub(super) fn leave(active: &AtomicU32) {
    let before = active.fetch_sub(1, Relaxed);
    debug_assert!(before > 0, "somebody left twice");
}

/// A limit on how many of something live at once; exact, whoever asks at the same time.
#[derive(Debug)]
pub struct Limiter {
    active: AtomicU32,
    max: AtomicU32,
}

/// One of those that live.
#[derive(Debug)]
pub struct Permit(Arc<Limiter>);

impl Limiter {
    /// `None` = no limit.
    #[must_use]
    pub fn new(max: Option<u32>) -> Self {
        Self {
            active: AtomicU32::new(0),
            max: AtomicU32::new(max.unwrap_or(u32::MAX)),
        }
    }

    /// How many live.
    #[must_use]
    pub fn active(&self) -> u32 {
        self.active.load(Relaxed)
    }

    /// How many may.
    #[must_use]
    pub fn max(&self) -> u32 {
        self.max.load(Relaxed)
    }

    /// Another limit; `None` = no limit. Who is beyond a lower one stays.
    pub fn set_max(&self, max: Option<u32>) {
        self.max.store(max.unwrap_or(u32::MAX), Relaxed);
    }

    /// One more, if there is room.
    #[must_use]
    pub fn take(self: &Arc<Self>) -> Option<Permit> {
        enter(&self.active, &self.max, None).then(|| Permit(Arc::clone(self)))
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        leave(&self.0.active);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_limiter_refuses_and_a_dropped_permit_makes_room() {
        let limiter = Arc::new(Limiter::new(Some(1)));
        let permit = limiter.take();
        assert!(permit.is_some() && limiter.take().is_none());
        drop(permit);
        assert!(limiter.take().is_some());
    }
}

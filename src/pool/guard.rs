//! A session's guard of its backend: it owns one +1 and gives it back when dropped. No other code may take away from that count.

use std::sync::Arc;

use super::backend::Backend;

/// One session's hold on a backend.
#[derive(Debug)]
pub struct BackendGuard(Arc<Backend>);

impl BackendGuard {
    /// Takes one, if the backend's limit leaves room.
    #[must_use]
    pub fn take(backend: &Arc<Backend>) -> Option<Self> {
        backend.enter(None).then(|| Self(Arc::clone(backend)))
    }

    /// The same, if the backend still has exactly `seen` sessions: what a choice by fewest sessions stands on.
    #[must_use]
    pub fn take_if_active(backend: &Arc<Backend>, seen: u32) -> Option<Self> {
        backend.enter(Some(seen)).then(|| Self(Arc::clone(backend)))
    }

    /// The backend.
    #[must_use]
    pub fn backend(&self) -> &Arc<Backend> {
        &self.0
    }
}

impl Drop for BackendGuard {
    fn drop(&mut self) {
        self.0.leave();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pool::Limiter;
    use crate::types::{BackendAddr, BackendId};

    #[test]
    fn sixteen_storming_threads_never_pass_a_limit() {
        let limiter = Arc::new(Limiter::new(Some(100)));
        let backend = Arc::new(Backend::new(
            BackendId(1),
            "a",
            BackendAddr("127.0.0.1:1".parse().unwrap()),
            Some(100),
            3,
            1,
        ));
        std::thread::scope(|scope| {
            for thread in 0..16_u64 {
                let (limiter, backend) = (&limiter, &backend);
                scope.spawn(move || {
                    let mut random = fastrand(thread);
                    let mut held = Vec::new();
                    for _ in 0..20_000 {
                        if !random().is_multiple_of(3) {
                            held.extend(limiter.take().zip(BackendGuard::take(backend)));
                        } else if !held.is_empty() {
                            held.swap_remove(usize::try_from(random()).unwrap() % held.len());
                        }
                        assert!(limiter.active() <= 100 && backend.active() <= 100);
                    }
                });
            }
        });
        assert_eq!((limiter.active(), backend.active()), (0, 0), "everything came back");
    }

    /// xorshift64 (Marsaglia 2003), seeded: a failing run is the same run again.
    fn fastrand(seed: u64) -> impl FnMut() -> u64 {
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        move || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state
        }
    }
}

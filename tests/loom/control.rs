//! A backend on its way out (`src/control/leaving.rs`), while workers may still pick it from a pool that they had before.

#[allow(dead_code, reason = "what only the control thread calls")]
#[path = "../../src/control/leaving.rs"]
mod leaving;

use std::time::Duration;

use loom::sync::Mutex;

use crate::pool::Backend;
use crate::sync::Arc;
use crate::types::Moment;
use leaving::Leaving;

/// A pool: whether its backend may be picked, and the backend, if it is listed.
struct Pool {
    is_picked: bool,
    backend: Option<Arc<Backend>>,
}

/// arc-swap: a reader has the whole of one pool, for as long as it wants.
type Swap = Mutex<Arc<Pool>>;

fn load(pool: &Swap) -> Arc<Pool> {
    pool.lock().unwrap().clone()
}

/// What is let go of goes outside of the lock.
fn store(pool: &Swap, new: Pool) {
    let new = Arc::new(new);
    let old = std::mem::replace(&mut *pool.lock().unwrap(), new);
    drop(old);
}

/// A worker's session, from its pick to its end, as `Service::pick` and a guard have it; how many it had.
fn session(pool: &Swap) -> u32 {
    let pool = load(pool);
    let Some(backend) = pool.backend.as_ref().filter(|_| pool.is_picked) else {
        return 0;
    };
    if !backend.enter(None) {
        return 0;
    }
    let guard = Arc::clone(backend);
    drop(pool);
    guard.note_ended();
    guard.leave();
    1
}

/// Each session of a backend that leaves is counted once: with the pool that forgets it, or when nobody holds it any more.
pub fn no_session_is_lost_when_a_backend_leaves() {
    let backend = Arc::new(Backend::new(u32::MAX));
    let pool = std::sync::Arc::new(Mutex::new(Arc::new(Pool {
        is_picked: true,
        backend: Some(Arc::clone(&backend)),
    })));
    let worker = {
        let pool = std::sync::Arc::clone(&pool);
        loom::thread::spawn(move || session(&pool))
    };
    // `remove`: no new sessions. As control does it, from its timer.
    let listed = Arc::clone(&backend);
    store(
        &pool,
        Pool {
            is_picked: false,
            backend: Some(listed),
        },
    );
    let mut leaving = Leaving::new(backend, Moment(Duration::ZERO));
    let mut counted = None;
    let mut more = None;
    let mut look = |leaving: &mut Leaving| {
        if let Some((_, totals)) = leaving.unlist() {
            counted = Some(totals);
            store(
                &pool,
                Pool {
                    is_picked: false,
                    backend: None,
                },
            );
        }
        if more.is_none() {
            more = leaving.gone();
        }
        counted.zip(more)
    };
    let early = look(&mut leaving);
    let sessions = worker.join().unwrap();
    let late = look(&mut leaving);
    let (counted, more) = early.or(late).expect("nobody holds it any more");
    assert_eq!(counted.ended + more.ended, sessions, "sessions of a backend that left");
}

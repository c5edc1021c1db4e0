//! What holds in every order of the threads; and, of each protocol, that a broken one is found: a check that can't fail holds nothing.

use std::sync::Arc;

use lb_loom::pool::{Backend, Limiter};
use lb_loom::sync::{AtomicU32, Broken, Ordering::Relaxed, set_broken};
use lb_loom::sys::Doorbell;
use lb_loom::worker::Finds;
use lb_loom::{control, worker};

/// Of three threads, every order in which at most three times one is interrupted that could have gone on: nearly every fault shows with
/// two (Musuvathi, Qadeer, "Iterative context bounding", PLDI 2007), and all orders would take hours.
fn bounded(model: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(model);
}

/// Whether a thread looks at its queue once more when it has said that it will sleep.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Looks {
    Again,
    Never,
}

/// So many threads hand one thing each to a worker, as an acceptor and `control` do; it gets all of them, and never sleeps for good.
fn hand_off(givers: u32, looks: Looks) {
    let queue = Arc::new(AtomicU32::new(0));
    let doorbell = Arc::new(Doorbell::new().unwrap());
    for _ in 0..givers {
        let (queue, doorbell) = (Arc::clone(&queue), Arc::clone(&doorbell));
        loom::thread::spawn(move || {
            queue.fetch_add(1, Relaxed);
            doorbell.wake();
        });
    }
    let mut taken = 0;
    while taken < givers {
        doorbell.announce();
        if looks == Looks::Never || queue.load(Relaxed) == taken {
            doorbell.waker().wait();
        }
        doorbell.over();
        taken = queue.load(Relaxed);
    }
}

#[test]
fn no_wake_up_is_lost() {
    set_broken(Broken::Nothing);
    loom::model(|| hand_off(1, Looks::Again));
}

#[test]
fn no_wake_up_of_two_is_lost() {
    set_broken(Broken::Nothing);
    bounded(|| hand_off(2, Looks::Again));
}

#[test]
#[should_panic(expected = "deadlock")]
fn without_its_fences_a_wake_up_is_lost() {
    set_broken(Broken::Fences);
    loom::model(|| hand_off(1, Looks::Again));
}

#[test]
#[should_panic(expected = "deadlock")]
fn without_the_second_look_a_wake_up_is_lost() {
    set_broken(Broken::Nothing);
    loom::model(|| hand_off(1, Looks::Never));
}

/// Three ask for two places.
fn places() {
    let limiter = Arc::new(Limiter::new(Some(2)));
    let live = Arc::new(AtomicU32::new(0));
    let ask = |limiter: &Arc<Limiter>, live: &AtomicU32| {
        let permit = limiter.take();
        if permit.is_some() {
            assert!(live.fetch_add(1, Relaxed) < 2, "more than the limit");
            live.fetch_sub(1, Relaxed);
        }
        drop(permit);
    };
    let threads: Vec<_> = (0..2)
        .map(|_| {
            let (limiter, live) = (Arc::clone(&limiter), Arc::clone(&live));
            loom::thread::spawn(move || ask(&limiter, &live))
        })
        .collect();
    ask(&limiter, &live);
    for thread in threads {
        thread.join().unwrap();
    }
    assert_eq!(limiter.active(), 0, "everything came back");
}

#[test]
fn a_limit_is_never_passed_and_every_place_comes_back() {
    set_broken(Broken::Nothing);
    bounded(places);
}

#[test]
#[should_panic(expected = "more than the limit")]
fn a_count_that_is_read_and_written_apart_passes_its_limit() {
    set_broken(Broken::Swaps);
    loom::model(|| {
        let limiter = Arc::new(Limiter::new(Some(1)));
        let other = Arc::clone(&limiter);
        let thread = loom::thread::spawn(move || other.take());
        let ours = limiter.take();
        let theirs = thread.join().unwrap();
        let is_passed = ours.is_some() && theirs.is_some();
        // Given back, the second would be one too many, and panic in a panic.
        std::mem::forget((ours, theirs));
        assert!(!is_passed, "more than the limit");
    });
}

#[test]
fn a_lower_limit_holds_for_whoever_comes_after_it() {
    set_broken(Broken::Nothing);
    loom::model(|| {
        let limiter = Arc::new(Limiter::new(Some(2)));
        let first = limiter.take();
        let other = Arc::clone(&limiter);
        let thread = loom::thread::spawn(move || other.take());
        limiter.set_max(Some(1));
        assert!(limiter.take().is_none());
        let second = thread.join().unwrap();
        assert_eq!(limiter.active(), 1 + u32::from(second.is_some()));
        drop((first, second));
        assert!(limiter.active() == 0 && limiter.take().is_some());
    });
}

/// What a choice by fewest sessions stands on: of two that saw the same count, one gets the place.
fn seen_once() {
    let backend = Arc::new(Backend::new(u32::MAX));
    let other = Arc::clone(&backend);
    let thread = loom::thread::spawn(move || other.enter(Some(0)));
    let ours = backend.enter(Some(0));
    let theirs = thread.join().unwrap();
    assert!(ours != theirs, "both, or none");
    assert_eq!(backend.active(), 1);
}

#[test]
fn of_two_that_saw_the_same_count_one_gets_the_place() {
    set_broken(Broken::Nothing);
    loom::model(seen_once);
}

#[test]
#[should_panic(expected = "both, or none")]
fn a_count_that_is_read_and_written_apart_gives_a_place_twice() {
    set_broken(Broken::Swaps);
    loom::model(seen_once);
}

#[test]
fn no_session_is_lost_when_a_backend_leaves() {
    set_broken(Broken::Nothing);
    loom::model(control::no_session_is_lost_when_a_backend_leaves);
}

#[test]
#[should_panic(expected = "sessions of a backend that left")]
fn without_its_fence_a_session_of_a_leaving_backend_is_lost() {
    set_broken(Broken::Fences);
    loom::model(control::no_session_is_lost_when_a_backend_leaves);
}

#[test]
fn an_order_ends_its_own_session_or_none() {
    set_broken(Broken::Nothing);
    loom::model(|| worker::an_order_ends_its_own_session_or_none(Finds::ByKey));
}

#[test]
#[should_panic(expected = "an order for a ended b")]
fn an_order_by_the_slot_alone_ends_another_session() {
    set_broken(Broken::Nothing);
    loom::model(|| worker::an_order_ends_its_own_session_or_none(Finds::ByIndex));
}

#[test]
fn no_row_of_nine_steps_confuses_two_sessions() {
    let rows = worker::every_row_of_steps(9, u32::MAX - 1);
    assert!(rows > 100_000, "{rows}");
}

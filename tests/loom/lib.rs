//! The files of `lb` whose threads speak to each other without a lock, compiled with loom's atomics in place of std's; around them as
//! little as they need to compile. `orders.rs` has the claims.
//!
//! What loom doesn't know is stood in for by what promises no more: an eventfd by a flag and a condition, the snapshot of arc-swap by a
//! lock around a counted reference, crossbeam's queue by a relaxed count.
//! Source: loom 0.7 (docs.rs/loom); it takes `SeqCst` loads and stores for weaker than they are, and models the fences.

pub mod control;
pub mod pool;
pub mod sync;
pub mod sys;
pub mod types;
pub mod worker;

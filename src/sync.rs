//! What threads share, in the files whose protocol between threads is checked in every order that the memory model allows: `tests/loom`
//! compiles those very files once more, with loom's atomics under these names.
//!
//! May not: be more than other names for what std has.

pub(crate) use std::sync::Arc;
pub(crate) use std::sync::atomic::{AtomicBool, AtomicU32, Ordering, fence};

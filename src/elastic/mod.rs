//! Backends that nobody wrote down one by one: found, or kept alive by lb itself, as many as the load needs. Each part is a thread of its own, started by `bin/lb.rs`,
//! that says which backends it brings ([`Command::Provide`](crate::control::Command)), and reads what is from `control`'s board.
//!
//! May not: touch a pool, a session or a listener; share a lock with the data path; hold up the control thread.

pub mod discovery;
pub mod managed;
pub mod scale;

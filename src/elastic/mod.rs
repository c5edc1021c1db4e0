//! What makes a service's backends come and go by themselves. Each of its parts is a thread of its own, started by `bin/lb.rs`, that
//! tells `control` which backends it brings ([`Command::Provide`](crate::control::Command)), and reads what is from `control`'s board.
//!
//! May not: touch a pool, a session or a listener; share a lock with the data path; hold up the control thread.

pub mod managed;

//! Backends that nobody wrote down one by one: found, or kept alive by lb itself, as many as the load needs.
//!
//! Each part says which backends there are, and has `control` put that in force (`Command::Provide`). Started by `bin/lb.rs`.
//!
//! May not: change a pool itself, stand in the way of a connection, share a lock with the data path.

pub mod scale;

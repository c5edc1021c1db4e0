//! The insides of `client`: many connections, each byte of every answer checked, response times told without flattery.
//!
//! Called by `bin/client.rs` and by tests. Threads with an event loop each own their lanes (a lane is one place in the
//! window of connections at a time), their recorder and their share of the plan; they meet only in `shared`.
//!
//! It must never share code with the balancer it tests, never count a request whose bytes were not all right as done,
//! and never hold more of a message than a scratch buffer (a reply that is a fold: than that reply).

mod alarm;
mod connection;
mod expected;
mod failure;
mod fold;
mod histogram;
mod html;
mod human;
mod lane;
mod options;
mod payload;
mod plan;
mod ports;
mod progress;
mod report;
mod result_file;
mod run;
mod shared;
mod shares;
mod stats;
mod throughput;
mod timeline;
mod worker;

#[cfg(test)]
mod tests;

pub use failure::{FailureKind, LoadError};
pub use options::{LoadOptions, parse_size, parse_target};
pub use report::LoadReport;
pub use result_file::ResultFile;
pub use run::run;
pub use shared::StopHandle;

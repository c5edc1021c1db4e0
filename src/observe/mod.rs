//! What is known of the running balancer: how connections end, counters, the log lines that leave the data path.
//!
//! Every other room may count here; nothing here decides anything. Imports only `types`.

mod access_log;
mod counters;
mod end;
mod lines;
mod log;
mod supervise;

pub use access_log::{AccessLog, AccessLogGuard, SessionRecord};
pub use counters::{ProcessCounters, RefusedReason, ServiceCounters, ServiceTotals};
pub use end::{END_COUNT, End};
pub use lines::{Lines, LinesGuard};
pub use log::start_log;
pub use supervise::supervise;

//! What is known of the running balancer: how connections end, counters, metrics, the log lines that leave the data path.
//!
//! Every other room may count here; nothing here decides anything. Imports only `types`.

mod access_log;
mod counters;
mod end;
mod exposition;
mod histogram;
mod lines;
mod log;
pub mod metrics;
mod seldom;
mod supervise;

pub use access_log::{AccessLog, AccessLogGuard, SessionRecord};
pub use counters::{Found, ProcessCounters, RefusedReason, ServiceCounters, ServiceTotals, read_ends};
pub use end::{END_COUNT, End};
pub use exposition::{Exposed, Exposition, METRICS_CONTENT_TYPE, Samples, page};
pub use histogram::{CHECK_SECONDS, CONNECT_SECONDS, CONNECTION_SECONDS, Histogram};
pub use lines::{Drops, Lines, LinesGuard};
pub use log::{is_told_by_environment, log_drops, set_log_level, start_log};
pub use seldom::Seldom;
pub use supervise::{caught, supervise};

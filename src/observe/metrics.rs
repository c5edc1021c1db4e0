//! Every metric of `lb`: its name, what kind it is, what it counts. Each name stands here and nowhere else in the code.
//!
//! `control` fills them. The names and labels are part of the outer contract: a change to them breaks somebody's dashboard.
//! Named by the practices of Prometheus (prometheus.io/docs/practices/naming): base units, `_total` behind what only rises.

/// What a metric is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only ever rises; 0 after a restart.
    Counter,
    /// Rises and falls.
    Gauge,
    /// Counts by size, with a sum.
    Histogram,
}

/// One metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Metric {
    /// Its name.
    pub name: &'static str,
    /// What it is.
    pub kind: Kind,
    /// What it tells.
    pub help: &'static str,
}

const fn counter(name: &'static str, help: &'static str) -> Metric {
    let kind = Kind::Counter;
    Metric { name, kind, help }
}

const fn gauge(name: &'static str, help: &'static str) -> Metric {
    let kind = Kind::Gauge;
    Metric { name, kind, help }
}

const fn histogram(name: &'static str, help: &'static str) -> Metric {
    let kind = Kind::Histogram;
    Metric { name, kind, help }
}

/// By service, backend and end.
pub const CONNECTIONS: Metric = counter(
    "lb_connections_total",
    "Connections of clients that ended, by how they ended; without a backend the label is empty.",
);
/// By service and backend.
pub const CONNECTIONS_ACTIVE: Metric = gauge(
    "lb_connections_active",
    "Connections of clients that live; those that have no backend yet stand under an empty label.",
);
/// By service and reason.
pub const CONNECTIONS_REFUSED: Metric = counter(
    "lb_connections_refused_total",
    "Connections turned away, by the limit that was reached, or by what was wrong with their PROXY header.",
);
/// By service, backend and direction.
pub const BYTES: Metric = counter("lb_bytes_total", "Bytes handed to the other side's kernel.");
/// By service and backend.
pub const CONNECT: Metric = histogram(
    "lb_connect_seconds",
    "How long connects to a backend took that succeeded.",
);
/// By service and backend.
pub const CONNECTION: Metric = histogram(
    "lb_connection_seconds",
    "How long connections that had a backend lasted, from accept to the end.",
);
/// By service, backend and reason.
pub const CONNECT_FAILURES: Metric = counter("lb_connect_failures_total", "Connects to a backend that failed.");
/// By service.
pub const CONNECT_RETRIES: Metric = counter(
    "lb_connect_retries_total",
    "Times that another backend was tried for a connection.",
);
/// By service and backend.
pub const BACKEND_UP: Metric = gauge(
    "lb_backend_up",
    "1 if checks and traffic say that it works, or nothing has looked yet; 0 if they say that it doesn't.",
);
/// By service and backend.
pub const BACKEND_WEIGHT: Metric = gauge(
    "lb_backend_weight",
    "Its weight beside the others; 0 takes no new connection.",
);
/// By service, backend and result.
pub const HEALTH_CHECKS: Metric = counter(
    "lb_health_checks_total",
    "Health checks that ended; inconclusive ones failed for a reason of this machine's own.",
);
/// By service and backend.
pub const HEALTH_CHECK: Metric = histogram("lb_health_check_seconds", "How long health checks took that succeeded.");
/// By service and result.
pub const DISCOVERY_UPDATES: Metric = counter(
    "lb_discovery_updates_total",
    "Answers to the question which backends there are; one that failed leaves the backends from before.",
);
/// By reason.
pub const ACCEPT_ERRORS: Metric = counter(
    "lb_accept_errors_total",
    "Accepts that failed: for want of descriptors or memory, or of a connection that was gone already.",
);
/// By log.
pub const LOG_LINES_DROPPED: Metric = counter(
    "lb_log_lines_dropped_total",
    "Lines of a log, or samples of the history, that were lost because their file couldn't take them in time.",
);
/// Without labels.
pub const FAULTS: Metric = counter(
    "lb_faults_total",
    "Panics that were caught: each is a bug of lb and cost one connection, or one turn of a thread.",
);
/// By result.
pub const CONFIG_RELOADS: Metric = counter("lb_config_reloads_total", "Configurations that were read anew.");
/// Without labels.
pub const WORKERS: Metric = gauge("lb_workers", "Worker threads.");
/// By version.
pub const BUILD_INFO: Metric = gauge("lb_build_info", "Which lb this is; always 1.");
/// Of this process; these are the names that every Prometheus client uses.
pub const PROCESS_CPU: Metric = counter(
    "process_cpu_seconds_total",
    "Total user and system CPU time spent in seconds.",
);
/// See [`PROCESS_CPU`].
pub const PROCESS_RESIDENT: Metric = gauge("process_resident_memory_bytes", "Resident memory size in bytes.");
/// See [`PROCESS_CPU`].
pub const PROCESS_VIRTUAL: Metric = gauge("process_virtual_memory_bytes", "Virtual memory size in bytes.");
/// See [`PROCESS_CPU`].
pub const PROCESS_OPEN_FDS: Metric = gauge("process_open_fds", "Number of open file descriptors.");
/// See [`PROCESS_CPU`].
pub const PROCESS_MAX_FDS: Metric = gauge("process_max_fds", "Maximum number of open file descriptors.");
/// See [`PROCESS_CPU`].
pub const PROCESS_START: Metric = gauge(
    "process_start_time_seconds",
    "Start time of the process since unix epoch in seconds.",
);
/// See [`PROCESS_CPU`].
pub const PROCESS_THREADS: Metric = gauge("process_threads", "Number of OS threads in the process.");

/// All of them, in the order of the page.
pub const METRICS: [Metric; 26] = [
    BUILD_INFO,
    WORKERS,
    CONNECTIONS,
    CONNECTIONS_ACTIVE,
    CONNECTIONS_REFUSED,
    BYTES,
    CONNECT,
    CONNECTION,
    CONNECT_FAILURES,
    CONNECT_RETRIES,
    BACKEND_UP,
    BACKEND_WEIGHT,
    HEALTH_CHECKS,
    HEALTH_CHECK,
    DISCOVERY_UPDATES,
    ACCEPT_ERRORS,
    LOG_LINES_DROPPED,
    FAULTS,
    CONFIG_RELOADS,
    PROCESS_CPU,
    PROCESS_RESIDENT,
    PROCESS_VIRTUAL,
    PROCESS_OPEN_FDS,
    PROCESS_MAX_FDS,
    PROCESS_START,
    PROCESS_THREADS,
];

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn names_are_unique_and_tell_counters_from_the_rest() {
        let names: HashSet<_> = METRICS.iter().map(|metric| metric.name).collect();
        assert_eq!(names.len(), METRICS.len());
        for metric in METRICS {
            assert_eq!(
                metric.name.ends_with("_total"),
                metric.kind == Kind::Counter,
                "{}",
                metric.name
            );
            assert!(
                metric.help.ends_with('.') && !metric.help.contains(['\\', '\n']),
                "{}",
                metric.help
            );
        }
    }
}

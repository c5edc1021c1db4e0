//! What must hold when a fault is over, whatever it was: nothing is left, nothing is lost count of, nobody is busy.

use std::time::{Duration, Instant};

use super::report::Run;
use super::subject::{Footprint, Standing};
use crate::common::{Closing, PATIENCE, pass};

/// More than slabs and the allocator's own keep of the greatest short form.
const DRIFT_KIB_MAX: u64 = 32 * 1024;

/// Looks at everything, ends the balancer, and gives lb's own account.
pub(super) fn end(run: &mut Run, mut standing: Standing<'_>) -> Option<Closing> {
    settle(run, &standing);
    let lb = standing.take_lb()?;
    let faults: Vec<String> = ["panic", "fault of lb"]
        .iter()
        .flat_map(|word| lb.lines_with(word))
        .collect();
    run.claim(
        faults.is_empty(),
        "no panic and no fault in the log",
        faults.join(" | "),
    );
    // Ends it: exit code 0, every descriptor and thread given back, accepted = sum of ends for each service.
    let closing = lb.finish();
    run.claim(true, "exit 0; accepted = sum of ends", "");
    Some(closing)
}

/// The same of one that goes on, or of one that was started anew.
pub(super) fn settle(run: &mut Run, standing: &Standing<'_>) {
    let left = standing.sockets_left();
    run.claim(left == 0, "no socket left", left);
    let before = standing.before;
    let is_lb = run.is_lb();
    let is_back = |now: &Footprint| now.fds <= before.fds && now.pipes <= before.pipes;
    // A check has a descriptor of its own for as long as it takes.
    let until = Instant::now() + PATIENCE / if is_lb { 1 } else { 10 };
    let mut now = standing.footprint();
    while !is_back(&now) && Instant::now() < until {
        pass(Duration::from_millis(5));
        now = standing.footprint();
    }
    run.claim(
        is_back(&now),
        "descriptors and pipes as at the start",
        format!("{now:?}, at the start {before:?}"),
    );
    let drift = now.resident_kib.saturating_sub(before.resident_kib);
    run.told("RSS more than at the start", drift as f64 / 1024.0, "MiB");
    run.claim(
        drift <= DRIFT_KIB_MAX,
        "memory as at the start",
        format!("{drift} KiB more"),
    );
    let cpu = standing.cpu_percent(Duration::from_millis(run.size(300, 3000) as u64));
    run.told("CPU when idle", cpu, "%");
    // In the suite other tests have the processors, and a debug build checks its backends: only a spin is a failure there.
    let most = if run.is_long { 0.5 } else { 20.0 };
    run.claim(
        cpu <= most,
        "idle when there is nothing to do",
        format!("{cpu:.2} % of a processor"),
    );
    if is_lb {
        count(run, standing);
    }
}

/// lb's own books: nobody active, and every connection has one end.
fn count(run: &mut Run, standing: &Standing<'_>) {
    let (status, metrics) = standing.ask(|http| (http.json("/api/v1/status"), http.get("/metrics").text()));
    let service = &status["services"][0];
    let active = service["connections"]["active"].as_u64().unwrap();
    let of_backends: u64 = service["backends"]
        .as_array()
        .unwrap()
        .iter()
        .map(|backend| backend["connections"]["active"].as_u64().unwrap())
        .sum();
    run.claim(
        active + of_backends == 0,
        "nobody active, service and backends",
        format!("{active} and {of_backends}"),
    );
    let total = service["connections"]["total"].as_u64().unwrap();
    let ends = metrics.lines().filter(|line| line.starts_with("lb_connections_total{"));
    let ends: f64 = ends
        .map(|line| line.rsplit_once(' ').unwrap().1.parse::<f64>().unwrap())
        .sum();
    run.claim(
        total as f64 == ends,
        "accepted = closed + active",
        format!("{total} accepted, {ends} ended"),
    );
}

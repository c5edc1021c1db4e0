//! What a replica's process and its children use, as /proc tells it.

use procfs::process::Process;
use procfs::{Current, Uptime};

use crate::api;
use crate::types::Moment;

/// Children that are looked at, and their children: a program that has more is shown by some of them.
const RELATIVES_MAX: usize = 32;

/// What was found the last time.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Meter {
    last: Option<(Moment, u64)>,
    pub(super) process: Option<api::Process>,
}

impl Meter {
    /// Looks.
    pub(super) fn look(&mut self, pid: u32, now: Moment) {
        let Some((ticks, bytes, uptime)) = used(pid) else {
            (self.last, self.process) = (None, None);
            return;
        };
        let cpu_percent = self.last.and_then(|(at, before)| {
            let span = now.since(at).as_secs_f64();
            let used = seconds(ticks.checked_sub(before)?); // less than before: a child has gone
            (span > 0.0).then(|| round(used / span * 100.0))
        });
        self.last = Some((now, ticks));
        self.process = Some(api::Process {
            cpu_percent,
            memory_bytes: Some(bytes),
            uptime_seconds: uptime.map(round),
        });
    }
}

/// Ticks of processor time, resident bytes, and how long it has run.
fn used(pid: u32) -> Option<(u64, u64, Option<f64>)> {
    let mut found = vec![i32::try_from(pid).ok()?];
    let (mut ticks, mut pages, mut next, mut born) = (0_u64, 0_u64, 0_usize, None);
    while let Some(pid) = found.get(next).copied() {
        next = next.saturating_add(1);
        let Ok(process) = Process::new(pid) else {
            continue;
        };
        let Ok(stat) = process.stat() else {
            continue;
        };
        born = born.or(Some(stat.starttime));
        ticks = ticks.saturating_add(stat.utime).saturating_add(stat.stime);
        pages = pages.saturating_add(stat.rss);
        let children = process.task_main_thread().and_then(|task| task.children());
        let children = children.unwrap_or_default().into_iter();
        let room = RELATIVES_MAX.saturating_sub(found.len());
        found.extend(children.take(room).filter_map(|child| i32::try_from(child).ok()));
    }
    let machine = Uptime::current().ok();
    let uptime = machine.and_then(|machine| Some((machine.uptime - seconds(born?)).max(0.0)));
    (pages > 0).then(|| (ticks, pages.saturating_mul(procfs::page_size()), uptime))
}

#[allow(clippy::cast_precision_loss, reason = "exact for millions of years")]
fn seconds(ticks: u64) -> f64 {
    ticks as f64 / procfs::ticks_per_second().max(1) as f64
}

/// To the hundredth.
fn round(figure: f64) -> f64 {
    (figure * 100.0).round() / 100.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_process_is_measured_between_two_looks_and_one_that_is_gone_is_not() {
        let (mut meter, at) = (Meter::default(), |seconds| {
            Moment::START.plus(Duration::from_secs(seconds))
        });
        meter.look(std::process::id(), at(1));
        let first = meter.process.unwrap();
        assert!(
            first.memory_bytes.unwrap() > 100_000 && first.cpu_percent.is_none(),
            "{first:?}"
        );
        assert!(first.uptime_seconds.unwrap() < 10_000.0, "{first:?}");
        meter.look(std::process::id(), at(2));
        assert!(meter.process.unwrap().cpu_percent.is_some());
        meter.look(u32::MAX, at(3));
        assert_eq!(meter.process, None);
    }
}

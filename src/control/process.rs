//! What `/proc` tells of lb itself (proc(5)): processor time, memory, descriptors, threads. Read at each scrape.

use procfs::process::{LimitValue, Process};
use procfs::{ProcResult, boot_time_secs, page_size, ticks_per_second};

/// What there is to tell.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct ProcessFacts {
    /// User and system.
    pub(super) cpu_seconds: f64,
    pub(super) resident_bytes: u64,
    pub(super) virtual_bytes: u64,
    pub(super) open_fds: u64,
    /// `u64::MAX` = no limit.
    pub(super) fds_max: u64,
    /// Since 1970.
    pub(super) start_seconds: f64,
    pub(super) threads: u64,
}

impl ProcessFacts {
    /// Of this process; `None` where `/proc` isn't mounted, or isn't as proc(5) has it.
    pub(super) fn read() -> Option<Self> {
        let facts = Self::try_read();
        if let Err(error) = &facts {
            log::debug!("/proc: {error}");
        }
        facts.ok()
    }

    #[allow(clippy::cast_precision_loss, reason = "ticks and seconds of centuries are exact")]
    fn try_read() -> ProcResult<Self> {
        let process = Process::myself()?;
        let stat = process.stat()?;
        let seconds = |ticks: u64| ticks as f64 / ticks_per_second() as f64;
        let fds_max = match process.limits()?.max_open_files.soft_limit {
            LimitValue::Unlimited => u64::MAX,
            LimitValue::Value(fds) => fds,
        };
        Ok(Self {
            cpu_seconds: seconds(stat.utime.saturating_add(stat.stime)),
            resident_bytes: stat.rss.saturating_mul(page_size()),
            virtual_bytes: stat.vsize,
            open_fds: u64::try_from(process.fd_count()?).unwrap_or(u64::MAX),
            fds_max,
            start_seconds: boot_time_secs()? as f64 + seconds(stat.starttime),
            threads: u64::try_from(stat.num_threads).unwrap_or(0),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_what_every_process_has() {
        let facts = ProcessFacts::read().unwrap();
        assert!(
            facts.resident_bytes > 100_000 && facts.virtual_bytes >= facts.resident_bytes,
            "{facts:?}"
        );
        assert!(facts.open_fds >= 3 && facts.fds_max >= facts.open_fds, "{facts:?}");
        assert!(facts.threads >= 2, "the test and its harness: {facts:?}");
        let now = jiff::Timestamp::now().as_second() as f64;
        assert!((now - 86_400.0..=now + 1.0).contains(&facts.start_seconds), "{facts:?}");
    }
}

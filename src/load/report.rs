//! What a run has come to: the table a person reads and the JSON a program reads, from the same figures. The page with pictures
//! is in `html`.

use super::human::{grouped, human_bytes, human_rate, human_seconds};
use super::options::LoadOptions;
use super::shares::Shares;
use super::stats::Recorder;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// The result of a run.
#[derive(Debug)]
pub struct LoadReport {
    pub(super) options: LoadOptions,
    pub(super) recorder: Recorder,
    open_max: u64,
    is_interrupted: bool,
    /// Where a balancer told who got the connections.
    pub(super) shares: Option<Shares>,
}

/// Response times in seconds.
struct Times {
    rows: [(&'static str, f64); 7],
}

const PERCENTILES: [(&str, f64); 4] = [("p50", 50.0), ("p90", 90.0), ("p99", 99.0), ("p99.9", 99.9)];

impl LoadReport {
    pub(super) fn new(options: LoadOptions, recorder: Recorder, open_max: u64, is_interrupted: bool) -> Self {
        Self {
            options,
            recorder,
            open_max,
            is_interrupted,
            shares: None,
        }
    }

    pub(super) fn with_shares(mut self, shares: Option<Shares>) -> Self {
        self.shares = shares;
        self
    }

    /// Whether every request was answered with the right bytes, every connection ended well and nobody stopped the run.
    #[must_use]
    pub fn is_success(&self) -> bool {
        self.recorder.failed == 0 && self.recorder.failures.is_empty() && !self.is_interrupted
    }

    /// Requests that were answered with the right bytes.
    #[must_use]
    pub fn answered(&self) -> u64 {
        self.recorder.answered
    }

    /// Requests that failed.
    #[must_use]
    pub fn failed(&self) -> u64 {
        self.recorder.failed
    }

    /// The most connections that stood at the same time.
    #[must_use]
    pub fn open_max(&self) -> u64 {
        self.open_max
    }

    /// Failures by kind: failed requests, and connections that ended wrongly after their last request.
    #[must_use]
    pub fn failures(&self) -> Vec<(String, u64)> {
        let named = |(kind, count): (&super::FailureKind, &u64)| (kind.to_string(), *count);
        self.recorder.failures.iter().map(named).collect()
    }

    /// How many answers took at least so long.
    #[must_use]
    pub fn answered_slower_than(&self, least: Duration) -> u64 {
        let micros = u64::try_from(least.as_micros()).unwrap_or(u64::MAX);
        let count = |times: &hdrhistogram::Histogram<u64>| times.count_between(micros, times.high());
        self.recorder.response_times.as_ref().map_or(0, count)
    }

    /// The same figures as the table, in seconds and bytes, with the parameters.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let options = &self.options;
        let failures: serde_json::Map<String, Value> = self
            .failures()
            .into_iter()
            .map(|(kind, count)| (kind, count.into()))
            .collect();
        let times = self.times().map(|times| {
            let rows = times.rows.into_iter();
            rows.map(|(name, seconds)| (name.replace('.', "_"), seconds.into()))
                .collect::<serde_json::Map<String, Value>>()
        });
        json!({
            "parameters": {
                "target": options.target.to_string(),
                "conns": options.connections,
                "requests": options.duration.is_none().then_some(options.requests),
                "concurrency": options.concurrency,
                "size_bytes": options.size,
                "reply_size_bytes": options.sizes().reply,
                "rate_per_second": options.rate,
                "duration_seconds": options.duration.map(|duration| duration.as_secs_f64()),
                "new_connection": options.new_connection,
                "connect_timeout_seconds": options.connect_timeout.as_secs_f64(),
                "timeout_seconds": options.timeout.as_secs_f64(),
                "threads": options.threads,
                "seed": options.seed,
            },
            "interrupted": self.is_interrupted,
            "connections": { "opened": self.recorder.opened, "at_once_max": self.open_max },
            "backends": self.shares.as_ref().map(|shares| shares.counts().iter().cloned().collect::<BTreeMap<_, _>>()),
            "requests": { "ok": self.recorder.answered, "failed": self.recorder.failed },
            "errors": failures,
            "seconds": self.recorder.elapsed().as_secs_f64(),
            "bytes": self.recorder.verified_bytes,
            "bytes_sent": self.bytes_sent(),
            "bytes_received": self.recorder.verified_bytes,
            "requests_per_second": self.per_second(self.recorder.answered),
            "bytes_per_second": self.per_second(self.recorder.verified_bytes),
            "bytes_sent_per_second": self.per_second(self.bytes_sent()),
            "bytes_received_per_second": self.per_second(self.recorder.verified_bytes),
            "response_time_seconds": times,
        })
    }

    /// The table: names, those of parts indented, and values; a title has none.
    pub(super) fn rows(&self) -> Vec<(String, String)> {
        let row = |name: &str, value: String| (name.to_owned(), value);
        let mut rows = Vec::new();
        if self.is_interrupted {
            rows.push(row("stopped early", "yes".to_owned()));
        }
        let recorder = &self.recorder;
        let failures = self.failures();
        let errors = failures.iter().map(|(_, count)| count).sum();
        rows.extend([
            row("connections", grouped(recorder.opened)),
            row("  at once", grouped(self.open_max)),
        ]);
        let shares = self.shares.iter().flat_map(Shares::counts);
        rows.extend(shares.map(|(name, count)| row(&format!("  to {name}"), grouped(*count))));
        rows.extend([
            row("requests", grouped(recorder.answered.saturating_add(recorder.failed))),
            row("  failed", grouped(recorder.failed)),
            row("errors", grouped(errors)),
        ]);
        let kinds = failures.into_iter();
        rows.extend(kinds.map(|(kind, count)| row(&format!("  {kind}"), grouped(count))));
        rows.push(row("requests/s", human_rate(self.per_second(recorder.answered))));
        let bytes = self.byte_rows().into_iter();
        rows.extend(bytes.map(|(name, bytes)| row(name, human_bytes(bytes))));
        rows.push(row("response time", String::new()));
        match self.times() {
            Some(times) => {
                let times = times.rows.into_iter();
                rows.extend(times.map(|(name, seconds)| row(&format!("  {name}"), human_seconds(seconds))));
            }
            None => rows.push(row("  none was answered", String::new())),
        }
        rows
    }

    /// Bytes of the requests that were answered. Those that came back are counted as they come, of failed requests too.
    fn bytes_sent(&self) -> u64 {
        self.recorder.answered.saturating_mul(self.options.size)
    }

    /// The rows of bytes a second: one where the same bytes came back, else one for each way.
    fn byte_rows(&self) -> Vec<(&'static str, f64)> {
        let received = self.per_second(self.recorder.verified_bytes);
        match self.options.sizes().is_echo() {
            true => vec![("bytes/s", received)],
            false => vec![
                ("bytes/s sent", self.per_second(self.bytes_sent())),
                ("bytes/s received", received),
            ],
        }
    }

    fn per_second(&self, count: u64) -> f64 {
        let seconds = self.recorder.elapsed().as_secs_f64();
        if seconds > 0.0 { count as f64 / seconds } else { 0.0 }
    }

    fn times(&self) -> Option<Times> {
        let times = self.recorder.response_times.as_ref()?;
        if times.is_empty() {
            return None;
        }
        let seconds = |micros: u64| micros as f64 / 1e6;
        let mut rows = [("min", seconds(times.min())); 7];
        let percentiles = PERCENTILES.map(|(name, percent)| (name, seconds(times.value_at_percentile(percent))));
        let rest = [("mean", times.mean() / 1e6)]
            .into_iter()
            .chain(percentiles)
            .chain([("max", seconds(times.max()))]);
        for (row, value) in rows.iter_mut().skip(1).zip(rest) {
            *row = value;
        }
        Some(Times { rows })
    }
}

impl fmt::Display for LoadReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, value) in self.rows() {
            match value.is_empty() {
                true => writeln!(f, "{name}")?,
                false => writeln!(f, "{name:<24}{value:>16}")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::FailureKind;
    use std::time::Instant;

    fn report(failures: u64) -> LoadReport {
        let start = Instant::now();
        let mut recorder = Recorder::new(start);
        recorder.start(start);
        for millis in 1..=1000 {
            recorder.answer(start, start.checked_add(Duration::from_millis(millis)).unwrap());
        }
        for _ in 0..failures {
            recorder.fail(
                FailureKind::WrongBytes,
                start.checked_add(Duration::from_secs(1)).unwrap(),
            );
        }
        LoadReport::new(LoadOptions::new(([127, 0, 0, 1], 9).into()), recorder, 1, false)
    }

    #[test]
    fn the_table_is_aligned_and_has_every_row() {
        let text = report(3).to_string();
        let widths: std::collections::BTreeSet<usize> = text
            .lines()
            .filter(|line| *line != "response time")
            .map(|line| line.chars().count())
            .collect();
        assert_eq!(widths.len(), 1, "{text}");
        for row in [
            "requests  ",
            "errors  ",
            "  wrong_bytes  ",
            "requests/s  ",
            "bytes/s  ",
            "  min  ",
            "  mean  ",
            "  p50  ",
            "  p90  ",
            "  p99  ",
            "  p99.9  ",
            "  max  ",
        ] {
            assert_eq!(
                text.lines().filter(|line| line.starts_with(row)).count(),
                1,
                "{row}: {text}"
            );
        }
    }

    #[test]
    fn unequal_sizes_have_a_row_and_a_figure_for_each_way() {
        let mut report = report(0);
        report.options.reply_size = Some(16);
        report.recorder.verified_bytes = 16 * 1000;
        let text = report.to_string();
        for row in ["bytes/s sent  ", "bytes/s received  "] {
            assert!(text.lines().any(|line| line.starts_with(row)), "{row}: {text}");
        }
        let json = report.to_json();
        assert_eq!(
            (&json["bytes_sent"], &json["bytes_received"]),
            (&64_000.into(), &16_000.into())
        );
        assert_eq!(json["bytes"], json["bytes_received"]);
    }

    #[test]
    fn json_has_the_figures_in_seconds() {
        let json = report(0).to_json();
        let p50 = json["response_time_seconds"]["p50"].as_f64().unwrap();
        assert!((0.499..0.502).contains(&p50), "{p50}");
        assert_eq!(json["requests"]["ok"], 1000);
        assert!(json["response_time_seconds"]["p99_9"].is_number());
    }

    #[test]
    fn a_failure_at_the_end_of_a_connection_is_no_success() {
        assert!(report(0).is_success());
        assert!(!report(1).is_success());
    }
}

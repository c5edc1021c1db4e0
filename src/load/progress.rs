//! A progress bar on stderr, where a person sees it: only on a terminal, and only when the run takes longer than a second.

use super::options::LoadOptions;
use indicatif::{ProgressBar, ProgressStyle};
use std::io::{self, IsTerminal};
use std::time::{Duration, Instant};

/// Shorter runs show nothing.
const SILENT: Duration = Duration::from_secs(1);

/// The bar of one run.
pub(super) struct Progress {
    started: Instant,
    requests_total: Option<u64>,
    duration: Option<Duration>,
    is_wanted: bool,
    bar: Option<ProgressBar>,
}

impl Progress {
    pub(super) fn new(options: &LoadOptions) -> Self {
        Self {
            started: Instant::now(),
            requests_total: options.requests_total(),
            duration: options.duration,
            is_wanted: io::stderr().is_terminal(),
            bar: None,
        }
    }

    /// Shows how far the run is.
    pub(super) fn show(&mut self, requests_done: u64) {
        let elapsed = self.started.elapsed();
        if !self.is_wanted || elapsed < SILENT {
            return;
        }
        let millis = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        let (length, position) = match (self.requests_total, self.duration) {
            (Some(total), _) => (total, requests_done),
            (None, duration) => (duration.map_or(0, millis), millis(elapsed)),
        };
        let bar = self.bar.get_or_insert_with(|| {
            let bar = ProgressBar::new(length).with_elapsed(elapsed);
            if let Ok(style) = ProgressStyle::with_template("{wide_bar} {percent:>3} %  {msg}  {elapsed}") {
                bar.set_style(style);
            }
            bar
        });
        bar.set_position(position.min(length));
        bar.set_message(format!("{requests_done} requests"));
    }

    /// Takes the bar away.
    pub(super) fn end(self) {
        if let Some(bar) = self.bar {
            bar.finish_and_clear();
        }
    }
}

//! A run: checks that it can be made, starts the threads, shows how far they are and merges what they measured.

use super::failure::LoadError;
use super::options::LoadOptions;
use super::plan::{self, Share};
use super::ports::Ports;
use super::progress::Progress;
use super::report::LoadReport;
use super::shared::{Shared, StopHandle};
use super::shares::Shares;
use super::stats::Recorder;
use super::worker::{WAKE, Worker};
use mio::{Poll, Waker};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

/// Descriptors that are not connections: standard streams, an epoll, a waker and an alarm for each thread, and some to spare.
const DESCRIPTORS_BASE: u64 = 16;
const DESCRIPTORS_PER_THREAD: u64 = 4;

/// How often the progress bar moves.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(200);

/// Makes a run and returns when it is over, or soon after `stop` was asked to.
///
/// # Errors
/// When the options contradict each other, when the connections need more file descriptors than there are, or when a
/// thread can't be made. What goes wrong with requests is in the report.
pub fn run(options: &LoadOptions, stop: &StopHandle) -> Result<LoadReport, LoadError> {
    options.check()?;
    let threads = options.threads.clamp(1, options.concurrency.max(1));
    require_descriptors(options.concurrency, threads)?;
    let shares = || Shares::ask(options.admin?, options.target);
    let before = shares();
    let held = options.holds_all().then_some(options.connections);
    let shared = Arc::new(Shared::new(stop.clone(), held));
    let (sender, receiver) = crossbeam_channel::unbounded();
    let mut started = 0_usize;
    for (index, share) in plan::shares(options, threads).into_iter().enumerate() {
        let (options, shared, sender) = (options.clone(), Arc::clone(&shared), sender.clone());
        let ports = Ports::new(options.target, (index, threads), share.lanes);
        let poll = Poll::new().map_err(LoadError::Thread)?;
        stop.add(Waker::new(poll.registry(), WAKE).map_err(LoadError::Thread)?);
        thread::Builder::new()
            .name(format!("load-{index}"))
            .spawn(move || {
                // The receiver waits for every thread.
                drop(sender.send(work(&options, &shared, share, poll, ports)));
            })
            .map_err(LoadError::Thread)?;
        started = started.saturating_add(1);
    }
    drop(sender);
    let mut progress = Progress::new(options);
    let mut sum = Recorder::new(shared.started);
    while started > 0 {
        match receiver.recv_timeout(PROGRESS_INTERVAL) {
            Ok(recorder) => {
                sum.merge(recorder.map_err(LoadError::Thread)?);
                started = started.saturating_sub(1);
            }
            Err(crossbeam_channel::RecvTimeoutError::Timeout) => {
                progress.show(shared.requests_done.load(Ordering::Relaxed));
            }
            Err(crossbeam_channel::RecvTimeoutError::Disconnected) => {
                return Err(LoadError::Thread(io::Error::other("a thread ended without a result")));
            }
        }
    }
    progress.end();
    let since = before.and_then(|before| Some(shares()?.since(&before)));
    let report = LoadReport::new(options.clone(), sum, shared.open_max(), stop.is_asked());
    Ok(report.with_shares(since))
}

fn work(options: &LoadOptions, shared: &Shared, share: Share, poll: Poll, ports: Ports) -> io::Result<Recorder> {
    Worker::new(options, shared, share, poll, ports)?.run()
}

/// Raises the soft limit of file descriptors to the hard one, and says whether that is enough.
fn require_descriptors(concurrency: usize, threads: usize) -> Result<(), LoadError> {
    let needed = DESCRIPTORS_BASE
        .saturating_add((threads as u64).saturating_mul(DESCRIPTORS_PER_THREAD))
        .saturating_add(concurrency as u64);
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    // Refused by a sandbox at worst: then the soft limit is what counts.
    let current = match setrlimit(Resource::Nofile, raised) {
        Ok(()) => limit.maximum,
        Err(_) => limit.current,
    };
    match current {
        Some(limit) if limit < needed => Err(LoadError::Descriptors {
            concurrency,
            needed,
            limit,
        }),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_connections_than_descriptors_are_refused_with_both_numbers() {
        let error = require_descriptors(usize::MAX / 2, 2).unwrap_err().to_string();
        assert!(
            error.contains("the limit is") && error.contains("--concurrency"),
            "{error}"
        );
    }
}

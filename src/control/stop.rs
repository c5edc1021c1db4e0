//! Stopping: no new connection, the old ones live to the deadline, then everything ends and is told.

use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use crossbeam_channel::{Receiver, after, bounded};

use super::command::{Refusal, Request};
use super::running::Running;
use crate::health::Change;
use crate::observe::End;
use crate::service::Service;
use crate::worker::Order;

impl Running {
    /// Stops: closes the listeners, waits for the sessions up to the drain timeout, resets what is left.
    pub(super) fn stop(self) {
        let Self {
            services,
            acceptor,
            workers,
            worker_handles: handles,
            requests,
            board,
            prober,
            changes,
            process,
            counters,
            drain_timeout,
            access_log_guard,
            ..
        } = self;
        board.is_draining.store(true, Relaxed);
        acceptor.stop();
        let left = process.active();
        if left > 0 {
            log::info!(
                "stopping: no new connections; {left} have up to {} to finish",
                seconds(drain_timeout)
            );
        } else {
            log::info!("stopping");
        }
        for handle in &handles {
            handle.order(Order::Finish);
        }
        // Joined elsewhere, so that here the deadline can be awaited as well.
        let (done, all_done) = bounded::<()>(0);
        let joiner = std::thread::Builder::new().name("joiner".into()).spawn(move || {
            for thread in workers {
                if thread.join().is_err() {
                    log::error!("a worker ended in a panic");
                }
            }
            drop(done);
        });
        if !wait_for(&all_done, drain_timeout, &changes, &requests) {
            let cut = process.active();
            log::warn!(
                "the drain timeout of {} is over: {cut} connections are reset",
                seconds(drain_timeout)
            );
            for handle in &handles {
                handle.order(Order::EndAll(End::Shutdown));
            }
            if all_done.recv_timeout(Duration::from_secs(5)) == Err(crossbeam_channel::RecvTimeoutError::Timeout) {
                log::error!("a worker doesn't stop; it is left behind");
            }
        }
        drop(joiner);
        prober.stop();
        for service in &services {
            tell(service);
        }
        for (count, what) in [
            (
                &counters.accept_shortages,
                "pauses of the acceptor for want of descriptors or memory",
            ),
            (
                &counters.accept_aborted,
                "connections that were gone before they could be accepted",
            ),
        ] {
            let count = count.load(Relaxed);
            if count > 0 {
                log::info!("{count} {what}");
            }
        }
        let panics = counters.panics.load(Relaxed);
        if panics > 0 {
            log::error!("{panics} faults of lb were caught; please report them");
        }
        drop((handles, access_log_guard));
        log::info!("stopped");
    }
}

/// Whether everything is done within `patience`. Verdicts that still come change nothing any more.
fn wait_for(
    all_done: &Receiver<()>,
    patience: Duration,
    changes: &Receiver<Change>,
    requests: &Receiver<Request>,
) -> bool {
    let deadline = after(patience);
    loop {
        crossbeam_channel::select! {
            recv(all_done) -> _ => return true,
            recv(deadline) -> _ => return false,
            recv(requests) -> request => if let Ok(request) = request {
                (request.reply)(Err(Refusal::stopping()));
            },
            recv(changes) -> change => log::debug!("while stopping: {change:?}"),
        }
    }
}

fn seconds(span: Duration) -> humantime::FormattedDuration {
    humantime::format_duration(span)
}

/// What a service has seen, for whoever reads the log afterwards: the share of each backend, and how connections ended.
fn tell(service: &Arc<Service>) {
    let totals = service.counters.totals();
    let mut ends = String::new();
    for (end, count) in End::ALL.iter().zip(totals.ends).filter(|(_, count)| *count > 0) {
        // Writing to a String can't fail.
        let _always_ok = write!(ends, "{}{end} {count}", if ends.is_empty() { "" } else { ", " });
    }
    let name = &service.name;
    log::info!(
        "{name}: {} connections, {} still there ({ends})",
        totals.accepted,
        totals.active()
    );
    for member in service.balancer().pool().members() {
        let backend = &member.backend;
        let seen = backend.totals();
        log::info!(
            "{name}: {}: {} connections, {} failed connects, {} bytes to it, {} bytes from it",
            backend.name,
            seen.connected,
            seen.failed,
            seen.bytes_to_backend,
            seen.bytes_to_client
        );
    }
}

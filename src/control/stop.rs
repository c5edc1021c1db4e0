//! Stopping: no new connection, the old ones live to the deadline, then everything ends and is told.

use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use crossbeam_channel::{Receiver, after, bounded, never};

use super::command::Refusal;
use super::inherited::STOPPING;
use super::running::{LEAVING_LOOK, Running};
use super::sockets::Sockets;
use super::systemd;
use super::upgrade::TRIAL;
use crate::observe::End;
use crate::service::Service;
use crate::sys::Clock;
use crate::types::Moment;
use crate::worker::Order;

impl Running {
    /// Stops: closes the listeners, waits for the sessions up to the drain timeout, resets what is left.
    pub(super) fn stop(mut self) {
        self.board.is_draining.store(true, Relaxed);
        if self.successor.is_none() {
            systemd::tell_stopping();
        } else {
            // The service is another process by now. Who waits at a listener that it doesn't have any more is served here.
            self.acceptor_orders.give(self.sockets.listeners(&self.services));
        }
        if let Some(predecessor) = &self.predecessor {
            predecessor.tell(STOPPING);
        }
        if let Some(acceptor) = self.acceptor.take() {
            acceptor.stop();
        }
        self.sockets = Sockets::default(); // the last handles: new connects are refused
        let left = self.process.active();
        if left > 0 {
            log::info!(
                "stopping: no new connections; {left} have up to {} to finish",
                seconds(self.drain_timeout)
            );
        } else {
            log::info!("stopping");
        }
        let until = Clock::now().plus(self.drain_timeout).plus(TRIAL);
        self.drain();
        self.wait_for_predecessor(until);
        if let Some(prober) = self.prober.take() {
            prober.stop();
        }
        let departing = self.departing.iter().map(|departing| &departing.service);
        for service in self.services.iter().chain(departing) {
            tell(service);
        }
        self.tell_process();
        self.access_log.turn_off();
        drop((std::mem::take(&mut self.worker_handles), self.access_log_guard.take()));
        log::info!("stopped");
    }

    /// Whoever asks this lb to stop means the one before it too, whose connections may still finish.
    fn wait_for_predecessor(&self, until: Moment) {
        let Some(predecessor) = &self.predecessor else { return };
        if predecessor.wait_for_end(Duration::ZERO) {
            return;
        }
        log::info!("stopping: the lb before this one has connections still");
        if !predecessor.wait_for_end(until.since(Clock::now())) {
            log::warn!("the lb before this one hasn't ended; it is left behind");
        }
    }

    /// Waits until every session has ended; resets what is left in the end.
    fn drain(&mut self) {
        for handle in &self.worker_handles {
            handle.order(Order::Finish);
        }
        // Joined elsewhere, so that here the deadline can be awaited as well.
        let (done, all_done) = bounded::<()>(0);
        let workers = std::mem::take(&mut self.workers);
        let joiner = std::thread::Builder::new().name("joiner".into()).spawn(move || {
            for thread in workers {
                if thread.join().is_err() {
                    log::error!("a worker ended in a panic");
                }
            }
            drop(done);
        });
        if !self.wait_for(&all_done) {
            let cut = self.process.active();
            log::warn!(
                "the drain timeout of {} is over: {cut} connections are reset",
                seconds(self.drain_timeout)
            );
            for handle in &self.worker_handles {
                handle.order(Order::EndAll(End::Shutdown));
            }
            if all_done.recv_timeout(Duration::from_secs(5)) == Err(crossbeam_channel::RecvTimeoutError::Timeout) {
                log::error!("a worker doesn't stop; it is left behind");
            }
        }
        drop(joiner);
    }

    /// Whether everything is done within the drain timeout. Verdicts that still come change nothing any more; removed backends keep
    /// their deadlines.
    fn wait_for(&mut self, all_done: &Receiver<()>) -> bool {
        let deadline = after(self.drain_timeout);
        loop {
            let next_look = if self.has_leaving() {
                after(LEAVING_LOOK)
            } else {
                never()
            };
            crossbeam_channel::select! {
                recv(all_done) -> _ => return true,
                recv(deadline) -> _ => return false,
                recv(next_look) -> _ => self.see_off(),
                recv(self.requests) -> request => if let Ok(request) = request {
                    (request.reply)(Err(Refusal::stopping()));
                },
                recv(self.changes) -> change => log::debug!("while stopping: {change:?}"),
            }
        }
    }

    /// What the process has seen that belongs to no service.
    fn tell_process(&self) {
        let counters = &self.counters;
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

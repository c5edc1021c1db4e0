//! A balancer at work, and the loop of the one thread that may change it.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender};

use super::signals::Signal;
use crate::balance::{Balancer, PolicyName};
use crate::config::Config;
use crate::health::Change;
use crate::observe::{AccessLogGuard, ProcessCounters};
use crate::pool::{Health, Limiter};
use crate::service::Service;
use crate::sys::LoopThread;
use crate::worker::WorkerHandle;

/// A balancer at work.
pub struct Running {
    pub(super) services: Vec<Arc<Service>>,
    pub(super) policies: Vec<PolicyName>,
    pub(super) addresses: Vec<SocketAddr>,
    pub(super) process: Arc<Limiter>,
    pub(super) counters: Arc<ProcessCounters>,
    pub(super) acceptor: LoopThread,
    pub(super) workers: Vec<(WorkerHandle, JoinHandle<()>)>,
    pub(super) prober: LoopThread,
    pub(super) changes: Receiver<Change>,
    /// Keeps the channel open, whatever becomes of the health thread.
    pub(super) _changed: Sender<Change>,
    pub(super) drain_timeout: Duration,
    pub(super) access_log_guard: Option<AccessLogGuard>,
}

impl Running {
    pub(super) fn tell_ready(&self, config: &Config) {
        let mut addresses = self.addresses.iter();
        for service in &config.services {
            let listens: Vec<String> = addresses
                .by_ref()
                .take(service.listen.len())
                .map(ToString::to_string)
                .collect();
            log::info!(
                "{}: listening on {}, backends: {}",
                service.name,
                listens.join(" and "),
                service.backends.len()
            );
        }
        log::info!(
            "ready: workers: {}, connections: up to {}",
            self.workers.len(),
            self.process.max()
        );
    }

    /// The control loop: runs until a signal asks to stop, then drains and stops everything.
    pub fn serve(self, signals: &Receiver<Signal>) {
        let mut signals = signals.clone();
        loop {
            crossbeam_channel::select! {
                recv(self.changes) -> change => {
                    // All that have come by now at once: a thousand verdicts make one new pool, not a thousand.
                    self.apply(&change.into_iter().chain(self.changes.try_iter()).collect::<Vec<_>>());
                }
                recv(signals) -> signal => match signal {
                    Ok(Signal::Stop) => break,
                    Ok(Signal::HangUp) => log::warn!("SIGHUP does nothing yet: for another configuration lb is restarted"),
                    Err(_) => {
                        log::error!("signals can't be told any more; end lb by SIGKILL");
                        signals = crossbeam_channel::never();
                    }
                },
            }
        }
        self.stop();
    }

    /// Backends' health changed: swaps in the pools that follow from it, and says so once.
    pub(super) fn apply(&self, changes: &[Change]) {
        for (service, policy) in self.services.iter().zip(&self.policies) {
            let mut verdicts = HashMap::new();
            for change in changes.iter().filter(|change| change.service == service.id) {
                verdicts.insert(change.backend, change.health); // of several on one backend the last one counts
            }
            let before = service.balancer();
            let Some(pool) = before.pool().with_health(&verdicts) else {
                continue;
            };
            let is_empty = pool.eligible().is_empty();
            let names: HashMap<_, _> = pool
                .members()
                .iter()
                .map(|member| (member.backend.id, Arc::clone(&member.backend.name)))
                .collect();
            service.swap_balancer(Balancer::new(pool, *policy));
            for change in changes.iter().filter(|change| change.service == service.id) {
                let Some(name) = names.get(&change.backend) else {
                    continue;
                };
                match change.health {
                    Health::Up => log::info!("{}: {name} is up: {}", service.name, change.reason),
                    Health::Down => log::warn!("{}: {name} is down: {}", service.name, change.reason),
                }
            }
            if is_empty && !before.pool().eligible().is_empty() {
                log::error!(
                    "{}: no backend is up; its clients are refused until one is",
                    service.name
                );
            }
        }
    }
}

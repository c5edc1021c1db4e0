//! A balancer at work, and the loop of the one thread that may change it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender};

use super::signals::Signal;
use crate::acceptor::AcceptorHandle;
use crate::balance::{Balancer, PolicyName};
use crate::config::Config;
use crate::health::{Change, ProberHandle};
use crate::observe::{AccessLogGuard, ProcessCounters};
use crate::pool::{Health, Limiter};
use crate::service::Service;
use crate::worker::WorkerHandle;

/// A balancer at work.
pub struct Running {
    pub(super) services: Vec<Arc<Service>>,
    pub(super) policies: Vec<PolicyName>,
    pub(super) addresses: Vec<SocketAddr>,
    pub(super) process: Arc<Limiter>,
    pub(super) counters: Arc<ProcessCounters>,
    pub(super) acceptor: AcceptorHandle,
    pub(super) workers: Vec<(WorkerHandle, JoinHandle<()>)>,
    pub(super) prober: ProberHandle,
    pub(super) changes: Receiver<Change>,
    /// Keeps the channel open, whatever becomes of the health thread.
    pub(super) _changed: Sender<Change>,
    pub(super) drain_timeout: Duration,
    pub(super) access_log_guard: Option<AccessLogGuard>,
}

/// How it stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stopped {
    /// Sessions that were cut at the deadline.
    pub cut: u32,
}

impl Running {
    /// Where it listens, in the order of the configuration; a port 0 there is the port chosen here.
    #[must_use]
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Its services.
    #[must_use]
    pub fn services(&self) -> &[Arc<Service>] {
        &self.services
    }

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
    #[must_use]
    pub fn serve(self, signals: &Receiver<Signal>) -> Stopped {
        loop {
            crossbeam_channel::select! {
                recv(self.changes) -> change => {
                    if let Ok(change) = change {
                        self.apply(&change);
                    }
                }
                recv(signals) -> signal => match signal {
                    Ok(Signal::Stop) | Err(_) => break,
                },
            }
        }
        self.stop()
    }

    /// A backend's health changed: swaps in the pool that follows from it, and says so once.
    pub(super) fn apply(&self, change: &Change) {
        let known = self
            .services
            .iter()
            .zip(&self.policies)
            .find(|(service, _)| service.id == change.service);
        let Some((service, policy)) = known else { return };
        let before = service.balancer();
        let Some(pool) = before.pool().with_health(change.backend, change.health) else {
            return;
        };
        let name = pool.members().iter().find(|member| member.backend.id == change.backend);
        let name = name.map_or("?", |member| &member.backend.name);
        let is_empty = pool.eligible().is_empty();
        match change.health {
            Health::Up => log::info!("{}: {name} is up: {}", service.name, change.reason),
            Health::Down => log::warn!("{}: {name} is down: {}", service.name, change.reason),
        }
        if is_empty && !before.pool().eligible().is_empty() {
            log::error!(
                "{}: no backend is up; its clients are refused until one is",
                service.name
            );
        }
        service.swap_balancer(Balancer::new(pool, *policy));
    }
}

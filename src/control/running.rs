//! A balancer at work, and the loop of the one thread that may change it.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender};

use super::ramps::Ramps;
use super::signals::Signal;
use crate::balance::{Balancer, PolicyName};
use crate::config::Config;
use crate::health::Change;
use crate::observe::{AccessLogGuard, ProcessCounters};
use crate::pool::{Health, Limiter};
use crate::service::Service;
use crate::sys::{Clock, LoopThread};
use crate::types::{Moment, ServiceId};
use crate::worker::WorkerHandle;

/// How a service's pool is changed.
pub(super) struct Steering {
    policy: PolicyName,
    ramps: Ramps,
    /// How long it took to make the balancer in force.
    rebuild: Duration,
}

/// A balancer at work.
pub struct Running {
    pub(super) services: Vec<Arc<Service>>,
    /// What belongs to each service, in the same order, and is this thread's alone.
    pub(super) steering: Vec<Steering>,
    /// When the backends in slow start last got what they had earned.
    pub(super) ramps_looked_at: Moment,
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
    pub fn serve(mut self, signals: &Receiver<Signal>) {
        let mut signals = signals.clone();
        let mut next_ramp = crossbeam_channel::never();
        loop {
            crossbeam_channel::select! {
                recv(next_ramp) -> _ => self.apply(&[]),
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
            next_ramp = self.next_ramp();
        }
        self.stop();
    }

    /// Tells when a backend in slow start gets its next tenth.
    fn next_ramp(&self) -> Receiver<Instant> {
        self.next_ramp_at().map_or_else(crossbeam_channel::never, |moment| {
            crossbeam_channel::after(moment.since(Clock::now()))
        })
    }

    fn next_ramp_at(&self) -> Option<Moment> {
        let under_way = || self.steering.iter().filter(|steering| steering.ramps.is_any());
        let rebuild = under_way().map(|steering| steering.rebuild).sum();
        under_way()
            .filter_map(|steering| steering.ramps.next(self.ramps_looked_at, rebuild))
            .min()
    }

    /// Backends' health changed, or time has passed for those that came up: swaps in the pools that follow from it. Verdicts first: a
    /// client that is sent to a dead backend fails, one that is sent to a warm one too rarely doesn't.
    pub(super) fn apply(&mut self, changes: &[Change]) {
        let mut verdicts: HashMap<ServiceId, Vec<&Change>> = HashMap::new();
        for change in changes {
            verdicts.entry(change.service).or_default().push(change);
        }
        for (service, steering) in self.services.iter().zip(&mut self.steering) {
            if let Some(changes) = verdicts.get(&service.id) {
                steering.apply(service, changes);
            }
        }
        let now = Clock::now();
        if self.next_ramp_at().is_some_and(|moment| moment <= now) {
            self.ramps_looked_at = now;
            for (service, steering) in self.services.iter().zip(&mut self.steering) {
                if steering.ramps.is_any() {
                    steering.apply(service, &[]);
                }
            }
        }
    }
}

impl Steering {
    pub(super) fn new(policy: PolicyName, slow_start: Option<Duration>) -> Self {
        Self {
            policy,
            ramps: Ramps::new(slow_start),
            rebuild: Duration::ZERO,
        }
    }

    /// Swaps in what follows from these verdicts and from the time, and says so once.
    fn apply(&mut self, service: &Service, changes: &[&Change]) {
        let now = Clock::now();
        // Of several on one backend the last one counts.
        let verdicts: HashMap<_, _> = changes.iter().map(|change| (change.backend, change.health)).collect();
        let before = service.balancer();
        for member in before.pool().members() {
            match verdicts.get(&member.backend.id) {
                Some(Health::Up) if member.health == Health::Down => self.ramps.begin(member.backend.id, now),
                Some(Health::Down) => self.ramps.end(member.backend.id),
                _ => {}
            }
        }
        let changed = before.pool().changed(|member| {
            let id = member.backend.id;
            member.health = verdicts.get(&id).copied().unwrap_or(member.health);
            member.ramp = self.ramps.of(id, now);
        });
        self.ramps.tidy(now);
        let Some(pool) = changed else { return };
        let is_empty = pool.eligible().is_empty();
        let names: HashMap<_, _> = pool
            .members()
            .iter()
            .map(|member| (member.backend.id, Arc::clone(&member.backend.name)))
            .collect();
        service.swap_balancer(Balancer::new(pool, self.policy));
        self.rebuild = Clock::now().since(now);
        for change in changes {
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

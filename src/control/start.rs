//! Starting: everything is opened before the first connection is taken, or nothing runs.

use std::fs::OpenOptions;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded, unbounded};

use super::budget::{Budget, BudgetError};
use super::build::{Built, build};
use super::signals::Signal;
use super::stop::Stopped;
use crate::acceptor::{Acceptor, AcceptorHandle, Listener};
use crate::balance::Balancer;
use crate::config::{self, Config};
use crate::health::{Change, Prober, ProberHandle};
use crate::observe::{AccessLog, AccessLogGuard, ProcessCounters};
use crate::pool::{Health, Limiter};
use crate::service::Service;
use crate::sys::{self, Doorbell};
use crate::types::WorkerId;
use crate::worker::{self, WorkerHandle};

/// Failed connects that may wait for the health thread; more say nothing new.
const FAILURES_QUEUED: usize = 1024;

/// Why it can't start.
#[derive(Debug)]
pub enum StartError {
    /// A listener can't be opened.
    Listen(SocketAddr, io::Error),
    /// The limits don't fit.
    Budget(BudgetError),
    /// The access log can't be opened.
    AccessLog(std::path::PathBuf, io::Error),
    /// No thread or descriptor is left.
    System(io::Error),
}

impl std::fmt::Display for StartError {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Listen(address, error) if error.kind() == io::ErrorKind::AddrInUse => write!(
                out,
                "can't listen on {address}: the port is taken by another program; stop it, or choose another `listen`"
            ),
            Self::Listen(address, error) if error.kind() == io::ErrorKind::AddrNotAvailable => {
                write!(out, "can't listen on {address}: this machine has no such address")
            }
            Self::Listen(address, error) if error.kind() == io::ErrorKind::PermissionDenied => {
                write!(
                    out,
                    "can't listen on {address}: a port below 1024 needs the right to use it (CAP_NET_BIND_SERVICE)"
                )
            }
            Self::Listen(address, error) => write!(out, "can't listen on {address}: {error}"),
            Self::Budget(error) => error.fmt(out),
            Self::AccessLog(path, error) => write!(out, "log.access: can't write to {}: {error}", path.display()),
            Self::System(error) => write!(out, "can't start: {error}"),
        }
    }
}

impl std::error::Error for StartError {}

impl From<io::Error> for StartError {
    fn from(error: io::Error) -> Self {
        Self::System(error)
    }
}

/// A balancer at work.
pub struct Running {
    pub(super) services: Vec<Arc<Service>>,
    pub(super) policies: Vec<config::Balance>,
    pub(super) addresses: Vec<SocketAddr>,
    pub(super) process: Arc<Limiter>,
    pub(super) counters: Arc<ProcessCounters>,
    pub(super) acceptor: AcceptorHandle,
    pub(super) workers: Vec<(WorkerHandle, JoinHandle<()>)>,
    pub(super) prober: ProberHandle,
    pub(super) changes: Receiver<Change>,
    /// Keeps the channel open, whatever becomes of the health thread.
    _changed: Sender<Change>,
    pub(super) drain_timeout: Duration,
    pub(super) access_log_guard: Option<AccessLogGuard>,
}

/// Starts everything that `config` asks for.
///
/// # Errors
/// What can't be had; nothing runs then.
pub fn start(config: &Config) -> Result<Running, StartError> {
    let fd_limit = sys::raise_fd_limit();
    let workers_count = config.runtime.workers.unwrap_or_else(cores);
    let Built { services, targets } = build(config, workers_count);
    let listeners = listen(config, &services)?;
    let addresses = listeners
        .iter()
        .map(|listener| listener.socket.local_addr())
        .collect::<io::Result<Vec<_>>>()?;
    let wanted = config.runtime.connections_max;
    let budget =
        Budget::new(fd_limit, wanted, workers_count, listeners.len(), targets.len()).map_err(StartError::Budget)?;
    let (access_log, access_log_guard) = open_access_log(&config.log.access)?;
    let counters = Arc::new(ProcessCounters::default());
    let process = Arc::new(Limiter::new(Some(budget.sessions_max)));
    let (failed, failures) = bounded(FAILURES_QUEUED);
    let (changed, changes) = unbounded();
    let (prober_doorbell, acceptor_doorbell) = (Arc::new(Doorbell::new()?), Arc::new(Doorbell::new()?));
    let mut workers = Vec::new();
    if let Some(service) = services.first() {
        for id in (0..workers_count).map(WorkerId) {
            let context = worker::Context {
                access_log: access_log.clone(),
                counters: Arc::clone(&counters),
                failures: failed.clone(),
                prober: Arc::clone(&prober_doorbell),
                acceptor: Arc::clone(&acceptor_doorbell),
                service: Arc::clone(service),
                pipes_max: budget.pipes_per_worker,
                races_max: budget.races_per_worker,
            };
            workers.push(worker::spawn(id, context)?);
        }
    }
    let acceptor = Acceptor {
        listeners,
        workers: workers.iter().map(|(handle, _)| handle.clone()).collect(),
        process: Arc::clone(&process),
        counters: Arc::clone(&counters),
        doorbell: acceptor_doorbell,
    };
    let acceptor = acceptor.spawn()?;
    let prober = Prober {
        targets,
        probes_max: usize::try_from(budget.probes_max).unwrap_or(usize::MAX),
        failures,
        doorbell: prober_doorbell,
        changes: changed.clone(),
        counters: Arc::clone(&counters),
        seed: fastrand::u64(..),
    };
    let running = Running {
        services,
        policies: config.services.iter().map(|service| service.balance).collect(),
        addresses,
        process,
        counters,
        acceptor,
        workers,
        prober: prober.spawn()?,
        changes,
        _changed: changed,
        drain_timeout: config.runtime.drain_timeout,
        access_log_guard,
    };
    running.tell_ready(config);
    Ok(running)
}

fn cores() -> u16 {
    std::thread::available_parallelism()
        .ok()
        .and_then(|cores| u16::try_from(cores.get()).ok())
        .unwrap_or(1)
}

fn listen(config: &Config, services: &[Arc<Service>]) -> Result<Vec<Listener>, StartError> {
    let mut listeners = Vec::new();
    for (settings, service) in config.services.iter().zip(services) {
        for address in &settings.listen {
            let socket = sys::listen(*address).map_err(|error| StartError::Listen(*address, error))?;
            listeners.push(Listener {
                socket,
                service: Arc::clone(service),
            });
        }
    }
    Ok(listeners)
}

fn open_access_log(access: &config::AccessLog) -> Result<(AccessLog, Option<AccessLogGuard>), StartError> {
    let target: Box<dyn io::Write + Send> = match access {
        config::AccessLog::Off => return Ok((AccessLog::off(), None)),
        config::AccessLog::Stderr => Box::new(io::stderr()),
        config::AccessLog::File(path) => {
            let file = OpenOptions::new().append(true).create(true).open(path);
            Box::new(file.map_err(|error| StartError::AccessLog(path.clone(), error))?)
        }
    };
    let (log, guard) = AccessLog::spawn(target)?;
    Ok((log, Some(guard)))
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

    fn tell_ready(&self, config: &Config) {
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
        service.swap_balancer(Balancer::new(pool, super::build::policy(*policy)));
    }
}

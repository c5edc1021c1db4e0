//! Starting: everything is opened before the first connection is taken, or nothing runs.

use std::cell::RefCell;
use std::fs::OpenOptions;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::thread::JoinHandle;

use arc_swap::ArcSwap;
use crossbeam_channel::{bounded, unbounded};

use super::assemble::{Assembled, assemble};
use super::board::{Board, Shown};
use super::budget::{Budget, BudgetError, Parts};
use super::command::{Commander, REQUESTS_QUEUED};
use super::inherited::Inherited;
use super::replicas::Replicas;
use super::running::{AcceptorOrders, ProberOrders, Running};
use super::sockets::Sockets;
use super::watchdog::{AcceptorPulse, Watchdog};
use crate::acceptor::Acceptor;
use crate::config::{self, Config};
use crate::health::Prober;
use crate::observe::{AccessLog, ProcessCounters, log_drops};
use crate::pool::Limiter;
use crate::service::Service;
use crate::sys::{self, Clock, Doorbell, Memory};
use crate::types::{Moment, WorkerId};
use crate::worker::{self, WorkerHandle};

/// Failed connects that may wait for the health thread; more say nothing new.
const FAILURES_QUEUED: usize = 1024;

/// Why it can't start.
#[derive(Debug)]
pub enum StartError {
    /// A listener can't be opened.
    Listen(SocketAddr, io::Error),
    /// A backend is lb itself: the service, the backend, its address.
    Loop(String, String, SocketAddr),
    /// The limits don't fit.
    Budget(BudgetError),
    /// The access log can't be opened.
    AccessLog(std::path::PathBuf, io::Error),
    /// What an old lb had and what the file says don't go together.
    Inherited(String),
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
            Self::Loop(service, backend, address) => write!(
                out,
                "{service}: the backend {backend} is at {address}, where lb itself listens: every connection would come back to it"
            ),
            Self::Budget(error) => error.fmt(out),
            Self::AccessLog(path, error) => write!(out, "log.access: can't write to {}: {error}", path.display()),
            Self::Inherited(words) => out.write_str(words),
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

/// Starts everything that `config` asks for; `path` is the file that a reload reads, `inherited` what lb was started with.
///
/// # Errors
/// What can't be had; nothing runs then.
pub fn start(config: &Config, path: &Path, mut inherited: Inherited) -> Result<Running, StartError> {
    give_back_what_reading_took(path);
    let fd_limit = sys::raise_fd_limit();
    let workers_count = config.runtime.workers.unwrap_or_else(cores);
    let handed = std::mem::take(&mut inherited.handed);
    let Assembled {
        services,
        steering,
        targets,
        next_backend,
    } = assemble(config, workers_count, &handed).map_err(|refusal| StartError::Inherited(refusal.message))?;
    let sockets = inherited.open_sockets(config)?;
    inherited.tell();
    let sandbox = std::mem::take(&mut inherited.sandbox);
    find_loops(config, &sockets)?;
    let memory = Arc::new(Memory::open(config.runtime.memory_bytes_max));
    let parts = Parts {
        workers: workers_count,
        listeners: sockets.count(),
        backends: targets.len().saturating_add(config.replicas_max()),
        replicas: config.replicas_max(),
        has_admin: config.admin.listen != config::AdminListen::Off,
        memory_bytes: memory.would_be_bytes_max(config.runtime.memory_bytes_max),
    };
    let wanted = config.runtime.connections_max;
    let budget = Budget::new(fd_limit, wanted, parts).map_err(StartError::Budget)?;
    let counters = Arc::new(ProcessCounters {
        log_drops: log_drops(),
        ..ProcessCounters::default()
    });
    let access_log = AccessLog::default();
    let access_log_guard = access_target(&config.log.access)?
        .map(|target| access_log.write_to(target, counters.access_log_drops.clone()))
        .transpose()?;
    let process = Arc::new(Limiter::new(Some(budget.sessions_max)));
    let (failed, failures) = bounded(FAILURES_QUEUED);
    let (changed, changes) = unbounded();
    let (prober_doorbell, acceptor_doorbell) = (Arc::new(Doorbell::new()?), Arc::new(Doorbell::new()?));
    let context = services.first().map(|service| worker::Context {
        access_log: access_log.clone(),
        counters: Arc::clone(&counters),
        failures: failed,
        prober: Arc::clone(&prober_doorbell),
        acceptor: Arc::clone(&acceptor_doorbell),
        service: Arc::clone(service),
        pipes_max: budget.pipes_per_worker,
        races_max: budget.races_per_worker,
        calls: sandbox.calls.clone(),
    });
    let (worker_handles, workers) = spawn_workers(workers_count, context.as_ref())?;
    let (listening, listened) = unbounded();
    let acceptor_orders = AcceptorOrders {
        orders: listening,
        doorbell: Arc::clone(&acceptor_doorbell),
    };
    let acceptor = Acceptor {
        // After an upgrade the old lb takes connections until this one is ready.
        listeners: RefCell::new(if inherited.predecessor.is_some() {
            Vec::new()
        } else {
            sockets.listeners(&services)
        }),
        orders: listened,
        workers: worker_handles.clone(),
        process: Arc::clone(&process),
        memory: Arc::clone(&memory),
        counters: Arc::clone(&counters),
        access_log: access_log.clone(),
        doorbell: Arc::clone(&acceptor_doorbell),
        turns: Arc::default(),
        calls: sandbox.calls.clone(),
    };
    let pulse = AcceptorPulse {
        turns: Arc::clone(&acceptor.turns),
        doorbell: acceptor_doorbell,
    };
    let acceptor = acceptor.spawn()?;
    let (orders, ordered) = unbounded();
    let prober_orders = ProberOrders {
        orders,
        doorbell: Arc::clone(&prober_doorbell),
    };
    let (request, requests) = bounded(REQUESTS_QUEUED);
    let (replicas, replica_requests) = Replicas::new()?;
    let board = Arc::new(Board {
        services: ArcSwap::from_pointee(shown(config, &services, &sockets)),
        started: Clock::now(),
        counters: Arc::clone(&counters),
        workers: worker_handles.clone(),
        is_draining: AtomicBool::new(false),
        watchers: ArcSwap::default(),
        discoveries: ArcSwap::default(),
        departing: ArcSwap::default(),
        replicas: ArcSwap::default(),
        drain_timeout_ms: AtomicU64::new(0),
    });
    board.tell_drain_timeout(config.runtime.drain_timeout);
    let prober = Prober {
        targets: RefCell::new(targets.into_iter().map(|target| (target.backend.id, target)).collect()),
        orders: ordered,
        probes_max: usize::try_from(budget.probes_max).unwrap_or(usize::MAX),
        failures,
        doorbell: prober_doorbell,
        changes: changed.clone(),
        counters: Arc::clone(&counters),
        seed: fastrand::u64(..),
        calls: sandbox.calls.clone(),
    };
    Ok(Running {
        services,
        steering,
        ramps_looked_at: Moment::START,
        sockets,
        sandbox,
        own_addresses: Vec::new(),
        config: config.clone(),
        config_path: path.to_owned(),
        acceptor_orders,
        access_log,
        departing: Vec::new(),
        next_service: u32::try_from(config.services.len()).unwrap_or(u32::MAX),
        workers_count,
        worker_handles,
        next_backend,
        prober_orders,
        requests,
        commander: Commander {
            requests: request,
            replicas,
        },
        replica_requests,
        board,
        admin_connections_max: budget.admin_max,
        process,
        memory,
        counters,
        acceptor: Some(acceptor),
        workers,
        prober: Some(prober.spawn()?),
        changes,
        _changed: changed,
        drain_timeout: config.runtime.drain_timeout,
        access_log_guard,
        companions: Vec::new(),
        predecessor: inherited.predecessor,
        upgrade: None,
        successor: None,
        watchdog: Watchdog::new(usize::from(workers_count), pulse),
    })
}

/// A file that is longer takes memory, while it is read, that is worth giving back.
const LONG_FILE_BYTES: u64 = 1 << 20;

/// The tree of a file of 100,000 backends is some 150 MB of small pieces, which the allocator would keep.
pub(super) fn give_back_what_reading_took(config_path: &Path) {
    if std::fs::metadata(config_path).is_ok_and(|file| file.len() > LONG_FILE_BYTES) {
        sys::give_memory_back();
    }
}

fn spawn_workers(
    count: u16,
    context: Option<&worker::Context>,
) -> io::Result<(Vec<WorkerHandle>, Vec<JoinHandle<()>>)> {
    let spawn = |(id, context): (u16, &worker::Context)| worker::spawn(WorkerId(id), context.clone());
    let spawned: Vec<_> = (0..count)
        .zip(context.into_iter().cycle())
        .map(spawn)
        .collect::<io::Result<_>>()?;
    Ok(spawned.into_iter().unzip())
}

/// The services as they are shown.
pub(super) fn shown(config: &Config, services: &[Arc<Service>], sockets: &Sockets) -> Vec<Shown> {
    let shown = |(settings, service): (&config::Service, &Arc<Service>)| Shown {
        service: Arc::clone(service),
        listen: sockets.of(&settings.name),
        settings: settings.clone(),
    };
    config.services.iter().zip(services).map(shown).collect()
}

fn cores() -> u16 {
    std::thread::available_parallelism()
        .ok()
        .and_then(|cores| u16::try_from(cores.get()).ok())
        .unwrap_or(1)
}

/// Finds a backend that is lb itself. The file alone doesn't tell: lb may listen on every address of the machine.
///
/// # Errors
/// The first one.
pub(super) fn find_loops(config: &Config, sockets: &Sockets) -> Result<(), StartError> {
    for service in &config.services {
        let is_ours = |backend: &&config::Backend| sockets.is_ours(backend.address);
        if let Some(backend) = service.backends.iter().find(is_ours) {
            let (service, name) = (service.name.clone(), backend.name.clone());
            return Err(StartError::Loop(service, name, backend.address));
        }
    }
    Ok(())
}

/// What the access log is written to; `None` = it is off.
///
/// # Errors
/// The file can't be opened.
pub(super) fn access_target(access: &config::AccessLog) -> Result<Option<Box<dyn io::Write + Send>>, StartError> {
    Ok(match access {
        config::AccessLog::Off => None,
        config::AccessLog::Stderr => Some(Box::new(io::stderr())),
        config::AccessLog::File(path) => {
            let file = OpenOptions::new().append(true).create(true).open(path);
            Some(Box::new(
                file.map_err(|error| StartError::AccessLog(path.clone(), error))?,
            ))
        }
    })
}

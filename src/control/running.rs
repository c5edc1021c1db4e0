//! A balancer at work, and the loop of the one thread that may change it.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender};

use super::board::Board;
use super::command::{Commander, Refusal, Request};
use super::companion::Companion;
use super::inherited::{Predecessor, READY};
use super::reload::Departing;
use super::replicas::ReplicaRequests;
use super::sandbox::Sandbox;
use super::signals::Signal;
use super::sockets::Sockets;
use super::steering::Steering;
use super::systemd;
use super::upgrade::{Progress, Upgrade};
use super::watchdog::Watchdog;
use crate::acceptor::Listener;
use crate::config::Config;
use crate::health::{Change, Order};
use crate::observe::{AccessLog, AccessLogGuard, ProcessCounters};
use crate::pool::Limiter;
use crate::service::Service;
use crate::sys::{Clock, Doorbell, LoopThread, Memory};
use crate::types::{Moment, ServiceId};
use crate::worker::WorkerHandle;

/// Orders to the health thread.
pub(super) struct ProberOrders {
    pub(super) orders: Sender<Order>,
    pub(super) doorbell: Arc<Doorbell>,
}

impl ProberOrders {
    pub(super) fn give(&self, order: Order) {
        if self.orders.send(order).is_ok() {
            self.doorbell.wake();
        }
    }
}

/// Orders to the acceptor.
pub(super) struct AcceptorOrders {
    pub(super) orders: Sender<Vec<Listener>>,
    pub(super) doorbell: Arc<Doorbell>,
}

impl AcceptorOrders {
    pub(super) fn give(&self, listeners: Vec<Listener>) {
        if self.orders.send(listeners).is_ok() {
            // Not `wake`: it may be waiting for room in an inbox, and then nobody announces.
            self.doorbell.waker().wake();
        }
    }
}

/// How often it is looked whether a backend on its way out has lost its last session.
pub(super) const LEAVING_LOOK: Duration = Duration::from_millis(20);

/// A balancer at work.
pub struct Running {
    pub(super) services: Vec<Arc<Service>>,
    /// What belongs to each service, in the same order, and is this thread's alone.
    pub(super) steering: Vec<Steering>,
    /// When the backends in slow start last got what they had earned.
    pub(super) ramps_looked_at: Moment,
    pub(super) sockets: Sockets,
    /// What this process shut itself in with.
    pub(super) sandbox: Sandbox,
    /// Where else this process listens.
    pub(super) own_addresses: Vec<SocketAddr>,
    /// What the file said last.
    pub(super) config: Config,
    pub(super) config_path: PathBuf,
    pub(super) acceptor_orders: AcceptorOrders,
    pub(super) access_log: AccessLog,
    /// Services that are gone from the file.
    pub(super) departing: Vec<Departing>,
    /// The id of the next service.
    pub(super) next_service: u32,
    pub(super) workers_count: u16,
    pub(super) worker_handles: Vec<WorkerHandle>,
    /// The id of the next backend.
    pub(super) next_backend: u32,
    pub(super) prober_orders: ProberOrders,
    pub(super) requests: Receiver<Request>,
    pub(super) commander: Commander,
    pub(super) replica_requests: ReplicaRequests,
    pub(super) board: Arc<Board>,
    pub(super) admin_connections_max: u32,
    pub(super) process: Arc<Limiter>,
    pub(super) memory: Arc<Memory>,
    pub(super) counters: Arc<ProcessCounters>,
    pub(super) acceptor: Option<LoopThread>,
    pub(super) workers: Vec<JoinHandle<()>>,
    pub(super) prober: Option<LoopThread>,
    pub(super) changes: Receiver<Change>,
    /// Keeps the channel open, whatever becomes of the health thread.
    pub(super) _changed: Sender<Change>,
    pub(super) drain_timeout: Duration,
    pub(super) access_log_guard: Option<AccessLogGuard>,
    /// Who goes along when a new lb takes over.
    pub(super) companions: Vec<Box<dyn Companion>>,
    /// The lb that this one follows.
    pub(super) predecessor: Option<Predecessor>,
    /// A new lb that is on its way.
    pub(super) upgrade: Option<Upgrade>,
    /// A new lb has everything; the end of this one is the end of the stream.
    pub(super) successor: Option<UnixStream>,
    pub(super) watchdog: Watchdog,
}

impl Running {
    /// Something else of this process listens there: no backend may.
    pub fn keep_off(&mut self, address: SocketAddr) {
        self.own_addresses.push(address);
    }

    /// Logs that everything runs, and where.
    pub fn tell_ready(&self, config: &Config) {
        for service in &config.services {
            let listens: Vec<String> = self.sockets.of(&service.name).iter().map(ToString::to_string).collect();
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
        systemd::tell_ready();
        if let Some(predecessor) = &self.predecessor {
            // Only now does this one take connections: what it had taken would be lost with it, and the old one go on.
            self.acceptor_orders.give(self.sockets.listeners(&self.services));
            self.companions.iter().for_each(|companion| companion.resume());
            predecessor.tell(READY);
        }
    }

    /// This room goes along when a new lb takes over.
    pub fn accompany(&mut self, companion: Box<dyn Companion>) {
        self.companions.push(companion);
    }

    /// What it shows of itself.
    #[must_use]
    pub fn board(&self) -> Arc<Board> {
        Arc::clone(&self.board)
    }

    /// How many connections to the admin port the descriptors carry.
    #[must_use]
    pub const fn admin_connections_max(&self) -> u32 {
        self.admin_connections_max
    }

    /// Whom to ask for changes.
    #[must_use]
    pub fn commander(&self) -> Commander {
        self.commander.clone()
    }

    /// What is asked of whoever keeps the replicas.
    #[must_use]
    pub fn replica_requests(&self) -> ReplicaRequests {
        self.replica_requests.clone()
    }

    /// The control loop: runs until a signal asks to stop, then drains and stops everything.
    pub fn serve(mut self, signals: &Receiver<Signal>) {
        let mut signals = signals.clone();
        let mut next_ramp = crossbeam_channel::never();
        let mut next_look = crossbeam_channel::never();
        let mut next_watch = self.watchdog.next();
        loop {
            crossbeam_channel::select! {
                recv(next_ramp) -> _ => self.apply(&[]),
                recv(next_look) -> _ => {}
                recv(next_watch) -> _ => {
                    self.watchdog.look(&self.worker_handles, self.acceptor.is_some());
                    next_watch = self.watchdog.next();
                }
                recv(self.requests) -> request => if let Ok(request) = request {
                    self.obey(request);
                },
                recv(self.changes) -> change => {
                    // All that have come by now at once: a thousand verdicts make one new pool, not a thousand.
                    self.apply(&change.into_iter().chain(self.changes.try_iter()).collect::<Vec<_>>());
                }
                recv(self.progress()) -> progress => {
                    let lost = Progress::Lost("can't be watched any more".to_owned());
                    if self.note_progress(progress.unwrap_or(lost)) {
                        break;
                    }
                },
                recv(signals) -> signal => match signal {
                    Ok(Signal::Stop) => break,
                    Ok(Signal::HangUp) => self.reload_for_signal(),
                    Ok(Signal::Upgrade) => self.begin_upgrade(Box::new(drop)),
                    Err(_) => {
                        log::error!("signals can't be told any more; end lb by SIGKILL");
                        signals = crossbeam_channel::never();
                    }
                },
            }
            next_ramp = self.next_ramp();
            self.see_off();
            next_look = if self.has_leaving() {
                crossbeam_channel::after(LEAVING_LOOK)
            } else {
                crossbeam_channel::never()
            };
        }
        self.end_upgrade();
        self.stop();
    }

    fn reload_for_signal(&mut self) {
        if self.upgrade.is_some() {
            log::error!("reload: {}", Refusal::under_way().message);
        } else {
            // It logs what came of it.
            drop(self.reload());
        }
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
                steering.apply(service, &self.board, changes);
            }
        }
        let now = Clock::now();
        if self.next_ramp_at().is_some_and(|moment| moment <= now) {
            self.ramps_looked_at = now;
            for (service, steering) in self.services.iter().zip(&mut self.steering) {
                if steering.ramps.is_any() {
                    steering.apply(service, &self.board, &[]);
                }
            }
        }
    }
}

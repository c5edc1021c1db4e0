//! Another configuration while everything runs: read, check, prepare all of it, then swap; any error, and nothing was changed.
//!
//! Only what changed is changed. A kept listener is the same socket; live sessions keep the settings they began with; those on backends
//! that go have their time to drain. What can only change at a start (`runtime.workers`, `[admin]`) is said and left.

use std::collections::HashSet;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use super::board::{Event, Shown};
use super::budget::{Budget, Parts};
use super::build;
use super::command::{Refusal, RefusalKind};
use super::difference::{self, Difference, Numbers};
use super::leaving::Leaving;
use super::running::Running;
use super::sockets::Sockets;
use super::start::{StartError, access_target, find_loops, give_back_what_reading_took, shown};
use super::steering::Steering;
use super::systemd;
use super::view::Now;
use crate::api;
use crate::balance::Balancer;
use crate::config::{self, Config};
use crate::health::Order;
use crate::observe;
use crate::pool::{Admin, Pool};
use crate::service::Service;
use crate::sys::{self, Clock};
use crate::types::{BackendId, Moment, ServiceId};

/// A service that is gone from the file picks backends for so long: for those that were accepted just before.
const LAST_PICKS: Duration = Duration::from_millis(500);

/// A service that is gone from the file.
pub(super) struct Departing {
    pub(super) service: Arc<Service>,
    pub(super) steering: Steering,
    /// When its backends leave; `NEVER` = they do.
    leave_at: Moment,
    drain_timeout: Duration,
}

/// What a service is to be.
enum Next {
    /// It goes on.
    Kept(Box<Kept>),
    New(Arc<Service>),
}

struct Kept {
    /// Where it is now.
    place: usize,
    difference: Difference,
    keys: Vec<String>,
    next_number: u32,
}

impl Running {
    /// Reads the file again, and puts in force what changed. What did, in words.
    ///
    /// # Errors
    /// Everything that is wrong; the old configuration stays in force.
    pub(super) fn reload(&mut self) -> Result<Vec<String>, Refusal> {
        systemd::tell_reloading();
        let outcome = self.try_reload();
        give_back_what_reading_took(&self.config_path);
        systemd::tell_ready();
        match &outcome {
            Ok(changes) => {
                self.counters.reloads_succeeded.fetch_add(1, Relaxed);
                for change in changes {
                    log::info!("reload: {change}");
                }
                log::info!("reloaded: {} changes", changes.len());
                self.board.tell(&Event::Config(api::ConfigEvent {
                    time: Now::read().text(),
                    changes: changes.clone(),
                }));
            }
            Err(refusal) => {
                self.counters.reloads_failed.fetch_add(1, Relaxed);
                for line in refusal.details.iter().chain([&refusal.message]) {
                    log::error!("reload: {line}");
                }
            }
        }
        outcome
    }

    fn try_reload(&mut self) -> Result<Vec<String>, Refusal> {
        let config = config::load(&self.config_path).map_err(|problems| {
            let details: Vec<String> = problems.to_string().lines().map(ToOwned::to_owned).collect();
            let count = details.len();
            let message = format!("the file has {count} problems; the configuration from before stays in force");
            Refusal {
                details,
                ..Refusal::new(RefusalKind::BadConfig, message)
            }
        })?;
        // Everything that can fail, first.
        let refuse = |error: StartError| {
            let message = format!("{error}; the configuration from before stays in force");
            Refusal::new(RefusalKind::BadConfig, message)
        };
        let sockets = Sockets::open(&config, &self.sockets).map_err(|error| self.refuse_port(error))?;
        find_loops(&config, &sockets).map_err(refuse)?;
        let budget = self.budget(&config, &sockets).map_err(refuse)?;
        let is_logged_elsewhere = config.log.access != self.config.log.access;
        let target = access_target(&config.log.access).map_err(|error| {
            let is_denied =
                matches!(&error, StartError::AccessLog(_, error) if error.kind() == io::ErrorKind::PermissionDenied);
            let shut_in = self.check_sandbox(&config).err().filter(|_| is_denied);
            shut_in.unwrap_or_else(|| refuse(error))
        })?;
        self.check_sandbox(&config)?;
        let mut next_id = self.next_backend;
        let next = self.prepare(&config, &mut next_id)?;
        // And from here nothing does.
        self.next_backend = next_id;
        let mut changes = self.sockets.difference(&sockets);
        self.process.set_max(Some(budget.sessions_max));
        self.swap(&config, sockets, next, &mut changes);
        self.exchange_access_log(target);
        if is_logged_elsewhere {
            changes.push("[log] access".to_owned());
        }
        changes.extend(self.take_over(config));
        Ok(changes)
    }

    /// Whether the sandbox has room for it; what changes at a start only isn't looked at.
    fn check_sandbox(&self, config: &Config) -> Result<(), Refusal> {
        let mut next = config.clone();
        (next.history, next.admin) = (self.config.history.clone(), self.config.admin.clone());
        self.sandbox.check(&next, &self.config_path).map_err(|words| {
            let message = format!("{words}; the configuration from before stays in force");
            Refusal::new(RefusalKind::BadConfig, message)
        })
    }

    /// A port that could have been opened at the start can't be any more.
    fn refuse_port(&self, error: StartError) -> Refusal {
        let is_given_up = self.config.runtime.user.is_some()
            && matches!(&error, StartError::Listen(_, error) if error.kind() == io::ErrorKind::PermissionDenied);
        let hint = if is_given_up {
            ", which [runtime] user gave up at the start: restart lb"
        } else {
            ""
        };
        let message = format!("{error}{hint}; the configuration from before stays in force");
        Refusal::new(RefusalKind::BadConfig, message)
    }

    fn budget(&self, config: &Config, sockets: &Sockets) -> Result<Budget, StartError> {
        let parts = Parts {
            workers: self.workers_count,
            listeners: sockets.count(),
            backends: config.backends().saturating_add(config.replicas_max()),
            replicas: config.replicas_max(),
            has_admin: self.config.admin.listen != config::AdminListen::Off,
            memory_bytes: self.memory.would_be_bytes_max(config.runtime.memory_bytes_max),
        };
        Budget::new(sys::fd_limit(), config.runtime.connections_max, parts).map_err(StartError::Budget)
    }

    /// What each service of the file is to be.
    fn prepare(&mut self, config: &Config, next_id: &mut u32) -> Result<Vec<Next>, Refusal> {
        let mut all = Vec::new();
        for after in &config.services {
            let place = self.services.iter().position(|service| *service.name == *after.name);
            let found = place.and_then(|place| Some((place, self.services.get(place)?, self.steering.get(place)?)));
            let mut numbers = Numbers {
                next_id: *next_id,
                next_number: found.map_or(1, |(_, _, steering)| steering.next_number),
                workers: self.workers_count,
            };
            let next = if let Some((place, service, steering)) = found {
                let before = &steering.settings;
                let difference = Difference::new(before, after, service.balancer().pool(), &mut numbers);
                super::steering::check_fit(after, &difference.pool)?;
                Next::Kept(Box::new(Kept {
                    place,
                    keys: difference::keys(before, after),
                    difference,
                    next_number: numbers.next_number,
                }))
            } else {
                let id = ServiceId(self.next_service);
                self.next_service = self.next_service.saturating_add(1);
                let members = after
                    .backends
                    .iter()
                    .map(|backend| numbers.member(backend, after))
                    .collect();
                let balancer = Balancer::new(Pool::new(members), build::policy(after.balance));
                Next::New(Arc::new(Service::new(
                    id,
                    &after.name,
                    build::settings(after, fastrand::u64(..)),
                    balancer,
                )))
            };
            *next_id = numbers.next_id;
            all.push(next);
        }
        Ok(all)
    }

    fn swap(&mut self, config: &Config, sockets: Sockets, next: Vec<Next>, changes: &mut Vec<String>) {
        let mut old: Vec<Option<(Arc<Service>, Steering)>> =
            self.services.drain(..).zip(self.steering.drain(..)).map(Some).collect();
        let now = Clock::now();
        for (next, after) in next.into_iter().zip(&config.services) {
            let (service, steering) = match next {
                Next::New(service) => {
                    changes.push(format!(
                        "service {} added, backends: {}",
                        after.name,
                        after.backends.len()
                    ));
                    for member in service.balancer().pool().members() {
                        if let Some(target) = build::target(after, service.id, member) {
                            self.prober_orders.give(Order::Watch(target));
                        }
                    }
                    (service, Steering::new(after.clone()))
                }
                Next::Kept(kept) => {
                    let Some(found) = old.get_mut(kept.place).and_then(Option::take) else {
                        continue;
                    };
                    let words = kept.difference.words.iter().chain(&kept.keys);
                    changes.extend(words.map(|word| format!("{}: {word}", after.name)));
                    self.keep(*kept, found, after, now.plus(config.runtime.drain_timeout))
                }
            };
            self.services.push(service);
            self.steering.push(steering);
        }
        for (service, steering) in old.into_iter().flatten() {
            changes.push(format!("service {} removed", service.name));
            self.departing.push(Departing {
                service,
                steering,
                leave_at: now.plus(LAST_PICKS),
                drain_timeout: config.runtime.drain_timeout,
            });
        }
        self.acceptor_orders.give(sockets.listeners(&self.services));
        self.sockets = sockets;
        let shown: Vec<Shown> = shown(config, &self.services, &self.sockets);
        self.show_departing();
        self.board.show(shown);
    }

    pub(super) fn show_departing(&self) {
        let departing = self.departing.iter().map(|departing| Arc::clone(&departing.service));
        self.board.departing.store(Arc::new(departing.collect()));
    }

    /// A service that goes on, with what changes of it. Those that go have until `deadline`.
    fn keep(
        &self,
        kept: Kept,
        (service, mut steering): (Arc<Service>, Steering),
        after: &config::Service,
        deadline: Moment,
    ) -> (Arc<Service>, Steering) {
        let Kept {
            difference,
            next_number,
            ..
        } = kept;
        // A check begins as a connection does: by telling the backend who it is.
        let is_told_otherwise = steering.settings.proxy_protocol.send != after.proxy_protocol.send;
        let is_checked_otherwise = steering.settings.health != after.health || is_told_otherwise;
        let is_renewed = build::settings(&steering.settings, 0) != build::settings(after, 0);
        for member in &difference.leaving {
            self.prober_orders.give(Order::Forget(member.backend.id));
            steering.ramps.end(member.backend.id);
            steering
                .leaving
                .push(Leaving::new(Arc::clone(&member.backend), deadline));
        }
        steering.next_number = next_number;
        let is_put = steering.retune(after.clone()) || !difference.words.is_empty() || is_checked_otherwise;
        let first = steering.ramps.first();
        for member in &difference.coming {
            steering.ramps.begin(member.backend.id, Clock::now());
        }
        difference.apply_limits(after);
        self.check(&service, after, &difference, is_checked_otherwise);
        if is_put {
            let coming: HashSet<BackendId> = difference.coming.iter().map(|member| member.backend.id).collect();
            let warmed = difference.pool.changed(|member| {
                if coming.contains(&member.backend.id) {
                    member.ramp = first;
                }
            });
            steering.put(&service, warmed.unwrap_or(difference.pool));
        }
        if is_renewed {
            (Arc::new(service.renewed(build::settings(after, 0))), steering)
        } else {
            (service, steering)
        }
    }

    /// Tells the health thread whom to watch from now on, and how.
    fn check(&self, service: &Service, after: &config::Service, difference: &Difference, is_otherwise: bool) {
        let is_coming = |id| difference.coming.iter().any(|coming| coming.backend.id == id);
        for member in difference.pool.members() {
            let id = member.backend.id;
            if matches!(member.admin, Admin::Leaving | Admin::Maintenance) || !(is_otherwise || is_coming(id)) {
                continue;
            }
            match build::target(after, service.id, member) {
                Some(target) => self.prober_orders.give(Order::Watch(target)),
                None => self.prober_orders.give(Order::Forget(id)),
            }
        }
    }

    /// Also where the path is the same: the file may have been moved away by whoever rotates logs.
    fn exchange_access_log(&mut self, target: Option<Box<dyn io::Write + Send>>) {
        let drops = self.counters.access_log_drops.clone();
        let guard = match target.map(|target| self.access_log.write_to(target, drops)) {
            None => {
                self.access_log.turn_off();
                None
            }
            Some(Ok(guard)) => Some(guard),
            Some(Err(error)) => return log::error!("reload: log.access goes where it went: {error}"),
        };
        let old = std::mem::replace(&mut self.access_log_guard, guard);
        // It waits for the old file's last lines; that is nobody's time here.
        let waiting = std::thread::Builder::new()
            .name("access-log".into())
            .spawn(move || drop(old));
        if let Err(error) = waiting {
            log::debug!("reload: the old access log is closed at once: {error}");
        }
    }

    /// The rest of the file; what of it changed, in words.
    fn take_over(&mut self, config: Config) -> Vec<String> {
        let mut words = Vec::new();
        let before = std::mem::replace(&mut self.config, config);
        let after = &self.config;
        let mut differs = |differs: bool, word: &str| {
            if differs {
                words.push(word.to_owned());
            }
        };
        differs(
            before.runtime.drain_timeout != after.runtime.drain_timeout,
            "[runtime] drain_timeout",
        );
        differs(
            before.runtime.connections_max != after.runtime.connections_max,
            "[runtime] max_connections",
        );
        differs(
            before.runtime.memory_bytes_max != after.runtime.memory_bytes_max,
            "[runtime] max_memory",
        );
        differs(
            before.runtime.workers != after.runtime.workers,
            "[runtime] workers: needs a restart, nothing is changed",
        );
        let rights = |config: &Config| {
            let runtime = config.runtime.clone();
            (runtime.user, runtime.group, runtime.sandbox)
        };
        differs(
            rights(&before) != rights(after),
            "[runtime] user, group, sandbox: need a restart, nothing is changed",
        );
        differs(
            before.admin != after.admin,
            "[admin]: needs a restart, nothing is changed",
        );
        differs(
            before.history != after.history,
            "[history]: needs a restart, nothing is changed",
        );
        let level = if observe::is_told_by_environment() {
            "[log] level: RUST_LOG wins"
        } else {
            "[log] level"
        };
        differs(before.log.level != after.log.level, level);
        self.drain_timeout = after.runtime.drain_timeout;
        self.memory.set_max(after.runtime.memory_bytes_max);
        self.board.tell_drain_timeout(self.drain_timeout);
        observe::set_log_level(after.log.level);
        words
    }
}

impl Departing {
    /// Its backends leave, when nobody can be about to pick one any more.
    pub(super) fn go_on(&mut self, now: Moment) -> Vec<Order> {
        if now < self.leave_at {
            return Vec::new();
        }
        self.leave_at = Moment::NEVER;
        let deadline = now.plus(self.drain_timeout);
        let mut orders = Vec::new();
        let pool = self.service.balancer().pool().changed(|member| {
            if member.admin != Admin::Leaving {
                member.admin = Admin::Leaving;
                orders.push(Order::Forget(member.backend.id));
                self.steering
                    .leaving
                    .push(Leaving::new(Arc::clone(&member.backend), deadline));
            }
        });
        if let Some(pool) = pool {
            self.steering.put(&self.service, pool);
        }
        orders
    }

    /// Whether nothing of it is left.
    pub(super) fn is_gone(&self) -> bool {
        self.leave_at == Moment::NEVER && self.steering.leaving.is_empty()
    }
}

//! Carrying out what is asked for: backends come, change and go while everything runs.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use super::build;
use super::command::{Answer, Command, Outcome, Refusal, RefusalKind, Request};
use super::leaving::Leaving;
use super::running::Running;
use super::sockets::leads_to;
use super::steering::check_fit;
use super::view::{self, Now};
use crate::api;
use crate::config;
use crate::health::Order;
use crate::observe::End;
use crate::pool::{Admin, Health, Member, Origin, Pool};
use crate::sys::Clock;
use crate::types::BackendId;
use crate::worker;

impl Running {
    /// Carries out a command, and answers it.
    pub(super) fn obey(&mut self, request: Request) {
        let Request { command, reply } = request;
        match command {
            Command::Upgrade => self.begin_upgrade(reply),
            // A new lb has been told how everything is: what is changed now would be lost. Those who bring backends say it again there.
            _ if self.upgrade.is_some() && !matches!(command, Command::Provide { .. }) => {
                reply(Err(Refusal::under_way()))
            }
            command => reply(self.carry_out(&command)),
        }
    }

    pub(super) fn carry_out(&mut self, command: &Command) -> Outcome {
        match command {
            // `obey` has it: it is answered later.
            Command::Upgrade => Err(Refusal::under_way()),
            Command::Reload => self.reload().map(Answer::Reloaded),
            Command::Add { service, backend } => self.add(self.place(service)?, backend),
            Command::Change {
                service,
                backend,
                change,
            } => self.change(self.place(service)?, backend, change),
            Command::Remove {
                service,
                backend,
                drain,
            } => self.remove(self.place(service)?, backend, *drain),
            Command::Provide {
                service,
                bringer,
                backends,
            } => self.provide(self.place(service)?, *bringer, backends),
        }
    }

    fn place(&self, name: &str) -> Result<usize, Refusal> {
        let place = self.services.iter().position(|service| *service.name == *name);
        place.ok_or_else(|| {
            let names: Vec<&str> = self.services.iter().map(|service| &*service.name).collect();
            let message = format!(
                "no service is named \"{}\"; there is {}",
                name.escape_debug(),
                names.join(", ")
            );
            Refusal::new(RefusalKind::UnknownService, message)
        })
    }

    fn add(&mut self, place: usize, new: &api::NewBackend) -> Outcome {
        let bad = |message: String| Refusal::new(RefusalKind::BadValue, message);
        config::check_name(&new.name.0).map_err(bad)?;
        let address = config::backend_address(&new.address.0).map_err(bad)?;
        let weight = new
            .weight
            .map_or(Ok(1), |weight| config::weight(weight.0))
            .map_err(bad)?;
        if self.listens_at(address) {
            return Err(bad(format!(
                "address: found \"{address}\", wanted the address of a backend; lb itself listens there"
            )));
        }
        let count: usize = self
            .services
            .iter()
            .map(|service| service.balancer().pool().members().len())
            .sum();
        if count >= config::BACKENDS_MAX {
            let message = format!("there are {count} backends, the most that lb takes; remove some");
            return Err(Refusal::new(RefusalKind::Limit, message));
        }
        let (Some(service), Some(steering)) = (self.services.get(place), self.steering.get_mut(place)) else {
            return Err(Refusal::stopping());
        };
        let pool = service.balancer().pool().clone();
        if pool.named(&new.name.0).is_some() {
            let message = format!("{} has a backend named {} already", service.name, new.name.0);
            return Err(Refusal::new(RefusalKind::NameTaken, message));
        }
        let settings = config::Backend {
            name: new.name.0.clone(),
            address,
            weight,
            connections_max: None,
            backup: new.backup.unwrap_or(false),
            metrics: None,
        };
        let id = BackendId(self.next_backend);
        let mut member = build::member(
            &settings,
            &steering.settings,
            id,
            steering.next_number,
            self.workers_count,
        );
        member.origin = Origin::Api;
        member.ramp = steering.ramps.first();
        let pool = pool.with(member.clone());
        check_fit(&steering.settings, &pool)?;
        self.next_backend = self.next_backend.saturating_add(1);
        steering.next_number = steering.next_number.saturating_add(1);
        steering.ramps.begin(id, Clock::now());
        self.watch(place, &member);
        self.put(place, pool);
        let shown = self.shown(place, id).ok_or_else(Refusal::stopping)?;
        self.tell_of(place, &shown, "added by the API");
        Ok(Answer::Backend(shown))
    }

    fn change(&mut self, place: usize, name: &str, change: &api::BackendChange) -> Outcome {
        let weight = change.weight.map(|weight| config::weight(weight.0)).transpose();
        let weight = weight.map_err(|message| Refusal::new(RefusalKind::BadValue, message))?;
        let before = self.named(place, name)?;
        let id = before.backend.id;
        let admin = change.state.map_or(before.admin, |state| match state {
            api::WantedState::Active => Admin::Active,
            api::WantedState::Draining => Admin::Draining,
            api::WantedState::Maintenance => Admin::Maintenance,
        });
        let is_back = before.admin == Admin::Maintenance && admin != Admin::Maintenance;
        let is_leaving_checks = admin == Admin::Maintenance && before.admin != Admin::Maintenance;
        let now = Clock::now();
        let (Some(service), Some(steering)) = (self.services.get(place), self.steering.get_mut(place)) else {
            return Err(Refusal::stopping());
        };
        let first_ramp = steering.ramps.first();
        let changed = service.balancer().pool().changed(|member| {
            if member.backend.id != id {
                return;
            }
            member.weight = weight.unwrap_or(member.weight);
            member.admin = admin;
            if is_back {
                // What was found before is old: it is used until a check says otherwise, as one that is new.
                (member.health, member.health_since) = (Health::Up, now);
                member.ramp = first_ramp;
            }
        });
        if let Some(pool) = changed {
            check_fit(&steering.settings, &pool)?;
            if is_back {
                before.backend.begin_checks();
                before.backend.forget_failures();
                steering.ramps.begin(id, now);
            }
            self.put(place, pool);
            if is_leaving_checks {
                self.prober_orders.give(Order::Forget(id));
            }
            if is_back {
                self.watch(place, &before);
            }
            if let Some(shown) = self.shown(place, id) {
                self.tell_of(place, &shown, &told(&before, weight, change.state));
            }
        }
        self.shown(place, id).map(Answer::Backend).ok_or_else(Refusal::stopping)
    }

    fn remove(&mut self, place: usize, name: &str, drain: Option<Duration>) -> Outcome {
        let member = self.named(place, name)?;
        let id = member.backend.id;
        let (Some(service), Some(steering)) = (self.services.get(place), self.steering.get_mut(place)) else {
            return Err(Refusal::stopping());
        };
        let pool = service.balancer().pool().changed(|member| {
            if member.backend.id == id {
                member.admin = Admin::Leaving;
            }
        });
        steering.ramps.end(id);
        let deadline = Clock::now().plus(drain.unwrap_or(self.drain_timeout));
        steering
            .leaving
            .push(Leaving::new(Arc::clone(&member.backend), deadline));
        self.prober_orders.give(Order::Forget(id));
        if let Some(pool) = pool {
            self.put(place, pool);
        }
        let left = member.backend.active();
        let said = match left {
            0 => "removed".to_owned(),
            1 => "removed; 1 connection may finish".to_owned(),
            _ => format!("removed; {left} connections may finish"),
        };
        let shown = self.shown(place, id).ok_or_else(Refusal::stopping)?;
        self.tell_of(place, &shown, &said);
        Ok(if left == 0 {
            Answer::Gone(shown)
        } else {
            Answer::Draining(shown)
        })
    }

    /// The member of a name, as it is now.
    fn named(&self, place: usize, name: &str) -> Result<Member, Refusal> {
        let service = self.services.get(place).ok_or_else(Refusal::stopping)?;
        service.balancer().pool().named(name).cloned().ok_or_else(|| {
            let message = format!("{} has no backend named \"{}\"", service.name, name.escape_debug());
            Refusal::new(RefusalKind::UnknownBackend, message)
        })
    }

    fn shown(&self, place: usize, id: BackendId) -> Option<api::Backend> {
        let balancer = self.services.get(place)?.balancer();
        let member = balancer
            .pool()
            .members()
            .iter()
            .find(|member| member.backend.id == id)?;
        Some(view::backend(member, &Now::read()))
    }

    /// Puts a pool in force.
    fn put(&mut self, place: usize, pool: Pool) {
        if let (Some(service), Some(steering)) = (self.services.get(place), self.steering.get_mut(place)) {
            steering.put(service, pool);
        }
    }

    fn watch(&self, place: usize, member: &Member) {
        if let (Some(service), Some(steering)) = (self.services.get(place), self.steering.get(place))
            && let Some(target) = build::target(&steering.settings, service.id, member)
        {
            self.prober_orders.give(Order::Watch(target));
        }
    }

    pub(super) fn listens_at(&self, address: std::net::SocketAddr) -> bool {
        self.sockets.is_ours(address) || self.own_addresses.iter().any(|own| leads_to(address, *own))
    }

    /// Logs and tells a backend's state.
    fn tell_of(&self, place: usize, backend: &api::Backend, reason: &str) {
        let Some(service) = self.services.get(place) else {
            return;
        };
        log::info!("{}: {}: {reason}", service.name, backend.name);
        self.board
            .tell_backend(service, &backend.name, Some(backend.state), reason);
    }

    /// Lets go of those whose last session has ended, and ends those whose time is over: one order a worker, however many they are.
    pub(super) fn see_off(&mut self) {
        let now = Clock::now();
        let mut overdue = HashSet::new();
        for (service, steering) in self.services.iter().zip(&mut self.steering) {
            overdue.extend(steering.see_off(service, &self.board, now));
        }
        for departing in &mut self.departing {
            for order in departing.go_on(now) {
                self.prober_orders.give(order);
            }
            overdue.extend(departing.steering.see_off(&departing.service, &self.board, now));
        }
        let count = self.departing.len();
        self.departing.retain(|departing| !departing.is_gone());
        if self.departing.len() != count {
            self.show_departing();
        }
        if !overdue.is_empty() {
            let overdue = Arc::new(overdue);
            for worker in &self.worker_handles {
                worker.order(worker::Order::EndOn(Arc::clone(&overdue), End::BackendRemoved));
            }
        }
    }

    /// Whether anybody is on the way out.
    pub(super) fn has_leaving(&self) -> bool {
        !self.departing.is_empty() || self.steering.iter().any(|steering| !steering.leaving.is_empty())
    }
}

/// A change, in words.
fn told(before: &Member, weight: Option<u16>, state: Option<api::WantedState>) -> String {
    let mut said = Vec::new();
    if let Some(weight) = weight.filter(|weight| *weight != before.weight) {
        said.push(format!("weight {} instead of {}", weight, before.weight));
    }
    match state {
        Some(api::WantedState::Active) if before.admin != Admin::Active => said.push("in use again".to_owned()),
        Some(api::WantedState::Draining) if before.admin != Admin::Draining => {
            said.push("draining: no new connections".to_owned());
        }
        Some(api::WantedState::Maintenance) if before.admin != Admin::Maintenance => {
            said.push("maintenance: neither connections nor checks".to_owned());
        }
        _ => {}
    }
    said.join(", ")
}

//! How the pool of one service is changed, and what is remembered for that. The control thread's alone.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use super::board::{Board, Event};
use super::build::policy;
use super::command::{Refusal, RefusalKind};
use super::leaving::Leaving;
use super::ramps::Ramps;
use super::view::{self, Now};
use crate::api;
use crate::balance::{Balancer, PolicyName};
use crate::config;
use crate::health::Change;
use crate::pool::{Admin, Health, Pool};
use crate::service::Service;
use crate::sys::Clock;

/// How a service's pool is changed.
pub(super) struct Steering {
    /// Its part of the file, which new backends follow too.
    pub(super) settings: config::Service,
    policy: PolicyName,
    pub(super) ramps: Ramps,
    /// How long it took to make the balancer in force.
    pub(super) rebuild: Duration,
    /// Of the next backend; see [`Member::number`](crate::pool::Member::number).
    pub(super) next_number: u32,
    /// Backends on their way out.
    pub(super) leaving: Vec<Leaving>,
}

impl Steering {
    pub(super) fn new(settings: config::Service) -> Self {
        Self {
            policy: policy(settings.balance),
            ramps: Ramps::new(settings.health.slow_start),
            rebuild: Duration::ZERO,
            next_number: u32::try_from(settings.backends.len())
                .unwrap_or(u32::MAX)
                .saturating_add(1),
            leaving: Vec::new(),
            settings,
        }
    }

    /// Whether the policy has a place for each member.
    pub(super) fn check_fit(&self, pool: &Pool) -> Result<(), Refusal> {
        let staying = pool.members().iter().filter(|member| member.admin != Admin::Leaving);
        let shapes: Vec<(u16, bool)> = staying.map(|member| (member.weight, member.backup)).collect();
        self.settings.balance.misfit(&shapes).map_or(Ok(()), |misfit| {
            let config::Misfit { key, found, wanted } = misfit;
            let message = format!("{}: {key} = {found} doesn't fit, wanted {wanted}", self.settings.name);
            Err(Refusal::new(RefusalKind::Limit, message))
        })
    }

    /// Puts a pool in force.
    pub(super) fn put(&mut self, service: &Service, pool: Pool) {
        let began = Clock::now();
        service.swap_balancer(Balancer::new(pool, self.policy));
        self.rebuild = Clock::now().since(began);
    }

    /// Puts in force what follows from these verdicts and from the time, and says so once.
    pub(super) fn apply(&mut self, service: &Service, board: &Board, changes: &[&Change]) {
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
            if let Some(health) = verdicts.get(&id)
                && *health != member.health
            {
                (member.health, member.health_since) = (*health, now);
            }
            member.ramp = self.ramps.of(id, now);
        });
        self.ramps.tidy(now);
        let Some(pool) = changed else { return };
        let is_empty = pool.eligible().is_empty();
        self.put(service, pool.clone());
        tell(service, board, &pool, changes);
        if is_empty && !before.pool().eligible().is_empty() {
            log::error!(
                "{}: no backend is up; its clients are refused until one is",
                service.name
            );
        }
    }
}

fn tell(service: &Service, board: &Board, pool: &Pool, changes: &[&Change]) {
    if changes.is_empty() {
        return;
    }
    let members: HashMap<_, _> = pool
        .members()
        .iter()
        .map(|member| (member.backend.id, member))
        .collect();
    for change in changes {
        let Some(member) = members.get(&change.backend) else {
            continue;
        };
        let name: &Arc<str> = &member.backend.name;
        match change.health {
            Health::Up => log::info!("{}: {name} is up: {}", service.name, change.reason),
            Health::Down => log::warn!("{}: {name} is down: {}", service.name, change.reason),
        }
        board.tell(Event::Backend(api::BackendEvent {
            time: Now::read().text(),
            service: service.name.to_string(),
            backend: name.to_string(),
            state: Some(view::state(member)),
            reason: change.reason.clone(),
        }));
    }
}

//! How the pool of one service is changed, and what is remembered for that. The control thread's alone.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use super::board::Board;
use super::build::policy;
use super::command::{Refusal, RefusalKind};
use super::leaving::Leaving;
use super::provide::Bringer;
use super::ramps::Ramps;
use super::view;
use crate::balance::{Balancer, PolicyName};
use crate::config;
use crate::health::Change;
use crate::pool::{Admin, BackendTotals, Health, Member, Pool, Ramp};
use crate::service::Service;
use crate::sys::Clock;
use crate::types::{BackendId, Moment};

/// Whether the policy has a place for each member.
pub(super) fn check_fit(settings: &config::Service, pool: &Pool) -> Result<(), Refusal> {
    let staying = pool.members().iter().filter(|member| member.admin != Admin::Leaving);
    let shapes: Vec<(u16, bool)> = staying.map(|member| (member.weight, member.backup)).collect();
    settings.balance.misfit(&shapes).map_or(Ok(()), |misfit| {
        let config::Misfit { key, found, wanted } = misfit;
        let message = format!("{}: {key} = {found} doesn't fit, wanted {wanted}", settings.name);
        Err(Refusal::new(RefusalKind::Limit, message))
    })
}

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
    /// What those said last who bring backends.
    pub(super) provided: HashMap<Bringer, Vec<config::Backend>>,
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
            provided: HashMap::new(),
            settings,
        }
    }

    /// Follows another part of the file. Whether the policy is another.
    pub(super) fn retune(&mut self, settings: config::Service) -> bool {
        if self.settings.health.slow_start != settings.health.slow_start {
            self.ramps = Ramps::new(settings.health.slow_start);
        }
        let is_another = self.settings.balance != settings.balance;
        self.policy = policy(settings.balance);
        self.settings = settings;
        is_another
    }

    /// Puts a pool in force.
    pub(super) fn put(&mut self, service: &Service, pool: Pool) {
        let began = Clock::now();
        let had_any = !service.balancer().pool().eligible().is_empty();
        if had_any && pool.eligible().is_empty() {
            log::error!(
                "{}: no backend is up; its clients are refused until one is",
                service.name
            );
        }
        service.swap_balancer(Balancer::new(pool, self.policy));
        self.rebuild = Clock::now().since(began);
    }

    /// Lets go of those whose last session has ended. Whose time is over is returned: their sessions are to be ended.
    pub(super) fn see_off(&mut self, service: &Service, board: &Board, now: Moment) -> Vec<BackendId> {
        let unlisted: HashMap<BackendId, BackendTotals> = self.leaving.iter_mut().filter_map(Leaving::unlist).collect();
        if !unlisted.is_empty() {
            let pool = service.balancer().pool().without(&unlisted);
            let gone = self
                .leaving
                .iter()
                .filter(|leaving| unlisted.contains_key(&leaving.backend.id));
            let names: Vec<Arc<str>> = gone
                .filter(|leaving| pool.named(&leaving.backend.name).is_none())
                .map(|leaving| Arc::clone(&leaving.backend.name))
                .collect();
            self.put(service, pool);
            for name in names {
                board.tell_backend(service, &name, None, "gone");
            }
        }
        let mut late = BackendTotals::default();
        self.leaving.retain(|leaving| {
            let more = leaving.gone();
            late = late.plus(&more.unwrap_or_default());
            more.is_none()
        });
        if late != BackendTotals::default() {
            self.put(service, service.balancer().pool().with_retired(&late));
        }
        let overdue = self
            .leaving
            .iter_mut()
            .filter_map(|leaving| leaving.overdue(now, &service.name));
        overdue.collect()
    }

    /// Puts in force what follows from these verdicts and from the time, and says so once.
    pub(super) fn apply(&mut self, service: &Service, board: &Board, changes: &[&Change]) {
        let now = Clock::now();
        let before = service.balancer();
        if !self.ramps.is_any() && changes.iter().all(|change| known(before.pool(), change).is_some()) {
            // At a start every backend's first good check is told: no reason to look at all the others each time.
            for change in changes {
                if let Some(member) = known(before.pool(), change) {
                    tell(service, board, member, member, Some(change));
                }
            }
            return;
        }
        // Of several on one backend the last one counts; what an older row of checks found doesn't.
        let verdicts: HashMap<BackendId, &Change> = changes.iter().map(|change| (change.backend, *change)).collect();
        let verdict = |member: &Member| {
            let change = verdicts.get(&member.backend.id)?;
            (change.row == member.backend.check_row()).then_some(*change)
        };
        for member in before.pool().members() {
            match verdict(member).map(|change| change.health) {
                Some(Health::Up) if member.health == Health::Down => self.ramps.begin(member.backend.id, now),
                Some(Health::Down) => self.ramps.end(member.backend.id),
                _ => {}
            }
        }
        let changed = before.pool().changed(|member| {
            if let Some(change) = verdict(member)
                && change.health != member.health
            {
                (member.health, member.health_since) = (change.health, now);
            }
            member.ramp = self.ramps.of(member.backend.id, now);
        });
        self.ramps.tidy(now);
        if let Some(pool) = changed {
            self.put(service, pool);
        }
        let after = service.balancer();
        for (was, is) in before.pool().members().iter().zip(after.pool().members()) {
            tell(service, board, was, is, verdict(is));
        }
    }
}

/// The member that a change is about, if it says nothing new of it.
fn known<'p>(pool: &'p Pool, change: &Change) -> Option<&'p Member> {
    let member = pool.find(change.backend)?;
    (member.health == change.health && member.backend.check_row() == change.row).then_some(member)
}

/// Says what became of a member.
fn tell(service: &Service, board: &Board, was: &Member, is: &Member, change: Option<&Change>) {
    let name = &is.backend.name;
    let has_changed = was.health != is.health;
    let reason = match change {
        Some(change) => &change.reason,
        None if was.ramp != is.ramp && is.ramp == Ramp::FULL => "it has all its weight",
        None => return,
    };
    match (has_changed, is.health) {
        (true, Health::Up) => log::info!("{}: {name} is up: {reason}", service.name),
        (true, Health::Down) => log::warn!("{}: {name} is down: {reason}", service.name),
        (false, _) => log::debug!("{}: {name}: {reason}", service.name),
    }
    board.tell_backend(service, name, Some(view::state(is)), reason);
}

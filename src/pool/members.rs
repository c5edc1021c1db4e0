//! The pool of a service at one moment.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::backend::{Backend, BackendTotals};
use crate::types::{BackendId, HttpUrl, Moment};

/// What the checks say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    /// It answers, or nobody has looked yet: backends start up optimistically.
    Up,
    /// It doesn't.
    Down,
}

/// What the operator wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Admin {
    /// In use.
    Active,
    /// No new session; the old ones live.
    Draining,
    /// The same, and nobody checks it.
    Maintenance,
    /// Removed: its sessions live to a deadline, and its name may be another's by now.
    Leaving,
}

/// Who brought a backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Origin {
    /// lb.toml.
    Config,
    /// The API.
    Api,
    /// lb keeps its process alive itself.
    Managed,
    /// It was found.
    Discovery,
}

/// How much of its weight a backend has got back since it came up: slow start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ramp(u8);

impl Ramp {
    /// Steps from nothing to all.
    pub const STEPS: u8 = 10;
    /// All of it.
    pub const FULL: Self = Self(Self::STEPS);

    /// What it has `since` it came up, if it takes `whole` to get all back: a tenth at first, then a tenth more for each ninth of
    /// that time.
    #[must_use]
    pub fn after(since: Duration, whole: Duration) -> Self {
        let ninths = since
            .as_nanos()
            .saturating_mul(u128::from(Self::STEPS.saturating_sub(1)))
            .checked_div(whole.as_nanos());
        let ninths = ninths
            .and_then(|ninths| u8::try_from(ninths).ok())
            .unwrap_or(Self::STEPS);
        Self(ninths.saturating_add(1).min(Self::STEPS))
    }

    /// Tenths, 1 to 10.
    #[must_use]
    pub const fn tenths(self) -> u8 {
        self.0
    }
}

/// A backend in a pool.
#[derive(Clone, Debug)]
pub struct Member {
    /// The backend.
    pub backend: Arc<Backend>,
    /// Its number in the service, from 1 in the order of the file. It stays the same for as long as the backend is there, whoever
    /// else comes or goes.
    pub number: u32,
    /// 0 = takes no new session.
    pub weight: u16,
    /// Used only while no other is up.
    pub backup: bool,
    /// What the checks say.
    pub health: Health,
    /// Since when they say so.
    pub health_since: Moment,
    /// What the operator wants.
    pub admin: Admin,
    /// Who brought it.
    pub origin: Origin,
    /// Where its process tells of itself.
    pub metrics: Option<Arc<HttpUrl>>,
    /// How much of its weight counts.
    pub ramp: Ramp,
}

impl Member {
    /// A backend in use, with nothing against it.
    #[must_use]
    pub const fn new(backend: Arc<Backend>, number: u32, weight: u16) -> Self {
        Self {
            backend,
            number,
            weight,
            backup: false,
            health: Health::Up,
            health_since: Moment::START,
            admin: Admin::Active,
            origin: Origin::Config,
            metrics: None,
            ramp: Ramp::FULL,
        }
    }

    /// Its part of the load, beside those of the others: the weight in steps of the ramp.
    #[must_use]
    pub fn share(&self) -> u32 {
        u32::from(self.weight).saturating_mul(u32::from(self.ramp.tenths()))
    }

    fn state(&self) -> (u16, bool, Health, Admin, Ramp) {
        (self.weight, self.backup, self.health, self.admin, self.ramp)
    }

    /// Whether a new session may go to it at all; whether it is full is another question, asked at each pick.
    #[must_use]
    pub const fn is_eligible(&self) -> bool {
        self.weight > 0 && matches!(self.health, Health::Up) && matches!(self.admin, Admin::Active)
    }
}

/// All backends of a service, and those that a new session may go to.
#[derive(Clone, Debug, Default)]
pub struct Pool {
    members: Box<[Member]>,
    eligible: Box<[Member]>,
    /// The places of the eligible ones, sorted by identity.
    by_id: Box<[(BackendId, u32)]>,
    /// What those had seen that were members once: together with the members', it never falls.
    retired: BackendTotals,
}

impl Pool {
    /// The pool of these members. Backups are eligible only while no other member is.
    #[must_use]
    pub fn new(members: Vec<Member>) -> Self {
        let choose = |backup: bool| -> Box<[Member]> {
            members
                .iter()
                .filter(|member| member.is_eligible() && member.backup == backup)
                .cloned()
                .collect()
        };
        let mut eligible = choose(false);
        if eligible.is_empty() {
            eligible = choose(true);
        }
        let mut by_id: Box<[_]> = eligible.iter().map(|member| member.backend.id).zip(0..).collect();
        by_id.sort_unstable();
        Self {
            members: members.into(),
            eligible,
            by_id,
            retired: BackendTotals::default(),
        }
    }

    /// The same pool with these members instead; nobody of it is missing.
    #[must_use]
    pub fn with_members(&self, members: Vec<Member>) -> Self {
        Self {
            retired: self.retired,
            ..Self::new(members)
        }
    }

    /// The same pool without some members, with what they had seen by now.
    #[must_use]
    pub fn without(&self, gone: &HashMap<BackendId, BackendTotals>) -> Self {
        let left = self
            .members
            .iter()
            .filter(|member| !gone.contains_key(&member.backend.id));
        let retired = gone.values().fold(self.retired, |sum, totals| sum.plus(totals));
        Self {
            retired,
            ..Self::new(left.cloned().collect())
        }
    }

    /// The same pool, when a retired one has seen more since.
    #[must_use]
    pub fn with_retired(&self, more: &BackendTotals) -> Self {
        Self {
            retired: self.retired.plus(more),
            ..self.clone()
        }
    }

    /// What those had seen that were members once.
    #[must_use]
    pub const fn retired(&self) -> &BackendTotals {
        &self.retired
    }

    /// What all have seen, those that are gone among them.
    #[must_use]
    pub fn totals(&self) -> BackendTotals {
        let members = self.members.iter();
        members.fold(self.retired, |sum, member| sum.plus(&member.backend.totals()))
    }

    /// Every member.
    #[must_use]
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// Those that a new session may go to, in the order of the members.
    #[must_use]
    pub fn eligible(&self) -> &[Member] {
        &self.eligible
    }

    /// The member of this name, unless it is leaving. O(backends).
    #[must_use]
    pub fn named(&self, name: &str) -> Option<&Member> {
        self.members
            .iter()
            .find(|member| *member.backend.name == *name && member.admin != Admin::Leaving)
    }

    /// The eligible member that is this backend. O(log backends).
    #[must_use]
    pub fn find(&self, backend: BackendId) -> Option<&Member> {
        let found = self.by_id.binary_search_by_key(&backend, |(id, _)| *id).ok()?;
        let (_, place) = self.by_id.get(found)?;
        self.eligible.get(usize::try_from(*place).ok()?)
    }

    /// The same pool with one more at its end.
    #[must_use]
    pub fn with(&self, member: Member) -> Self {
        self.with_members(self.members.iter().cloned().chain([member]).collect())
    }

    /// The same pool after `change` was done to each member. `None` if that changes nothing.
    #[must_use]
    pub fn changed(&self, mut change: impl FnMut(&mut Member)) -> Option<Self> {
        let mut members = self.members.to_vec();
        members.iter_mut().for_each(&mut change);
        let is_news = members
            .iter()
            .zip(&self.members)
            .any(|(after, before)| after.state() != before.state());
        is_news.then(|| self.with_members(members))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::BackendAddr;

    fn member(id: u32, weight: u16, backup: bool) -> Member {
        let address = BackendAddr("127.0.0.1:1".parse().unwrap());
        let backend = Arc::new(Backend::new(BackendId(id), &format!("b{id}"), address, None, 3, 1));
        Member {
            backup,
            ..Member::new(backend, id, weight)
        }
    }

    fn judged(pool: &Pool, id: u32, health: Health) -> Option<Pool> {
        pool.changed(|member| {
            if member.backend.id == BackendId(id) {
                member.health = health;
            }
        })
    }

    fn eligible(pool: &Pool) -> Vec<u32> {
        pool.eligible().iter().map(|member| member.backend.id.0).collect()
    }

    #[test]
    fn backups_are_used_only_while_no_other_is_up() {
        let pool = Pool::new(vec![member(1, 1, false), member(2, 1, true), member(3, 0, false)]);
        assert_eq!(eligible(&pool), [1]);
        let pool = judged(&pool, 1, Health::Down).unwrap();
        assert_eq!(eligible(&pool), [2]);
        let pool = judged(&pool, 2, Health::Down).unwrap();
        assert!(eligible(&pool).is_empty());
        let pool = judged(&pool, 1, Health::Up).unwrap();
        assert_eq!(eligible(&pool), [1]);
    }

    #[test]
    fn a_verdict_that_changes_nothing_makes_no_new_pool() {
        let pool = Pool::new(vec![member(1, 1, false)]);
        assert!(judged(&pool, 1, Health::Up).is_none());
        assert!(judged(&pool, 9, Health::Down).is_none());
    }

    #[test]
    fn only_an_eligible_backend_is_found() {
        let pool = Pool::new(vec![member(7, 1, false), member(3, 0, false), member(5, 1, false)]);
        let found = |id| pool.find(BackendId(id)).map(|member| member.backend.id.0);
        assert_eq!([7, 3, 5, 4].map(found), [Some(7), None, Some(5), None]);
    }

    #[test]
    fn a_ramp_begins_at_a_tenth_and_is_over_in_its_time() {
        let whole = Duration::from_secs(9);
        let tenths = |millis| Ramp::after(Duration::from_millis(millis), whole).tenths();
        assert_eq!([0, 999, 1000, 8999, 9000, 1_000_000].map(tenths), [1, 1, 2, 9, 10, 10]);
        assert_eq!(Ramp::after(Duration::ZERO, Duration::ZERO), Ramp::FULL);
    }
}

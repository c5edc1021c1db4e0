//! The pool of a service at one moment.

use std::collections::HashMap;
use std::sync::Arc;

use super::backend::Backend;
use crate::types::BackendId;

/// What the checks say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    /// It answers, or nobody has looked yet: backends start up optimistically.
    Up,
    /// It doesn't.
    Down,
}

/// What the operator wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admin {
    /// In use.
    Active,
    /// No new session; the old ones live.
    Draining,
}

/// A backend in a pool.
#[derive(Clone, Debug)]
pub struct Member {
    /// The backend.
    pub backend: Arc<Backend>,
    /// 0 = takes no new session.
    pub weight: u16,
    /// Used only while no other is up.
    pub backup: bool,
    /// What the checks say.
    pub health: Health,
    /// What the operator wants.
    pub admin: Admin,
}

impl Member {
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
        Self {
            members: members.into(),
            eligible,
        }
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

    /// The same pool with other verdicts on some backends. `None` if that changes nothing.
    #[must_use]
    pub fn with_health(&self, verdicts: &HashMap<BackendId, Health>) -> Option<Self> {
        let mut members = self.members.to_vec();
        let mut is_news = false;
        for member in &mut members {
            if let Some(health) = verdicts
                .get(&member.backend.id)
                .filter(|health| **health != member.health)
            {
                member.health = *health;
                is_news = true;
            }
        }
        is_news.then(|| Self::new(members))
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
            backend,
            weight,
            backup,
            health: Health::Up,
            admin: Admin::Active,
        }
    }

    fn eligible(pool: &Pool) -> Vec<u32> {
        pool.eligible().iter().map(|member| member.backend.id.0).collect()
    }

    #[test]
    fn backups_are_used_only_while_no_other_is_up() {
        let pool = Pool::new(vec![member(1, 1, false), member(2, 1, true), member(3, 0, false)]);
        assert_eq!(eligible(&pool), [1]);
        let pool = pool
            .with_health(&HashMap::from([(BackendId(1), Health::Down)]))
            .unwrap();
        assert_eq!(eligible(&pool), [2]);
        let pool = pool
            .with_health(&HashMap::from([(BackendId(2), Health::Down)]))
            .unwrap();
        assert!(eligible(&pool).is_empty());
        let pool = pool.with_health(&HashMap::from([(BackendId(1), Health::Up)])).unwrap();
        assert_eq!(eligible(&pool), [1]);
    }

    #[test]
    fn a_verdict_that_changes_nothing_makes_no_new_pool() {
        let pool = Pool::new(vec![member(1, 1, false)]);
        assert!(pool.with_health(&HashMap::from([(BackendId(1), Health::Up)])).is_none());
        assert!(
            pool.with_health(&HashMap::from([(BackendId(9), Health::Down)]))
                .is_none()
        );
    }
}

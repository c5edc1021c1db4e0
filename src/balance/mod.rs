//! Which backend takes this connection: one file a policy, each pure: (pool, key) -> choice.
//!
//! Called by the workers at each pick; built by `control` whenever a pool changes, off the data path. A pick allocates nothing,
//! locks nothing, opens no socket and reads no clock. Every policy ends for every pool: what is down, full, of weight 0 or
//! excluded is passed over, and when nothing is left there is no choice.

mod least_connections;
mod round_robin;
#[cfg(test)]
mod tests;

use crate::pool::{BackendGuard, Member, Pool};
use crate::types::BackendId;

use round_robin::Schedule;

/// The name of a policy, as in `balance`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PolicyName {
    /// Smooth weighted round robin.
    RoundRobin,
    /// Fewest live sessions for its weight.
    LeastConnections,
}

impl PolicyName {
    /// Every policy: what is asserted and measured of each.
    pub const ALL: [Self; 2] = [Self::RoundRobin, Self::LeastConnections];
}

/// A pool with what its policy has worked out for it. Immutable: swapped whole, so the two can't disagree.
#[derive(Debug)]
pub struct Balancer {
    pool: Pool,
    policy: Policy,
}

#[derive(Debug)]
enum Policy {
    RoundRobin(Schedule),
    LeastConnections,
}

/// What a pick goes by.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// A number that each pick of the service draws anew: 0, 1, 2, … over all workers together.
    pub turn: u64,
}

/// A backend that a policy chose.
#[derive(Clone, Copy, Debug)]
struct Choice<'a> {
    member: &'a Member,
    /// The choice stands only while the backend has this many sessions.
    seen: Option<u32>,
}

impl Balancer {
    /// Works out what `policy` needs for `pool`.
    #[must_use]
    pub fn new(pool: Pool, policy: PolicyName) -> Self {
        let policy = match policy {
            PolicyName::RoundRobin => {
                Policy::RoundRobin(Schedule::new(pool.eligible().iter().map(|member| member.weight)))
            }
            PolicyName::LeastConnections => Policy::LeastConnections,
        };
        Self { pool, policy }
    }

    /// The pool.
    #[must_use]
    pub const fn pool(&self) -> &Pool {
        &self.pool
    }

    /// Chooses a backend that isn't `excluded`, and takes a hold on it. `None`: no backend can take the connection.
    #[must_use]
    pub fn pick(&self, key: Key, excluded: &[BackendId]) -> Option<BackendGuard> {
        loop {
            let choice = match &self.policy {
                Policy::RoundRobin(schedule) => schedule.choose(self.pool.eligible(), key, excluded),
                Policy::LeastConnections => least_connections::choose(self.pool.eligible(), key, excluded),
            }?;
            let guard = match choice.seen {
                None => BackendGuard::take(&choice.member.backend),
                Some(seen) => BackendGuard::take_if_active(&choice.member.backend, seen),
            };
            // Refused: another worker was quicker, so what the policy saw isn't true any more. It has got its session,
            // so somebody always gets on, and the next look sees the backend as it is now.
            if guard.is_some() {
                return guard;
            }
        }
    }
}

/// Whether a pick may choose this member now.
fn may_take(member: &Member, excluded: &[BackendId]) -> bool {
    member.backend.has_room() && !excluded.contains(&member.backend.id)
}

/// Where to begin among `count` members: each turn one further.
fn start(turn: u64, count: usize) -> usize {
    let rest = turn.checked_rem(u64::try_from(count).unwrap_or(u64::MAX)).unwrap_or(0);
    usize::try_from(rest).unwrap_or(0)
}

/// All members, beginning at `start`.
fn from(members: &[Member], start: usize) -> impl Iterator<Item = &Member> {
    let (before, after) = members.split_at_checked(start).unwrap_or((&[], members));
    after.iter().chain(before)
}

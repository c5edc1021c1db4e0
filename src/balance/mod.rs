//! Which backend takes this connection: one file a policy, each pure: (pool, key) -> choice.
//!
//! Called by the workers at each pick; built by `control` whenever a pool changes, off the data path. A pick allocates nothing,
//! locks nothing, opens no socket and reads no clock. Every policy ends for every pool: what is down, full, of weight 0 or
//! excluded is passed over, and when nothing is left there is no choice.

mod bound;
mod dice;
mod fastest;
mod key;
mod least_connections;
mod lots;
mod maglev;
mod points;
mod policy;
mod quadratic;
mod quotas;
mod random_two;
mod ring;
mod round_robin;
mod schedule;
#[cfg(test)]
mod tests;
mod wheel;

pub use bound::LoadFactor;
pub use dice::dice;
pub use key::{HashKey, Key};
pub use policy::PolicyName;

use crate::pool::{BackendGuard, Member, Pool};
use crate::types::BackendId;

use least_connections::LeastConnections;
use lots::Lots;
use round_robin::Schedule;
use wheel::Wheel;

/// A pool with what its policy has worked out for it. Immutable: swapped whole, so the two can't disagree.
#[derive(Debug)]
pub struct Balancer {
    pool: Pool,
    policy: Policy,
}

#[derive(Debug)]
enum Policy {
    RoundRobin(Schedule),
    LeastConnections(LeastConnections),
    RandomTwo(Lots),
    Fastest(Lots),
    Hashed(Wheel),
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
        let members = pool.eligible();
        let policy = match policy {
            PolicyName::RoundRobin => Policy::RoundRobin(Schedule::new(members)),
            PolicyName::LeastConnections => Policy::LeastConnections(LeastConnections::new(members)),
            PolicyName::RandomTwo => Policy::RandomTwo(Lots::new(members)),
            PolicyName::Fastest => Policy::Fastest(Lots::new(members)),
            PolicyName::Ring { virtual_nodes, bound } => Policy::Hashed(ring::wheel(&pool, virtual_nodes, bound)),
            PolicyName::QuadraticRing {
                slots,
                virtual_nodes,
                bound,
            } => Policy::Hashed(quadratic::wheel(members, slots, virtual_nodes, bound)),
            PolicyName::Maglev { slots, bound } => Policy::Hashed(maglev::wheel(members, slots, bound)),
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
        let members = self.pool.eligible();
        loop {
            let choice = match &self.policy {
                Policy::RoundRobin(schedule) => schedule.choose(members, key, excluded),
                Policy::LeastConnections(policy) => policy.choose(members, key, excluded),
                Policy::RandomTwo(lots) => random_two::choose(lots, members, key, excluded),
                Policy::Fastest(lots) => fastest::choose(lots, members, key, excluded),
                Policy::Hashed(wheel) => wheel.choose(members, key, excluded),
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

/// Draws of a pick before it looks at everyone in plain order: of 20 backends with one free, it misses that one in 4 % of the picks.
const DRAWS: u64 = 64;

/// More dice for the same pick.
fn draws(key: Key) -> impl Iterator<Item = u64> {
    (0..DRAWS).map(move |number| dice(key.dice, number))
}

/// A number below `end` from the lower 32 of random bits, even to 1 in 2^32 / end (Lemire, "Fast Random Integer Generation in an
/// Interval", 2019).
const fn below(bits: u64, end: u64) -> u64 {
    (bits & u32::MAX as u64).wrapping_mul(end) >> 32
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

//! Smooth weighted round robin: each backend as often as its weight says, and never in clumps.
//!
//! The order is that of nginx (commit 52327e0627f4, "smooth weighted round-robin"): at each step everyone gains its weight, the
//! richest is taken and pays the sum of all. It repeats after sum(weights) / gcd(weights) steps, so it is worked out once
//! ([`schedule`]), and a pick is one look at a table. That makes it exact over all workers together: they share one counter and
//! nothing else.

use super::{Choice, Key, from, may_take, schedule, start};
use crate::pool::Member;
use crate::types::BackendId;

/// How far a pick looks ahead in the table for somebody free, before it takes the next member in plain order.
const LOOK_AHEAD: usize = 64;

/// The order of one round, as places in the list of eligible members.
#[derive(Debug)]
pub(super) struct Schedule(Box<[u32]>);

impl Schedule {
    /// For these members.
    pub(super) fn new(members: &[Member]) -> Self {
        Self(schedule::round(members.iter().map(Member::share).collect()))
    }

    /// Whose turn it is; who can't take it is passed over.
    pub(super) fn choose<'a>(&self, members: &'a [Member], key: Key, excluded: &[BackendId]) -> Option<Choice<'a>> {
        let first = start(key.turn, self.0.len());
        let (before, after) = self.0.split_at_checked(first)?;
        let scheduled = after.iter().chain(before).take(LOOK_AHEAD);
        scheduled
            .filter_map(|place| members.get(usize::try_from(*place).ok()?))
            .chain(from(members, start(key.turn, members.len())))
            .find(|member| may_take(member, excluded))
            .map(|member| Choice { member, seen: None })
    }
}

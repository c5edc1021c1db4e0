//! Smooth weighted round robin: each backend as often as its weight says, and never in clumps.
//!
//! The order is that of nginx (commit 52327e0627f4, "smooth weighted round-robin"): at each step everyone gains its weight, the
//! richest is taken and pays the sum of all. It repeats after sum(weights) / gcd(weights) steps, so it is worked out once
//! ([`schedule`]), and a pick is one look at a table. That makes it exact over all workers together: they share one counter and
//! nothing else.

use super::{Choice, Key, below, draws, from, may_take, schedule, start};
use crate::pool::Member;
use crate::types::BackendId;

/// The order of one round, as places in the list of eligible members.
#[derive(Debug)]
pub(super) struct Schedule(Box<[u32]>);

impl Schedule {
    /// For these members.
    pub(super) fn new(members: &[Member]) -> Self {
        Self(schedule::round(
            members.iter().map(Member::share).collect(),
            schedule::STEPS_MAX,
        ))
    }

    /// Whose turn it is. Who can't take it leaves it to one that the dice draw from the whole round: the next in it would get the
    /// turns of all before it that are full.
    pub(super) fn choose<'a>(&self, members: &'a [Member], key: Key, excluded: &[BackendId]) -> Option<Choice<'a>> {
        let count = self.0.len();
        let drawn = draws(key).map(|bits| {
            let place = below(bits, u64::try_from(count).unwrap_or(u64::MAX));
            usize::try_from(place).unwrap_or(usize::MAX)
        });
        std::iter::once(start(key.turn, count))
            .chain(drawn)
            .filter_map(|place| members.get(usize::try_from(*self.0.get(place)?).ok()?))
            .chain(from(members, start(key.dice, members.len())))
            .find(|member| may_take(member, excluded))
            .map(|member| Choice { member, seen: None })
    }
}

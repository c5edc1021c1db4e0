//! Smooth weighted round robin: each backend as often as its weight says, and never in clumps.
//!
//! The order is that of nginx (commit 52327e0627f4, "smooth weighted round-robin"): at each step everyone gains its weight, the
//! richest is taken and pays the sum of all. It repeats after sum(weights) / gcd(weights) steps, so it is worked out once, and a
//! pick is one look at a table. That makes it exact over all workers together: they share one counter and nothing else.

use super::{Choice, Key, from, may_take, start};
use crate::pool::Member;
use crate::types::BackendId;

/// How far a pick looks ahead in the table for somebody free, before it takes the next member in plain order.
const LOOK_AHEAD: usize = 64;

/// The order of one round, as places in the list of eligible members.
#[derive(Debug)]
pub(super) struct Schedule(Box<[u32]>);

/// The members of one weight. They have gained the same, so the one that has been taken least is the richest of them, and they
/// come in turn: a step compares weights (at most 256), not members.
struct Class {
    weight: i64,
    members: Vec<u32>,
    taken: usize,
}

impl Class {
    /// What its next member has after `step` gains, and who that is.
    fn richest(&self, step: i64, total: i64) -> (i64, u32) {
        let count = self.members.len();
        let rounds = i64::try_from(self.taken.checked_div(count).unwrap_or(0)).unwrap_or(i64::MAX);
        let next = self
            .members
            .get(self.taken.checked_rem(count).unwrap_or(0))
            .copied()
            .unwrap_or(0);
        (
            step.saturating_mul(self.weight)
                .saturating_sub(rounds.saturating_mul(total)),
            next,
        )
    }
}

impl Schedule {
    /// The order for these weights, none of them 0.
    pub(super) fn new(weights: impl Iterator<Item = u16>) -> Self {
        let weights: Vec<u16> = weights.collect();
        let divisor = weights.iter().copied().fold(0, gcd).max(1);
        let mut classes: Vec<Class> = Vec::new();
        for (place, weight) in (0_u32..).zip(weights) {
            let weight = i64::from(weight.checked_div(divisor).unwrap_or(weight));
            match classes.iter_mut().find(|class| class.weight == weight) {
                Some(class) => class.members.push(place),
                None => classes.push(Class {
                    weight,
                    members: vec![place],
                    taken: 0,
                }),
            }
        }
        let total = classes.iter().fold(0_i64, |sum, class| {
            sum.saturating_add(
                class
                    .weight
                    .saturating_mul(i64::try_from(class.members.len()).unwrap_or(i64::MAX)),
            )
        });
        let order = (1..=total).filter_map(|step| {
            // The richest; of equals the first in the list.
            let best = classes.iter_mut().max_by_key(|class| {
                let (wealth, place) = class.richest(step, total);
                (wealth, std::cmp::Reverse(place))
            })?;
            let (_, place) = best.richest(step, total);
            best.taken = best.taken.saturating_add(1);
            Some(place)
        });
        Self(order.collect())
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

fn gcd(a: u16, b: u16) -> u16 {
    match a.checked_rem(b) {
        None => a,
        Some(rest) => gcd(b, rest),
    }
}

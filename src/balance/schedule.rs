//! One round of smooth weighted round robin, worked out ahead of time by whoever changes a pool. May not: be called by a pick.

use std::collections::HashMap;

/// Comparisons that a round may cost to work out: some tenths of a second, on the thread that changes pools. Beyond that weights are
/// rounded, to twice the unit and twice again: thousands of backends with hundreds of different weights, in slow start.
const STEPS_MAX: i64 = 1 << 29;

/// The members of one weight. They have gained the same, so the one that has been taken least is the richest of them, and they
/// come in turn: a step compares weights, not members.
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

/// Members by their weights.
fn classes(weights: &[u32]) -> Vec<Class> {
    let mut classes: HashMap<u32, Class> = HashMap::new();
    for (place, weight) in (0_u32..).zip(weights) {
        let class = classes.entry(*weight).or_insert_with(|| Class {
            weight: i64::from(*weight),
            members: Vec::new(),
            taken: 0,
        });
        class.members.push(place);
    }
    classes.into_values().collect()
}

/// The turns of a round: the sum of all weights.
fn total(classes: &[Class]) -> i64 {
    classes.iter().fold(0_i64, |sum, class| {
        let count = i64::try_from(class.members.len()).unwrap_or(i64::MAX);
        sum.saturating_add(class.weight.saturating_mul(count))
    })
}

/// Comparisons to work a round out.
fn steps(classes: &[Class]) -> i64 {
    total(classes).saturating_mul(i64::try_from(classes.len()).unwrap_or(i64::MAX))
}

/// The order for these weights, none of them 0.
pub(super) fn round(mut weights: Vec<u32>) -> Box<[u32]> {
    let divisor = weights.iter().copied().fold(0, gcd).max(1);
    for weight in &mut weights {
        *weight = weight.checked_div(divisor).unwrap_or(*weight);
    }
    let mut classes = classes(&weights);
    let mut unit = 1_u32;
    while steps(&classes) > STEPS_MAX {
        unit = unit.saturating_mul(2);
        let coarser = |weight: &u32| weight.saturating_add(unit / 2).checked_div(unit).unwrap_or(1).max(1);
        classes = self::classes(&weights.iter().map(coarser).collect::<Vec<_>>());
    }
    let total = total(&classes);
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
    order.collect()
}

fn gcd(a: u32, b: u32) -> u32 {
    match a.checked_rem(b) {
        None => a,
        Some(rest) => gcd(b, rest),
    }
}

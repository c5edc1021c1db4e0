//! One round of smooth weighted round robin, worked out ahead of time by whoever changes a pool. May not: be called by a pick.

use std::collections::HashMap;

/// Comparisons that a round may cost to work out: 0.8 ns each, 0.4 s in all, on the thread that changes pools. Beyond that weights are
/// rounded, to twice the unit and twice again: thousands of backends with hundreds of different weights, in slow start.
pub(super) const STEPS_MAX: i64 = 1 << 29;

/// The members of one weight. They have gained the same, so the one that has been taken least is the richest of them, and they
/// come in turn: a step compares weights, not members.
struct Class {
    weight: i64,
    members: Vec<u32>,
    /// What its next member has.
    wealth: i64,
    /// That member, and where it is among the members.
    next: u32,
    at: usize,
}

impl Class {
    /// One step's weight for each of its members.
    const fn gain(&mut self) -> &mut Self {
        self.wealth = self.wealth.saturating_add(self.weight);
        self
    }

    /// The richest; of equals the first in the list.
    const fn is_before(&self, other: &Self) -> bool {
        self.wealth > other.wealth || (self.wealth == other.wealth && self.next < other.next)
    }

    /// Its next member is taken; behind the last comes the first, which has paid once more.
    fn take(&mut self, price: i64) -> u32 {
        let taken = self.next;
        self.at = self.at.saturating_add(1);
        if self.at == self.members.len() {
            self.at = 0;
            self.wealth = self.wealth.saturating_sub(price);
        }
        self.next = self.members.get(self.at).copied().unwrap_or(0);
        taken
    }
}

/// Members by their weights.
fn classes(weights: &[u32]) -> Vec<Class> {
    let mut classes: HashMap<u32, Class> = HashMap::new();
    for (place, weight) in (0_u32..).zip(weights) {
        let class = classes.entry(*weight).or_insert_with(|| Class {
            weight: i64::from(*weight),
            members: Vec::new(),
            wealth: 0,
            next: place,
            at: 0,
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

/// The order for these weights, none of them 0, within so many steps, at least one each.
pub(super) fn round(mut weights: Vec<u32>, steps_max: i64) -> Box<[u32]> {
    let divisor = weights.iter().copied().fold(0, gcd).max(1);
    for weight in &mut weights {
        *weight = weight.checked_div(divisor).unwrap_or(*weight);
    }
    let mut classes = classes(&weights);
    let mut unit = 1_u32;
    while steps(&classes) > steps_max {
        unit = unit.saturating_mul(2);
        let coarser = |weight: &u32| weight.saturating_add(unit / 2).checked_div(unit).unwrap_or(1).max(1);
        classes = self::classes(&weights.iter().map(coarser).collect::<Vec<_>>());
    }
    let total = total(&classes);
    let order = (0..total).filter_map(|_| {
        let gained = classes.iter_mut().map(Class::gain);
        let richest = gained.reduce(|best, class| if class.is_before(best) { class } else { best })?;
        Some(richest.take(total))
    });
    order.collect()
}

fn gcd(a: u32, b: u32) -> u32 {
    a.checked_rem(b).map_or(a, |rest| gcd(b, rest))
}

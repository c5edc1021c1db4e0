//! The ring of a well-known exercise in distributed systems, exactly: few slots, quadratic hashes, linear probing.
//!
//! Virtual node j (from 0) of backend i (its number, from 1) has the slot F(i, j) = i^2 + j^2 + 2j + 25, a connection enters at
//! H(i) = i^2 + 2i + 17, both modulo the slots; a taken slot moves on to the next free one; a lookup goes clockwise. Weights don't
//! count, but for 0. Its balance is bad (squares lie in clumps): `scripts/experiments.sh` shows how bad.

use super::LoadFactor;
use super::wheel::{Entry, Wheel};
use crate::pool::{Member, Ramp};

pub(super) fn wheel(members: &[Member], slots: u32, virtual_nodes: u32, bound: Option<LoadFactor>) -> Wheel {
    let count = usize::try_from(slots).unwrap_or(1).max(1);
    let mut owners: Vec<Option<u32>> = vec![None; count];
    let mut free = Free::new(count);
    let mut order: Vec<(u32, u32)> = members.iter().map(|member| member.number).zip(0..).collect();
    order.sort_unstable();
    for (number, place) in order {
        let member = usize::try_from(place).ok().and_then(|place| members.get(place));
        let nodes = virtual_nodes
            .saturating_mul(member.map_or(0, share))
            .div_ceil(u32::from(Ramp::STEPS));
        for node in 0..nodes {
            let slot = slot(u64::from(number), u64::from(node), u64::from(slots));
            // Without a free slot left, this node has none; the configuration sees to it that there are enough.
            if let Some(owner) = free.take(slot).and_then(|slot| owners.get_mut(slot)) {
                *owner = Some(place);
            }
        }
    }
    // Who is next clockwise, worked out for each slot: backwards, twice round, since the last look beyond the end.
    let mut next = None;
    for slot in (0..count).rev().chain((0..count).rev()) {
        if let Some(owner) = owners.get_mut(slot) {
            next = owner.or(next);
            *owner = next;
        }
    }
    let slots = owners.into_iter().flatten().collect();
    Wheel::new(slots, Entry::Modulo(entry), bound, (members, share))
}

/// The tenths of its virtual nodes that a member has: slow start counts, weights don't.
fn share(member: &Member) -> u32 {
    u32::from(member.ramp.tenths())
}

/// Which slots are free, found without walking through the clumps of the taken ones again and again: a union-find (Tarjan, "Efficiency
/// of a Good But Not Linear Set Union Algorithm", 1975), with halved paths and no ranks.
struct Free {
    /// Of each slot the one to go on looking at; a free one has itself.
    next: Vec<usize>,
    left: usize,
}

impl Free {
    fn new(count: usize) -> Self {
        Self {
            next: (0..count).collect(),
            left: count,
        }
    }

    /// Takes the first free slot from this one on, clockwise.
    fn take(&mut self, from: usize) -> Option<usize> {
        self.left = self.left.checked_sub(1)?;
        let mut slot = from;
        loop {
            let next = *self.next.get(slot)?;
            if next == slot {
                break;
            }
            let beyond = *self.next.get(next)?;
            *self.next.get_mut(slot)? = beyond;
            slot = beyond;
        }
        let behind = slot
            .checked_add(1)
            .filter(|behind| *behind < self.next.len())
            .unwrap_or(0);
        *self.next.get_mut(slot)? = behind;
        Some(slot)
    }
}

/// H(id), without ever leaving 64 bits.
fn entry(id: u64, slots: u64) -> u64 {
    let rest = id.checked_rem(slots).unwrap_or(0);
    let square = rest.saturating_mul(rest).saturating_add(rest.saturating_mul(2));
    square.saturating_add(17).checked_rem(slots).unwrap_or(0)
}

/// F(i, j).
fn slot(number: u64, node: u64, slots: u64) -> usize {
    let squares = number.saturating_mul(number).saturating_add(node.saturating_mul(node));
    let sum = squares.saturating_add(node.saturating_mul(2)).saturating_add(25);
    usize::try_from(sum.checked_rem(slots).unwrap_or(0)).unwrap_or(0)
}

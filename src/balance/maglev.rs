//! Maglev hashing: a table in which every backend has its share to within a slot, and at least one slot; the same on every balancer
//! that knows the same names and shares, whatever order they came in (Eisenbud et al., "Maglev: A Fast and Reliable Software Network
//! Load Balancer", NSDI 2016, section 3.4).
//!
//! Each backend has its own order of all slots, from two hashes of its name. In turn, each takes the first slot of its order that
//! is free. Weights: who has half the greatest weight comes to its turn half as often, the first time in the first round. That alone
//! would give every light backend up to a slot too many or too few, and the heavy ones what is left: so each stops at its [quota](super::quotas).

use twox_hash::XxHash3_64;

use super::LoadFactor;
use super::quotas::quotas;
use super::wheel::{self, Entry, Wheel};
use crate::pool::Member;

/// One backend's walk through the table.
struct Walker {
    place: u32,
    share: u32,
    /// What it has gained and not yet spent on turns.
    credit: u32,
    /// Slots that it is still to get.
    quota: u64,
    at: u64,
    skip: u64,
}

/// `slots` must be a prime: then every walk meets every slot.
pub(super) fn wheel(members: &[Member], slots: u32, bound: Option<LoadFactor>) -> Wheel {
    let size = u64::from(slots).max(2);
    let mut named: Vec<(&Member, u32)> = members.iter().zip(0..).collect();
    named.sort_unstable_by(|(one, _), (other, _)| one.backend.name.cmp(&other.backend.name));
    let shares: Vec<u32> = named.iter().map(|(member, _)| member.share()).collect();
    let greatest = shares.iter().copied().max().unwrap_or(0);
    let mut walkers: Vec<Walker> = named
        .into_iter()
        .zip(quotas(&shares, size))
        .map(|((member, place), quota)| {
            let name = XxHash3_64::oneshot(member.backend.name.as_bytes());
            let rest = |hash: u64, modulus: u64| hash.checked_rem(modulus).unwrap_or(0);
            Walker {
                place,
                share: member.share(),
                credit: greatest.saturating_sub(member.share()),
                quota,
                at: rest(name, size),
                skip: rest(wheel::hash(name), size.saturating_sub(1)).saturating_add(1),
            }
        })
        .collect();
    let mut table: Vec<Option<u32>> = vec![None; usize::try_from(size).unwrap_or(0)];
    let mut free = if greatest == 0 { 0 } else { table.len() };
    while free > 0 {
        for walker in &mut walkers {
            walker.credit = walker.credit.saturating_add(walker.share);
            if walker.credit < greatest || walker.quota == 0 || free == 0 {
                continue;
            }
            walker.credit = walker.credit.saturating_sub(greatest);
            walker.quota = walker.quota.saturating_sub(1);
            take_next(walker, &mut table, size);
            free = free.saturating_sub(1);
        }
    }
    let slots = table.into_iter().flatten().collect();
    Wheel::new(
        slots,
        Entry::Modulo(|id, _| wheel::hash(id)),
        bound,
        (members, Member::share),
    )
}

/// The first slot of its walk that is free. There is one: a walk meets all, and somebody counts those that are left.
fn take_next(walker: &mut Walker, table: &mut [Option<u32>], size: u64) {
    for _ in 0..size {
        let slot = usize::try_from(walker.at).ok().and_then(|at| table.get_mut(at));
        walker.at = walker.at.saturating_add(walker.skip).checked_rem(size).unwrap_or(0);
        if let Some(owner) = slot
            && owner.is_none()
        {
            *owner = Some(walker.place);
            return;
        }
    }
}

//! Maglev hashing: a table in which every backend has its exact share, and which is the same on every balancer that knows the same
//! names, whatever order they came in (Eisenbud et al., "Maglev: A Fast and Reliable Software Network Load Balancer", NSDI 2016,
//! section 3.4).
//!
//! Each backend has its own order of all slots, from two hashes of its name. In turn, each takes the first slot of its order that
//! is free. Weights: who has half the greatest weight comes to its turn half as often.

use twox_hash::XxHash3_64;

use super::LoadFactor;
use super::wheel::{self, Entry, Wheel};
use crate::pool::Member;

/// One backend's walk through the table.
struct Walker {
    place: u32,
    share: u32,
    /// What it has gained and not yet spent on turns.
    credit: u32,
    at: u64,
    skip: u64,
}

/// `slots` must be a prime: then every walk meets every slot.
pub(super) fn wheel(members: &[Member], slots: u32, bound: Option<LoadFactor>) -> Wheel {
    let size = u64::from(slots).max(2);
    let mut named: Vec<(&Member, u32)> = members.iter().zip(0..).collect();
    named.sort_unstable_by(|(one, _), (other, _)| one.backend.name.cmp(&other.backend.name));
    let mut walkers: Vec<Walker> = named
        .into_iter()
        .map(|(member, place)| {
            let name = XxHash3_64::oneshot(member.backend.name.as_bytes());
            let rest = |hash: u64, modulus: u64| hash.checked_rem(modulus).unwrap_or(0);
            Walker {
                place,
                share: member.share(),
                credit: 0,
                at: rest(name, size),
                skip: rest(wheel::hash(name), size.saturating_sub(1)).saturating_add(1),
            }
        })
        .collect();
    let greatest = walkers.iter().map(|walker| walker.share).max().unwrap_or(0);
    let mut table: Vec<Option<u32>> = vec![None; usize::try_from(size).unwrap_or(0)];
    let mut free = if greatest == 0 { 0 } else { table.len() };
    while free > 0 {
        for walker in &mut walkers {
            walker.credit = walker.credit.saturating_add(walker.share);
            if walker.credit < greatest || free == 0 {
                continue;
            }
            walker.credit = walker.credit.saturating_sub(greatest);
            take_next(walker, &mut table, size);
            free = free.saturating_sub(1);
        }
    }
    let slots = table.into_iter().flatten().collect();
    Wheel::new(slots, Entry::Modulo(|id, _| wheel::hash(id)), members, bound)
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

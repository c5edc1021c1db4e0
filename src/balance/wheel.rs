//! What all hashing policies pick from: a wheel of slots, each with its backend. A key enters somewhere; who can't take the
//! connection is passed over clockwise.
//! The load of each may be bounded ([`LoadFactor`]); what is above spills clockwise. Mostly that is a look or two; but where one key
//! has most of the sessions, all that it meets first are at their bounds, and a pick walks past them: O(backends), at worst
//! [`LOOKS_PER_BACKEND`] looks for each and one more.
//! Which key goes where is a function of the members alone, the same on every balancer, only while nothing is bounded and nobody is
//! in slow start: both go by what one balancer has seen.

use twox_hash::XxHash3_64;

use super::points::Points;
use super::{Choice, Key, LoadFactor, from, may_take, start};
use crate::pool::Member;
use crate::types::BackendId;

/// Slots looked at for each backend, before the rest is looked at in plain order: enough to meet everyone on any wheel whose
/// backends have like shares.
const LOOKS_PER_BACKEND: usize = 4;
/// And at least so many.
const LOOKS_MIN: usize = 64;

/// How a key enters the wheel.
#[derive(Debug)]
pub(super) enum Entry {
    /// At the slot `hash(key) modulo slots`.
    Modulo(fn(u64, u64) -> u64),
    /// At the first of these points that isn't before the key's hash.
    Points(Points),
}

/// Members, and what the part of each is worth: of the slots, and so of the sessions that the bound goes by.
pub(super) type Shares<'a> = (&'a [Member], fn(&Member) -> u32);

/// The slots, as places in the list of eligible members, and how to get in.
#[derive(Debug)]
pub(super) struct Wheel {
    pub(super) slots: Box<[u32]>,
    pub(super) entry: Entry,
    pub(super) bound: Option<LoadFactor>,
    share: fn(&Member) -> u32,
    /// The sum of all shares.
    shares: u64,
}

/// The hash of a key, for all but the quadratic ring.
pub(super) fn hash(id: u64) -> u64 {
    XxHash3_64::oneshot(&id.to_le_bytes())
}

impl Wheel {
    pub(super) fn new(slots: Box<[u32]>, entry: Entry, bound: Option<LoadFactor>, (members, share): Shares) -> Self {
        Self {
            slots,
            entry,
            bound,
            share,
            shares: members.iter().map(|member| u64::from(share(member))).sum(),
        }
    }

    /// Whose slot it is, or who comes next.
    pub(super) fn choose<'a>(&self, members: &'a [Member], key: Key, excluded: &[BackendId]) -> Option<Choice<'a>> {
        let looks = members.len().saturating_mul(LOOKS_PER_BACKEND).max(LOOKS_MIN);
        let (before, after) = self.slots.split_at_checked(self.enter(key.id))?;
        let places = after.iter().chain(before).take(looks);
        let owners = places.filter_map(|place| members.get(usize::try_from(*place).ok()?));
        let plain_order = from(members, start(hash(key.id), members.len()));
        let mut above = None;
        for member in owners.chain(plain_order).filter(|member| may_take(member, excluded)) {
            let Some(bound) = self.bound else {
                return Some(Choice { member, seen: None });
            };
            let active = member.backend.active();
            if bound.allows(active, key.sessions, (self.share)(member), self.shares) {
                // The bound stands only while the count does.
                return Some(Choice {
                    member,
                    seen: Some(active),
                });
            }
            above = above.or(Some(member));
        }
        // Nobody is within the bound only if others are full or excluded: better above it than nowhere.
        above.map(|member| Choice { member, seen: None })
    }

    fn enter(&self, id: u64) -> usize {
        let count = self.slots.len();
        match &self.entry {
            Entry::Modulo(hash) => {
                let slots = u64::try_from(count).unwrap_or(u64::MAX);
                start(hash(id, slots), count)
            }
            Entry::Points(points) => points.enter(hash(id)),
        }
    }
}

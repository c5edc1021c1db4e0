//! What all hashing policies pick from: a wheel of slots, each with its backend. A key enters somewhere; who can't take the
//! connection is passed over clockwise.
//! The load of each may be bounded ([`LoadFactor`]); what is above spills clockwise.

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

/// The slots, as places in the list of eligible members, and how to get in.
#[derive(Debug)]
pub(super) struct Wheel {
    pub(super) slots: Box<[u32]>,
    pub(super) entry: Entry,
    pub(super) bound: Option<LoadFactor>,
    /// The sum of all shares.
    pub(super) shares: u64,
}

/// The hash of a key, for all but the quadratic ring.
pub(super) fn hash(id: u64) -> u64 {
    XxHash3_64::oneshot(&id.to_le_bytes())
}

impl Wheel {
    pub(super) fn new(slots: Box<[u32]>, entry: Entry, members: &[Member], bound: Option<LoadFactor>) -> Self {
        let shares = members.iter().map(|member| u64::from(member.share())).sum();
        Self {
            slots,
            entry,
            bound,
            shares,
        }
    }

    /// Whose slot it is, or who comes next.
    pub(super) fn choose<'a>(&self, members: &'a [Member], key: Key, excluded: &[BackendId]) -> Option<Choice<'a>> {
        let looks = members.len().saturating_mul(LOOKS_PER_BACKEND).max(LOOKS_MIN);
        let (before, after) = self.slots.split_at_checked(self.enter(key.id))?;
        let clockwise = || {
            let places = after.iter().chain(before).take(looks);
            let owners = places.filter_map(|place| members.get(usize::try_from(*place).ok()?));
            owners.chain(from(members, start(hash(key.id), members.len())))
        };
        let bounded = self.bound.and_then(|bound| {
            clockwise().find_map(|member| {
                let active = member.backend.active();
                let is_within = active < bound.most(key.sessions, member.share(), self.shares);
                // The bound stands only while the count does.
                (is_within && may_take(member, excluded)).then_some(Choice {
                    member,
                    seen: Some(active),
                })
            })
        });
        // Nobody is within the bound only if others are full or excluded: better above it than nowhere.
        bounded.or_else(|| {
            clockwise()
                .find(|member| may_take(member, excluded))
                .map(|member| Choice { member, seen: None })
        })
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

//! Fewest live sessions for its weight; among equals they take turns.
//!
//! A pick looks at every eligible backend, or until it meets an idle one: O(backends), 1 to 2 ns each on a quiet machine
//! (docs/performance.md). It is exact while workers pick at the same time: the choice stands only if the chosen backend still
//! has the sessions that were seen, else the pick looks again. (The others can only have gained since, or lost sessions that
//! ended while we looked.)

use super::{Choice, Key, from, may_take, start};
use crate::pool::Member;
use crate::types::BackendId;

/// The member with the smallest sessions / weight; of equals the first from this turn's start on.
pub(super) fn choose<'a>(members: &'a [Member], key: Key, excluded: &[BackendId]) -> Option<Choice<'a>> {
    let mut best: Option<(u32, &Member)> = None;
    for member in from(members, start(key.turn, members.len())) {
        let active = member.backend.active();
        // active / weight < best_active / best_weight, without the division
        let is_better = best.is_none_or(|(best_active, best_member)| {
            u64::from(active).saturating_mul(u64::from(best_member.share()))
                < u64::from(best_active).saturating_mul(u64::from(member.share()))
        });
        // Asked last: few are better, and the limit lies on another cache line than the count.
        if is_better && may_take(member, excluded) {
            best = Some((active, member));
            if active == 0 {
                break; // nobody has fewer
            }
        }
    }
    best.map(|(active, member)| Choice {
        member,
        seen: Some(active),
    })
}

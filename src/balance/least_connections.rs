//! The least (sessions + 1) / weight: where the new one would have fewest beside it for the weight; among equals they take turns.
//!
//! The one more is the new session itself, as in the Linux Virtual Server's "shortest expected delay" (`sed`, ipvsadm(8)): without it,
//! idle backends would be equals whatever their weights, and where sessions are short each would get as many.
//!
//! A pick looks at every eligible backend, or until it meets an idle one of the greatest weight: O(backends), 1 to 2 ns each on a
//! quiet machine (docs/performance.md). It is exact while workers pick at the same time: the choice stands only if the chosen
//! backend still has the sessions that were seen, else the pick looks again. (The others can only have gained since, or lost
//! sessions that ended while we looked.)

use super::{Choice, Key, from, may_take, start};
use crate::pool::Member;
use crate::types::BackendId;

/// What a pick has to know of all members.
#[derive(Debug)]
pub(super) struct LeastConnections {
    greatest_share: u32,
}

impl LeastConnections {
    /// For these members.
    pub(super) fn new(members: &[Member]) -> Self {
        Self {
            greatest_share: members.iter().map(Member::share).max().unwrap_or(0),
        }
    }

    /// The member with the smallest (sessions + 1) / share; of equals the first from this turn's start on.
    pub(super) fn choose<'a>(&self, members: &'a [Member], key: Key, excluded: &[BackendId]) -> Option<Choice<'a>> {
        let mut best: Option<(u32, &Member)> = None;
        for member in from(members, start(key.turn, members.len())) {
            let active = member.backend.active();
            // (active + 1) / share < (best_active + 1) / best_share, without the division
            let is_better = best.is_none_or(|(best_active, best_member)| {
                with_one_more(active).saturating_mul(u64::from(best_member.share()))
                    < with_one_more(best_active).saturating_mul(u64::from(member.share()))
            });
            // Asked last: few are better, and the limit lies on another cache line than the count.
            if is_better && may_take(member, excluded) {
                best = Some((active, member));
                if active == 0 && member.share() == self.greatest_share {
                    break; // nobody has less
                }
            }
        }
        best.map(|(active, member)| Choice {
            member,
            seen: Some(active),
        })
    }
}

fn with_one_more(active: u32) -> u64 {
    u64::from(active).saturating_add(1)
}

//! Two different members, drawn by weight: what the policies that compare two of them begin with.
//!
//! "The power of two choices": of two random backends the less loaded one (Mitzenmacher, "The Power of Two Choices in Randomized
//! Load Balancing", 2001). The longest queue grows with log log n instead of log n, and nobody herds to the one emptiest backend.

use super::{Choice, Key, below, draws, from, may_take, start};
use crate::pool::Member;
use crate::types::BackendId;

/// The sums of the shares up to and with each member.
#[derive(Debug)]
pub(super) struct Lots(Box<[u64]>);

impl Lots {
    pub(super) fn new(members: &[Member]) -> Self {
        let sums = members.iter().scan(0_u64, |sum, member| {
            *sum = sum.saturating_add(u64::from(member.share()));
            Some(*sum)
        });
        Self(sums.collect())
    }

    /// Where the ticket is, and the first ticket and the count of that member's.
    fn owner(&self, ticket: u64) -> (usize, u64, u64) {
        let place = self.0.partition_point(|sum| *sum <= ticket);
        let end = self.0.get(place).copied().unwrap_or(0);
        let first = place
            .checked_sub(1)
            .and_then(|before| self.0.get(before))
            .copied()
            .unwrap_or(0);
        (place, first, end.saturating_sub(first))
    }

    /// Two members, or twice the same if there is but one.
    fn pair(&self, dice: u64) -> Option<(usize, usize)> {
        let total = *self.0.last()?;
        let (one, first, count) = self.owner(below(dice >> 32, total));
        let rest = total.saturating_sub(count);
        if rest == 0 {
            return Some((one, one));
        }
        // A ticket of the others: those behind the first one's move up by its count.
        let ticket = below(dice, rest);
        let ticket = if ticket >= first {
            ticket.saturating_add(count)
        } else {
            ticket
        };
        Some((one, self.owner(ticket).0))
    }

    /// The one of two with the smaller load, if it can take the connection; else the other; else one of another two.
    pub(super) fn choose<'a, L: PartialOrd>(
        &self,
        members: &'a [Member],
        key: Key,
        excluded: &[BackendId],
        load: impl Fn(&Member) -> L,
    ) -> Option<Choice<'a>> {
        let pairs = std::iter::once(key.dice).chain(draws(key)).filter_map(|dice| {
            let (one, other) = self.pair(dice)?;
            let (one, other) = (members.get(one)?, members.get(other)?);
            let is_other_better = load(other) < load(one);
            Some(if is_other_better { [other, one] } else { [one, other] })
        });
        pairs
            .flatten()
            .chain(from(members, start(key.dice, members.len())))
            .find(|member| may_take(member, excluded))
            .map(|member| Choice { member, seen: None })
    }
}

//! Of two random backends, drawn by weight, the one that has fewer live sessions for its weight with the new one among them.
//!
//! O(log backends), and nearly as even as looking at all of them: see [`lots`](super::lots) for the source.

use super::lots::Lots;
use super::{Choice, Key};
use crate::pool::Member;
use crate::types::BackendId;

/// (Sessions + 1) / share, of two: see [`least_connections`](super::least_connections) for the one more.
pub(super) fn choose<'a>(lots: &Lots, members: &'a [Member], key: Key, excluded: &[BackendId]) -> Option<Choice<'a>> {
    let load = |member: &Member| (f64::from(member.backend.active()) + 1.0) / f64::from(member.share());
    lots.choose(members, key, excluded, load)
}

//! Of two random backends, drawn by weight, the one with fewer live sessions for its weight.
//!
//! O(log backends), and nearly as even as looking at all of them: see [`lots`](super::lots) for the source.

use super::lots::Lots;
use super::{Choice, Key};
use crate::pool::Member;
use crate::types::BackendId;

/// Sessions / share, of two.
pub(super) fn choose<'a>(lots: &Lots, members: &'a [Member], key: Key, excluded: &[BackendId]) -> Option<Choice<'a>> {
    let load = |member: &Member| f64::from(member.backend.active()) / f64::from(member.share());
    lots.choose(members, key, excluded, load)
}

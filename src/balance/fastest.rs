//! Of two random backends, drawn by weight, the one that costs less: how long it took to answer lately, times the sessions that
//! wait on it and one more.
//!
//! Finagle's `PeakEwma` load (twitter/finagle) over "two choices" ([`lots`](super::lots)). What is measured: of live sessions, a few
//! times a second, the kernel's round-trip time and how long the backend's first bytes came after the client's. A connect that takes
//! longer than that raises it, one that fails counts as 5 s, a first question without an answer as the time that was waited for it.
//! (A quick connect says nothing of a program: the kernel answers for it, also where it hangs.)
//! A backend that was never measured costs nothing while nobody is on it, and more than everyone else as soon as somebody is: one
//! explores, no stampede follows.

use super::lots::Lots;
use super::{Choice, Key};
use crate::pool::Member;
use crate::types::BackendId;

/// Compared in this order.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
enum Cost {
    /// Seconds x sessions / share; 0 for one that is to be explored.
    Known(f32),
    /// Somebody explores it: sessions / share.
    Unknown(f32),
}

/// The cheaper of two.
pub(super) fn choose<'a>(lots: &Lots, members: &'a [Member], key: Key, excluded: &[BackendId]) -> Option<Choice<'a>> {
    lots.choose(members, key, excluded, |member| cost(member, key))
}

#[allow(
    clippy::cast_precision_loss,
    reason = "a load to seven digits is exact enough to compare"
)]
fn cost(member: &Member, key: Key) -> Cost {
    let (active, share) = (member.backend.active() as f32, member.share() as f32);
    match member.backend.latency.seconds(key.now) {
        Some(seconds) => Cost::Known(seconds * (active + 1.0) / share),
        None if active == 0.0 => Cost::Known(0.0),
        None => Cost::Unknown(active / share),
    }
}

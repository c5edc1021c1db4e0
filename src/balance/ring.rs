//! A hash ring with many virtual nodes a backend (Karger et al., "Consistent Hashing and Random Trees", STOC 1997; the way of
//! libketama): when a backend leaves, only its own keys move.
//!
//! A backend has `virtual_nodes` points for each unit of weight, hashed (xxh3) from its name and a running number: every balancer
//! that knows the same names has the same ring.

use twox_hash::XxHash3_64;

use super::LoadFactor;
use super::wheel::{Entry, Wheel};
use crate::pool::Member;

/// Points of all backends together: 12 bytes each, sorted in a tenth of a second. Beyond that every backend gets fewer, in
/// proportion.
const POINTS_MAX: u64 = 1 << 20;

pub(super) fn wheel(members: &[Member], virtual_nodes: u32, bound: Option<LoadFactor>) -> Wheel {
    let wanted = members
        .iter()
        .map(|member| nodes(member, virtual_nodes, 1))
        .sum::<u64>();
    // Doubled, not fitted: so the points that are left stay where they are when a backend comes or goes.
    let thinned = wanted.div_ceil(POINTS_MAX).max(1).next_power_of_two();
    let mut points: Vec<(u64, u32)> = Vec::new();
    for (place, member) in (0_u32..).zip(members) {
        let name = XxHash3_64::oneshot(member.backend.name.as_bytes());
        points.extend((0..nodes(member, virtual_nodes, thinned)).map(|number| (point(name, number), place)));
    }
    // Of two on one point the one whose name comes first is met first, in whatever order the two were listed.
    points.sort_unstable_by(|(point, place), (other_point, other)| {
        let name = |place: u32| {
            usize::try_from(place)
                .ok()
                .and_then(|place| members.get(place))
                .map(|m| &m.backend.name)
        };
        point.cmp(other_point).then_with(|| name(*place).cmp(&name(*other)))
    });
    let (points, slots): (Vec<u64>, Vec<u32>) = points.into_iter().unzip();
    Wheel::new(slots.into(), Entry::Points(points.into()), members, bound)
}

/// Where one virtual node is. Both numbers are hashed as bytes: as the seed, a running number would meet the last letter of a short
/// name, and backends named alike would share their points.
fn point(name: u64, number: u64) -> u64 {
    let mut bytes = [0; 16];
    let (first, second) = bytes.split_at_mut(8);
    first.copy_from_slice(&name.to_le_bytes());
    second.copy_from_slice(&number.to_le_bytes());
    XxHash3_64::oneshot(&bytes)
}

/// Virtual nodes of one; at least one.
fn nodes(member: &Member, virtual_nodes: u32, thinned: u64) -> u64 {
    let tenths = u64::from(member.share()).saturating_mul(u64::from(virtual_nodes));
    tenths.div_ceil(thinned.saturating_mul(10)).max(1)
}

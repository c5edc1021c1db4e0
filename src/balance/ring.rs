//! A hash ring with many virtual nodes a backend (Karger et al., "Consistent Hashing and Random Trees", STOC 1997; the way of
//! libketama): when a backend leaves, only its own keys move (unbounded; see [`wheel`](super::wheel)).
//!
//! The backend with the greatest weight has `virtual_nodes` points, the others in proportion, hashed (xxh3) from its name and a running
//! number: every balancer that knows the same names and weights has the same ring.

use twox_hash::XxHash3_64;

use super::LoadFactor;
use super::points::Points;
use super::wheel::{Entry, Wheel};
use crate::pool::{Admin, Member, Pool, Ramp};

pub(super) fn wheel(pool: &Pool, virtual_nodes: u32, bound: Option<LoadFactor>) -> Wheel {
    // Of all, also those that are down: when one goes and comes, the others' points stay.
    let staying = pool.members().iter().filter(|member| member.admin != Admin::Leaving);
    let greatest = staying.map(|member| member.weight).max().unwrap_or(0);
    let members = pool.eligible();
    let mut points: Vec<(u32, u32)> = Vec::new();
    for (place, member) in (0_u32..).zip(members) {
        let name = XxHash3_64::oneshot(member.backend.name.as_bytes());
        let numbers = 0..nodes(member, virtual_nodes, greatest);
        points.extend(numbers.map(|number| (point(name, number), place)));
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
    let (points, slots): (Vec<u32>, Vec<u32>) = points.into_iter().unzip();
    Wheel::new(
        slots.into(),
        Entry::Points(Points::new(points.into())),
        bound,
        (members, Member::share),
    )
}

/// Where one virtual node is. Both numbers are hashed as bytes: as the seed, a running number would meet the last letter of a short
/// name, and backends named alike would share their points.
fn point(name: u64, number: u64) -> u32 {
    let mut bytes = [0; 16];
    let (first, second) = bytes.split_at_mut(8);
    first.copy_from_slice(&name.to_le_bytes());
    second.copy_from_slice(&number.to_le_bytes());
    u32::try_from(XxHash3_64::oneshot(&bytes) >> 32).unwrap_or(0)
}

/// Virtual nodes of one; at least one.
fn nodes(member: &Member, virtual_nodes: u32, greatest_weight: u16) -> u64 {
    let whole = u64::from(greatest_weight).saturating_mul(u64::from(Ramp::STEPS));
    let part = u64::from(member.share()).saturating_mul(u64::from(virtual_nodes));
    part.checked_div(whole).unwrap_or(0).max(1)
}

//! The points of a ring, found without a search: an index over the upper bits of the hash says where to begin to look.
//!
//! Hashes lie evenly, so a stretch of the index holds a point or two: three memory accesses a pick, however many points.

/// Points, sorted; where on the ring, in 2^-32 of it.
#[derive(Debug)]
pub(super) struct Points {
    points: Box<[u32]>,
    /// The first point of each stretch, or of a later one.
    starts: Box<[u32]>,
    /// What is left of a point when this many bits are cut off is the number of its stretch.
    shift: u32,
}

impl Points {
    /// About two points a stretch.
    pub(super) fn new(points: Box<[u32]>) -> Self {
        let bits = points.len().max(4).ilog2().saturating_sub(1).clamp(1, 31);
        let shift = u32::BITS.saturating_sub(bits);
        let stretches = 0..1_u64.checked_shl(bits).unwrap_or(1);
        let mut next = 0_usize;
        let starts = stretches.map(|stretch| {
            while points
                .get(next)
                .is_some_and(|point| u64::from(point >> shift) < stretch)
            {
                next = next.saturating_add(1);
            }
            u32::try_from(next).unwrap_or(u32::MAX)
        });
        Self {
            starts: starts.collect(),
            points,
            shift,
        }
    }

    /// The place of the first point that isn't before this hash, or of the very first.
    pub(super) fn enter(&self, hash: u64) -> usize {
        let point = u32::try_from(hash >> 32).unwrap_or(u32::MAX);
        let stretch = usize::try_from(point >> self.shift).unwrap_or(0);
        let start = self.starts.get(stretch).and_then(|start| usize::try_from(*start).ok());
        let start = start.unwrap_or(0);
        let behind = self.points.get(start..).unwrap_or(&[]);
        match behind.iter().position(|other| *other >= point) {
            Some(steps) => start.saturating_add(steps),
            None => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_index_finds_what_a_search_finds(mut points in prop::collection::vec(any::<u32>(), 1..300), hashes in prop::collection::vec(any::<u32>(), 50)) {
            points.sort_unstable();
            let index = Points::new(points.clone().into());
            for hash in hashes.into_iter().chain(points.clone()) {
                let place = points.partition_point(|point| *point < hash);
                let wanted = if place < points.len() { place } else { 0 };
                prop_assert_eq!(index.enter(u64::from(hash) << 32), wanted);
            }
        }
    }
}

//! How much more than the mean a backend may have: consistent hashing with bounded loads (Mirrokni, Thorup, Zadimoghaddam, SODA
//! 2018). What would be above goes clockwise to the next that has room.

/// A bound on the load: thousandths of the mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LoadFactor {
    /// At least 1000.
    pub thousandths: u32,
}

impl LoadFactor {
    /// What the configuration has unless it says otherwise: 1.25.
    pub const DEFAULT: Option<Self> = Some(Self { thousandths: 1250 });

    /// Whether a backend with `active` sessions and `share` of all `shares` may have one more when there are `sessions` in all: it has
    /// fewer than its part x the factor. (The most it gets is that rounded up: of small numbers too, somebody may have the last.)
    pub(super) fn allows(self, active: u32, sessions: u32, share: u32, shares: u64) -> bool {
        let scaled = u128::from(sessions)
            .saturating_mul(u128::from(self.thousandths))
            .saturating_mul(u128::from(share));
        // Multiplied instead of divided: this is asked at each look.
        let active = u128::from(active).saturating_mul(u128::from(shares));
        active.saturating_mul(1000) < scaled
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_most_that_one_gets_is_its_part_rounded_up(
            sessions in 1..2_000_u32,
            thousandths in 1000..3000_u32,
            (share, others) in (1..2560_u32, 0..10_000_u64),
        ) {
            let shares = u64::from(share) + others;
            let factor = LoadFactor { thousandths };
            let most = (0..).find(|active| !factor.allows(*active, sessions, share, shares)).unwrap();
            let part = u64::from(sessions) * u64::from(thousandths) * u64::from(share);
            prop_assert_eq!(u64::from(most), part.div_ceil(shares * 1000));
        }
    }
}

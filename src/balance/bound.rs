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

    /// The most sessions that a backend with `share` of all `shares` may have when there are so many in all, rounded up.
    pub(super) fn most(self, sessions: u32, share: u32, shares: u64) -> u32 {
        let scaled = u128::from(sessions)
            .saturating_mul(u128::from(self.thousandths))
            .saturating_mul(u128::from(share));
        let means = u128::from(shares.max(1)).saturating_mul(1000);
        u32::try_from(scaled.div_ceil(means)).unwrap_or(u32::MAX)
    }
}

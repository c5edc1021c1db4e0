//! The policies by name, with their settings.

use super::LoadFactor;

/// What a configuration allows on all rings of a service.
const RING_POINTS_MAX: u32 = 1 << 22;

/// A policy with its settings, as in `balance`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PolicyName {
    /// Smooth weighted round robin.
    RoundRobin,
    /// Fewest live sessions for its weight, the new one among them.
    LeastConnections,
    /// The less loaded of two random ones.
    RandomTwo,
    /// The one of two random ones that answers sooner, for the sessions it has.
    Fastest,
    /// A hash ring, weighted by virtual nodes.
    Ring {
        /// Of the backend with the greatest weight; those of all together: see `config::RING_POINTS_MAX`.
        virtual_nodes: u32,
        /// `None` = unbounded.
        bound: Option<LoadFactor>,
    },
    /// A small ring with quadratic hashes.
    QuadraticRing {
        /// At least backends x virtual nodes.
        slots: u32,
        /// For each backend.
        virtual_nodes: u32,
        /// `None` = unbounded.
        bound: Option<LoadFactor>,
    },
    /// A table with the shares to within a slot.
    Maglev {
        /// A prime.
        slots: u32,
        /// `None` = unbounded.
        bound: Option<LoadFactor>,
    },
}

impl PolicyName {
    /// Every policy as it would be configured for so many backends, the hashing ones with and without a bound: what is asserted and
    /// measured of each.
    #[must_use]
    pub fn all(backends: u32) -> [Self; 10] {
        let virtual_nodes = RING_POINTS_MAX.checked_div(backends).unwrap_or(1).clamp(1, 2_048);
        let ring = |bound| Self::Ring { virtual_nodes, bound };
        let quadratic = |bound| Self::QuadraticRing {
            slots: backends.saturating_mul(9).max(512),
            virtual_nodes: 9,
            bound,
        };
        let maglev = |bound| Self::Maglev { slots: 65_537, bound };
        [
            Self::RoundRobin,
            Self::LeastConnections,
            Self::RandomTwo,
            Self::Fastest,
            ring(None),
            ring(LoadFactor::DEFAULT),
            quadratic(None),
            quadratic(LoadFactor::DEFAULT),
            maglev(None),
            maglev(LoadFactor::DEFAULT),
        ]
    }
}

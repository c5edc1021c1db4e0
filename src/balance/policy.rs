//! The policies by name, with their settings.

use super::LoadFactor;

/// A policy with its settings, as in `balance`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PolicyName {
    /// Smooth weighted round robin.
    RoundRobin,
    /// Fewest live sessions for its weight.
    LeastConnections,
    /// The less loaded of two random ones.
    RandomTwo,
    /// The one of two random ones that answers sooner, for the sessions it has.
    Fastest,
    /// A hash ring, weighted by virtual nodes.
    Ring {
        /// For each unit of weight.
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
    /// A table with exact shares.
    Maglev {
        /// A prime.
        slots: u32,
        /// `None` = unbounded.
        bound: Option<LoadFactor>,
    },
}

impl PolicyName {
    /// Every policy, the hashing ones with and without a bound: what is asserted and measured of each.
    pub const ALL: [Self; 10] = [
        Self::RoundRobin,
        Self::LeastConnections,
        Self::RandomTwo,
        Self::Fastest,
        Self::ring(None),
        Self::ring(LoadFactor::DEFAULT),
        Self::quadratic_ring(None),
        Self::quadratic_ring(LoadFactor::DEFAULT),
        Self::maglev(None),
        Self::maglev(LoadFactor::DEFAULT),
    ];

    const fn ring(bound: Option<LoadFactor>) -> Self {
        Self::Ring {
            virtual_nodes: 4096,
            bound,
        }
    }

    const fn quadratic_ring(bound: Option<LoadFactor>) -> Self {
        Self::QuadraticRing {
            slots: 512,
            virtual_nodes: 9,
            bound,
        }
    }

    const fn maglev(bound: Option<LoadFactor>) -> Self {
        Self::Maglev { slots: 65_537, bound }
    }
}

//! A-4, worked out: where lb's own hashing policies, and a plain remainder, send many keys, and which keys move when a backend
//! leaves or joins.
//!
//! No connection is made: `lb::balance::Balancer` is asked, as lb's workers do, with nobody else connected and no bound on the load.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use lb::balance::{Balancer, HashKey, Key, PolicyName};
use lb::pool::{Backend, Member, Pool};
use lb::types::{BackendAddr, BackendId, ClientAddr, Moment};
use serde::Serialize;
use twox_hash::XxHash3_64;

use crate::common::Failure;
use crate::figures::{mean, most};
use crate::policy::{MAGLEV, MODULO, Policy, QUADRATIC_RING, RING};
use crate::scene::server_name;

pub(crate) const KEYS: u32 = 100_000;
pub(crate) const BACKENDS: u32 = 4;
/// Clients have the addresses from here on, as the hosts of one network do.
const FIRST_CLIENT: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 0);

/// What one policy does with the keys.
#[derive(Debug, Serialize)]
pub(crate) struct Row {
    pub(crate) policy: &'static str,
    #[serde(skip)]
    pub(crate) colour: &'static str,
    /// The backend with most keys, in parts of the mean.
    pub(crate) most_to_mean: f64,
    /// Of all keys; the mean over each backend that may leave.
    pub(crate) moved_by_leaving_percent: f64,
    /// Of all keys: those whose backend stayed.
    pub(crate) moved_needlessly_by_leaving_percent: f64,
    pub(crate) moved_by_joining_percent: f64,
    /// Of all keys: those that didn't go to the newcomer.
    pub(crate) moved_needlessly_by_joining_percent: f64,
}

/// What must move: the keys of the one who leaves, and as many as the newcomer is due.
pub(crate) const LEAVING_LEAST_PERCENT: f64 = 100.0 / BACKENDS as f64;
pub(crate) const JOINING_LEAST_PERCENT: f64 = 100.0 / (BACKENDS as f64 + 1.0);

/// Keys to backends, by number from 0.
struct Owners(Vec<u32>);

/// Every policy in question.
pub(crate) fn all() -> Result<Vec<Row>, Failure> {
    let hashing = [
        (
            QUADRATIC_RING,
            PolicyName::QuadraticRing {
                slots: 512,
                virtual_nodes: 9,
                bound: None,
            },
        ),
        (
            RING,
            PolicyName::Ring {
                virtual_nodes: 4096,
                bound: None,
            },
        ),
        (
            MAGLEV,
            PolicyName::Maglev {
                slots: 65_537,
                bound: None,
            },
        ),
    ];
    let mut rows = Vec::new();
    for (policy, name) in hashing {
        rows.push(row(policy, |backends| Owners::by_policy(name, backends))?);
    }
    rows.push(row(MODULO, Owners::by_remainder)?);
    Ok(rows)
}

fn row(policy: Policy, owners: impl Fn(&[u32]) -> Result<Owners, Failure>) -> Result<Row, Failure> {
    let all: Vec<u32> = (0..BACKENDS).collect();
    let before = owners(&all)?;
    let counts: Vec<f64> = all.iter().map(|backend| before.count(*backend)).collect();
    let (mut moved, mut needless) = (Vec::new(), Vec::new());
    for leaver in &all {
        let rest: Vec<u32> = all.iter().copied().filter(|backend| backend != leaver).collect();
        let after = owners(&rest)?;
        moved.push(before.share(&after, |old, new| old != new));
        needless.push(before.share(&after, |old, new| old != new && old != *leaver));
    }
    let joined: Vec<u32> = (0..=BACKENDS).collect();
    let after = owners(&joined)?;
    Ok(Row {
        policy: policy.label,
        colour: policy.colour,
        most_to_mean: most(&counts) / mean(&counts),
        moved_by_leaving_percent: mean(&moved),
        moved_needlessly_by_leaving_percent: mean(&needless),
        moved_by_joining_percent: before.share(&after, |old, new| old != new),
        moved_needlessly_by_joining_percent: before.share(&after, |old, new| old != new && new != BACKENDS),
    })
}

impl Owners {
    fn by_policy(policy: PolicyName, backends: &[u32]) -> Result<Self, Failure> {
        let balancer = Balancer::new(Pool::new(backends.iter().map(|id| member(*id)).collect()), policy);
        let owner = |id| {
            let key = Key {
                turn: 0,
                dice: 0,
                id,
                sessions: 1,
                now: Moment::START,
            };
            let guard = balancer.pick(key, &[]).ok_or("a policy chose nobody")?;
            Ok(guard.backend().id.0)
        };
        ids().map(owner).collect::<Result<_, Failure>>().map(Self)
    }

    /// The remainder of a good hash names a place in the list.
    fn by_remainder(backends: &[u32]) -> Result<Self, Failure> {
        let count = u64::try_from(backends.len())?;
        let owner = |id: u64| {
            let place = XxHash3_64::oneshot(&id.to_le_bytes()).checked_rem(count)?;
            backends.get(usize::try_from(place).ok()?).copied()
        };
        ids()
            .map(owner)
            .collect::<Option<_>>()
            .map(Self)
            .ok_or_else(|| "no backend".into())
    }

    fn count(&self, backend: u32) -> f64 {
        self.0.iter().filter(|owner| **owner == backend).count() as f64
    }

    /// Keys of which this holds, before and after; in per cent of all.
    fn share(&self, after: &Self, holds: impl Fn(u32, u32) -> bool) -> f64 {
        let pairs = self.0.iter().zip(&after.0);
        100.0 * pairs.filter(|(old, new)| holds(**old, **new)).count() as f64 / f64::from(KEYS)
    }
}

/// The keys, as `hash_key = "source_ip"` makes them of addresses.
fn ids() -> impl Iterator<Item = u64> {
    let first = FIRST_CLIENT.to_bits();
    (first..first.saturating_add(KEYS)).map(|address| {
        let client = SocketAddr::from((Ipv4Addr::from_bits(address), 0));
        HashKey::SourceIp.id(ClientAddr(client), 0)
    })
}

/// A backend keeps its name and number, whoever else is there.
fn member(id: u32) -> Member {
    let name = server_name(usize::try_from(id).unwrap_or(0));
    let address = BackendAddr(SocketAddr::from((Ipv4Addr::LOCALHOST, 1)));
    let backend = Backend::new(BackendId(id), &name, address, None, 0, 1);
    Member::new(Arc::new(backend), id.saturating_add(1), 1)
}

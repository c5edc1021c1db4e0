//! Whether a policy's table has a place for each of its backends: asked of a file, and of each change to a running service.

use super::RING_POINTS_MAX;
use super::values::{Balance, RingHash};

/// A setting that doesn't fit the backends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Misfit {
    /// Its key.
    pub key: &'static str,
    /// What it is.
    pub found: u32,
    /// What it would have to be, and why.
    pub wanted: String,
}

impl Balance {
    /// What doesn't fit backends of these weights, each with whether it is a backup.
    #[must_use]
    pub fn misfit(self, backends: &[(u16, bool)]) -> Option<Misfit> {
        let count = backends.len();
        let (slots, needed, why) = match self {
            Self::Ring {
                hash: RingHash::Xxh3 { virtual_nodes },
                ..
            } => return too_many_points(virtual_nodes, count),
            Self::Ring {
                hash: RingHash::Quadratic { slots, virtual_nodes },
                ..
            } => {
                let nodes = usize::try_from(virtual_nodes).unwrap_or(usize::MAX);
                let why = format!("for {count} backends with {virtual_nodes} virtual nodes each");
                (slots, count.saturating_mul(nodes), why)
            }
            Self::Maglev { slots, .. } => {
                let (needed, why) = lightest(backends);
                (slots, needed, why)
            }
            _ => return None,
        };
        let has_room = usize::try_from(slots).is_ok_and(|slots| slots >= needed);
        (!has_room).then(|| Misfit {
            key: "slots",
            found: slots,
            wanted: format!("at least {needed}, {why}"),
        })
    }
}

fn too_many_points(virtual_nodes: u32, count: usize) -> Option<Misfit> {
    let divisor = u32::try_from(count).unwrap_or(u32::MAX);
    let most = RING_POINTS_MAX.checked_div(divisor).unwrap_or(RING_POINTS_MAX);
    (virtual_nodes > most).then(|| Misfit {
        key: "virtual_nodes",
        found: virtual_nodes,
        wanted: format!("at most {most}, for {count} backends"),
    })
}

/// Slots of a table in which the lightest backend is worth one, and why so many. Backups are in use without the others.
fn lightest(backends: &[(u16, bool)]) -> (usize, String) {
    let needed = |is_backup: bool| {
        let together = backends.iter().filter(|(_, backup)| *backup == is_backup);
        let weights = together
            .map(|(weight, _)| usize::from(*weight))
            .filter(|weight| *weight > 0);
        let (least, sum) = (weights.clone().min().unwrap_or(1), weights.sum::<usize>());
        (sum.div_ceil(least), format!("so that weight {least} of {sum} has one"))
    };
    needed(false).max(needed(true))
}

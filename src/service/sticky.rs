//! Which backend a client had last: a table of fixed size, shared by all workers without a lock.
//!
//! A client is known by its IP address. Its hash names a bucket of 16 places, and in it a fingerprint of 32 bits: two clients that
//! share both (1 in 500 million for a full bucket) share a backend, which does no harm. A full bucket forgets who was silent longest.
//! May not: allocate, lock or fail after it was made.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use twox_hash::XxHash3_64;

use crate::balance::HashKey;
use crate::types::{BackendId, ClientAddr, Moment};

/// Places of a bucket: 12 bytes each, three cache lines a bucket.
const WAYS: usize = 16;
/// Buckets have room for half as many again as clients are expected, so that of as many as that hardly one is forgotten early.
const SLACK_PERCENT: usize = 150;

/// Clients that another process is told of, those that came last: some 30 MB, written and read in a second.
const CLIENTS_SENT_MAX: usize = 1_000_000;

/// `[service.sticky]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StickySettings {
    /// A client that was silent for so long is forgotten.
    pub ttl: Duration,
    /// Clients that are remembered.
    pub size: u32,
}

/// A table on its way to another process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Remembered {
    /// How many the table has.
    buckets: usize,
    /// Bucket, fingerprint, backend, and how many seconds ago it connected last.
    clients: Vec<[u32; 4]>,
}

impl Remembered {
    /// The same with the ids of the process that takes it: those of its backends by their numbers. Whose is gone is left out.
    #[must_use]
    pub fn renamed(&self, ids: &[BackendId]) -> Self {
        let renamed = |[bucket, fingerprint, backend, age]: &[u32; 4]| {
            let id = ids.get(usize::try_from(*backend).ok()?)?;
            Some([*bucket, *fingerprint, id.0, *age])
        };
        Self {
            buckets: self.buckets,
            clients: self.clients.iter().filter_map(renamed).collect(),
        }
    }
}

/// The table.
#[derive(Debug)]
pub(super) struct StickyTable {
    ttl_seconds: u32,
    buckets: Box<[Bucket]>,
}

#[derive(Debug, Default)]
struct Bucket {
    /// Fingerprint and backend in one word, so that they can't be of different clients; 0 = nobody.
    owners: [AtomicU64; WAYS],
    /// When each connected last, in seconds.
    seen: [AtomicU32; WAYS],
}

/// A client, hashed.
#[derive(Clone, Copy)]
struct Print {
    bucket: usize,
    /// In the upper half of a word.
    fingerprint: u64,
}

const BACKEND_BITS: u64 = u32::MAX as u64;

impl StickyTable {
    pub(super) fn new(settings: StickySettings) -> Self {
        let places = usize::try_from(settings.size)
            .unwrap_or(usize::MAX)
            .saturating_mul(SLACK_PERCENT);
        let buckets = places.div_ceil(WAYS.saturating_mul(100)).max(1);
        Self {
            ttl_seconds: u32::try_from(settings.ttl.as_secs()).unwrap_or(u32::MAX),
            buckets: (0..buckets).map(|_| Bucket::default()).collect(),
        }
    }

    /// The backend that this client had, if it isn't too long ago. It counts as seen.
    pub(super) fn find(&self, client: ClientAddr, now: Moment) -> Option<BackendId> {
        let (print, now) = (self.print(client), seconds(now));
        let bucket = self.buckets.get(print.bucket)?;
        bucket.owners.iter().zip(&bucket.seen).find_map(|(owner, seen)| {
            let owner = owner.load(Relaxed);
            if owner & !BACKEND_BITS != print.fingerprint || owner == 0 {
                return None;
            }
            let last = seen.load(Relaxed);
            if now.saturating_sub(last) > self.ttl_seconds {
                return None;
            }
            if last < now {
                seen.store(now, Relaxed);
            }
            // One is added to it, so that no client's word is 0.
            u32::try_from((owner & BACKEND_BITS).saturating_sub(1))
                .ok()
                .map(BackendId)
        })
    }

    /// From now on this client has that backend.
    pub(super) fn remember(&self, client: ClientAddr, backend: BackendId, now: Moment) {
        let (print, now) = (self.print(client), seconds(now));
        let Some(bucket) = self.buckets.get(print.bucket) else {
            return;
        };
        // Its own place; else a free one; else that of whoever was silent longest.
        let place = bucket.owners.iter().zip(&bucket.seen).min_by_key(|(owner, seen)| {
            let owner = owner.load(Relaxed);
            match owner {
                _ if owner != 0 && owner & !BACKEND_BITS == print.fingerprint => (0, 0),
                0 => (1, 0),
                _ => (2, seen.load(Relaxed)),
            }
        });
        if let Some((owner, seen)) = place {
            seen.store(now, Relaxed);
            owner.store(print.fingerprint | u64::from(backend.0).saturating_add(1), Relaxed);
        }
    }

    /// Everything in it, as another process can take it: `name` gives a backend's number there; those without one are left out.
    pub(super) fn remembered(&self, now: Moment, name: impl Fn(BackendId) -> Option<u32>) -> Remembered {
        let now = seconds(now);
        let mut clients = Vec::new();
        for (bucket, number) in self.buckets.iter().zip(0_u32..) {
            for (owner, seen) in bucket.owners.iter().zip(&bucket.seen) {
                let owner = owner.load(Relaxed);
                let age = now.saturating_sub(seen.load(Relaxed));
                let backend = u32::try_from((owner & BACKEND_BITS).saturating_sub(1)).ok();
                let backend = backend.and_then(|id| name(BackendId(id)));
                if let (true, true, Some(backend)) = (owner != 0, age <= self.ttl_seconds, backend) {
                    let fingerprint = u32::try_from(owner >> 32).unwrap_or(0);
                    clients.push([number, fingerprint, backend, age]);
                }
            }
        }
        if clients.len() > CLIENTS_SENT_MAX {
            clients.select_nth_unstable_by_key(CLIENTS_SENT_MAX, |[.., age]| *age);
            clients.truncate(CLIENTS_SENT_MAX);
        }
        Remembered {
            buckets: self.buckets.len(),
            clients,
        }
    }

    /// Takes what another process remembered. Into a table of another size nothing of it fits.
    pub(super) fn restore(&self, remembered: &Remembered, now: Moment) {
        if remembered.buckets != self.buckets.len() {
            return;
        }
        let now = seconds(now);
        for [bucket, fingerprint, backend, age] in &remembered.clients {
            let bucket = usize::try_from(*bucket)
                .ok()
                .and_then(|number| self.buckets.get(number));
            let Some(bucket) = bucket.filter(|_| *age <= self.ttl_seconds) else {
                continue;
            };
            let mut free = bucket.owners.iter().zip(&bucket.seen);
            if let Some((owner, seen)) = free.find(|(owner, _)| owner.load(Relaxed) == 0) {
                // This process's clock began later: who was seen before that counts as seen when it began.
                seen.store(now.saturating_sub(*age), Relaxed);
                owner.store(
                    u64::from(*fingerprint) << 32 | u64::from(*backend).saturating_add(1),
                    Relaxed,
                );
            }
        }
    }

    fn print(&self, client: ClientAddr) -> Print {
        let hash = XxHash3_64::oneshot(&HashKey::SourceIp.id(client, 0).to_le_bytes());
        let buckets = u64::try_from(self.buckets.len()).unwrap_or(u64::MAX);
        let bucket = (hash & BACKEND_BITS).wrapping_mul(buckets) >> 32;
        Print {
            bucket: usize::try_from(bucket).unwrap_or(0),
            fingerprint: hash & !BACKEND_BITS,
        }
    }
}

fn seconds(now: Moment) -> u32 {
    u32::try_from(now.since(Moment::START).as_secs()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::net::{Ipv4Addr, SocketAddr};

    fn table(size: u32) -> StickyTable {
        StickyTable::new(StickySettings {
            ttl: Duration::from_secs(60),
            size,
        })
    }

    fn client(number: u32) -> ClientAddr {
        ClientAddr(SocketAddr::from((Ipv4Addr::from_bits(number), 7)))
    }

    fn at(seconds: u64) -> Moment {
        Moment::START.plus(Duration::from_secs(seconds))
    }

    #[test]
    fn a_client_is_forgotten_when_it_was_silent_for_the_whole_time() {
        let table = table(10);
        table.remember(client(1), BackendId(0), at(0));
        assert_eq!(table.find(client(1), at(60)), Some(BackendId(0)));
        assert_eq!(table.find(client(1), at(120)), Some(BackendId(0)), "it was seen at 60");
        assert_eq!(table.find(client(1), at(181)), None);
        assert_eq!(table.find(client(2), at(0)), None);
    }

    #[test]
    fn another_process_goes_on_with_what_was_remembered() {
        let old = table(1000);
        for number in 0..500 {
            old.remember(client(number), BackendId(number % 3), at(1000));
        }
        // The backend 2 is gone by then, the others have other ids.
        let sent = old.remembered(at(1030), |id| {
            [Some(1), Some(0), None].get(id.0 as usize).copied().flatten()
        });
        let new = table(1000);
        new.restore(&sent.renamed(&[BackendId(70), BackendId(71)]), at(100));
        for number in 0..500 {
            let wanted = [Some(BackendId(71)), Some(BackendId(70)), None][(number % 3) as usize];
            assert_eq!(new.find(client(number), at(101)), wanted, "{number}");
        }
        let again = table(1000);
        again.restore(&sent.renamed(&[BackendId(70)]), at(100));
        assert_eq!(again.find(client(0), at(131)), None, "71 isn't there");
        assert_eq!(
            again.find(client(1), at(131)),
            None,
            "silent for more than a minute in all"
        );
        let other_size = table(10);
        other_size.restore(&sent, at(100));
        assert!((0..500).all(|number| other_size.find(client(number), at(100)).is_none()));
    }

    #[test]
    fn as_many_clients_as_it_has_room_for_are_nearly_all_remembered() {
        let table = table(10_000);
        for number in 0..10_000 {
            table.remember(client(number), BackendId(number % 7), at(0));
        }
        let kept = (0..10_000).filter(|number| table.find(client(*number), at(1)) == Some(BackendId(number % 7)));
        assert!(kept.count() >= 9_900);
    }

    #[test]
    fn a_flood_of_new_clients_pushes_out_the_silent_first() {
        let table = table(1);
        for number in 0..100 {
            table.remember(client(number), BackendId(1), at(u64::from(number)));
            assert!(
                table.find(client(0), at(u64::from(number))).is_some(),
                "it is seen again and again"
            );
        }
    }

    proptest! {
        #[test]
        fn what_is_found_is_what_was_remembered_last(orders in prop::collection::vec((0..20_u32, any::<u32>()), 1..200)) {
            let table = table(1000);
            let mut last = std::collections::HashMap::new();
            for (number, backend) in orders {
                table.remember(client(number), BackendId(backend), at(1));
                last.insert(number, backend);
            }
            for (number, backend) in last {
                prop_assert_eq!(table.find(client(number), at(2)), Some(BackendId(backend)));
            }
        }
    }
}

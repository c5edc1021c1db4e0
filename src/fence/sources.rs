//! What each source takes: its live connections, and how often it comes (GCRA, a leaky bucket kept as one moment: ATM Forum Traffic
//! Management 4.0, 4.4.2).
//!
//! A source is an IPv4 address, or the /64 of an IPv6 one: whoever has one address of it has all (RFC 6177). Sources that are
//! connected are all remembered, and there are no more of them than connections; of the others only so many, those that are nearest
//! to having been silent long enough are forgotten first. So a million sources cost a few megabytes.

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::observe::RefusedReason;
use crate::types::Moment;

/// Parts of the table, a lock each.
const SHARDS: usize = 16;
/// Sources of a part from which on those that may be are forgotten. 65,536 in all, some 40 bytes each.
const SHARD_SOURCES: usize = 4096;

/// What one source may take. The default is no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SourceLimits {
    /// Live connections.
    pub connections_max: Option<NonZeroU32>,
    /// How often it may come.
    pub rate: Option<Rate>,
}

/// One connection each `every`, and `burst` of them at once after a pause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// From one to the next.
    pub every: Duration,
    /// At once.
    pub burst: NonZeroU32,
}

/// A source, as it is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Source {
    V4(u32),
    V6Network(u64),
}

impl Source {
    fn of(client: IpAddr) -> Self {
        match client {
            IpAddr::V4(ip) => Self::V4(ip.to_bits()),
            IpAddr::V6(ip) => Self::V6Network(u64::try_from(ip.to_bits() >> 64).unwrap_or(u64::MAX)),
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Seen {
    active: u32,
    /// When the next one is due if they come evenly; the theoretical arrival time of GCRA.
    due: Moment,
}

impl Seen {
    /// Whether it is as one that was never seen.
    fn is_forgettable(&self, now: Moment) -> bool {
        self.active == 0 && self.due <= now
    }
}

#[derive(Debug)]
struct Shard {
    seen: HashMap<Source, Seen>,
    /// It is tidied when it has so many.
    tidy_at: usize,
}

/// The sources of a service.
#[derive(Debug)]
pub struct Sources {
    hasher: RandomState,
    shards: [Mutex<Shard>; SHARDS],
}

impl Default for Sources {
    fn default() -> Self {
        let shard = || {
            Mutex::new(Shard {
                seen: HashMap::new(),
                tidy_at: SHARD_SOURCES,
            })
        };
        Self {
            hasher: RandomState::new(),
            shards: std::array::from_fn(|_| shard()),
        }
    }
}

/// A live connection of a source; dropped, it is over.
#[derive(Debug)]
pub struct SourcePermit {
    sources: Arc<Sources>,
    source: Source,
}

impl Drop for SourcePermit {
    fn drop(&mut self) {
        if let Some(mut shard) = self.sources.shard(self.source) {
            shard.give_back(self.source);
        }
    }
}

impl Sources {
    /// Counts a connection of `client`, unless it is one too many or too early.
    ///
    /// # Errors
    /// Which limit is reached.
    pub fn admit(
        sources: &Arc<Self>,
        client: IpAddr,
        limits: &SourceLimits,
        now: Moment,
    ) -> Result<SourcePermit, RefusedReason> {
        let source = Source::of(client);
        if let Some(mut shard) = sources.shard(source) {
            shard.take(source, limits, now)?;
        }
        Ok(SourcePermit {
            sources: Arc::clone(sources),
            source,
        })
    }

    fn shard(&self, source: Source) -> Option<MutexGuard<'_, Shard>> {
        let place = usize::try_from(self.hasher.hash_one(source)).unwrap_or(0) % SHARDS;
        // What a panic elsewhere left is counts, each of them valid by itself.
        self.shards
            .get(place)
            .map(|shard| shard.lock().unwrap_or_else(PoisonError::into_inner))
    }

    #[cfg(test)]
    fn count(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().unwrap().seen.len()).sum()
    }
}

impl Shard {
    fn take(&mut self, source: Source, limits: &SourceLimits, now: Moment) -> Result<(), RefusedReason> {
        if self.seen.len() >= self.tidy_at && !self.seen.contains_key(&source) {
            self.tidy(now);
        }
        let seen = self.seen.entry(source).or_insert(Seen {
            active: 0,
            due: Moment::START,
        });
        if limits.connections_max.is_some_and(|max| seen.active >= max.get()) {
            return Err(RefusedReason::SourceLimit);
        }
        if let Some(Rate { every, burst }) = limits.rate {
            let ahead = every.saturating_mul(burst.get().saturating_sub(1));
            if seen.due.since(now) > ahead {
                return Err(RefusedReason::SourceRate);
            }
            seen.due = seen.due.max(now).plus(every);
        }
        seen.active = seen.active.saturating_add(1);
        Ok(())
    }

    fn give_back(&mut self, source: Source) {
        let Some(seen) = self.seen.get_mut(&source) else { return };
        debug_assert!(seen.active > 0, "a permit is counted until it is dropped");
        seen.active = seen.active.saturating_sub(1);
        if seen.active == 0 && seen.due == Moment::START {
            self.seen.remove(&source);
        }
    }

    /// Forgets who is as good as new, and if that isn't enough, those of the others that will be next. A quarter at least, so that
    /// the next one is as many newcomers away.
    fn tidy(&mut self, now: Moment) {
        self.seen.retain(|_, seen| !seen.is_forgettable(now));
        let kept = SHARD_SOURCES.saturating_sub(SHARD_SOURCES.div_ceil(4));
        let mut due: Vec<Moment> = self
            .seen
            .values()
            .filter(|seen| seen.active == 0)
            .map(|seen| seen.due)
            .collect();
        let excess = self.seen.len().saturating_sub(kept).min(due.len());
        if excess > 0 {
            let (_, last, _) = due.select_nth_unstable(excess.saturating_sub(1));
            let last = *last;
            let mut left = excess;
            self.seen.retain(|_, seen| {
                let goes = left > 0 && seen.active == 0 && seen.due <= last;
                left = left.saturating_sub(usize::from(goes));
                !goes
            });
        }
        // Those that are left beyond it are connected: each of them is a connection, which costs far more than its entry here.
        self.tidy_at = SHARD_SOURCES.max(self.seen.len().saturating_add(SHARD_SOURCES / 4));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;
    use std::net::{Ipv4Addr, Ipv6Addr};

    fn limits(connections: u32, every_millis: u64, burst: u32) -> SourceLimits {
        SourceLimits {
            connections_max: NonZeroU32::new(connections),
            rate: NonZeroU32::new(burst).map(|burst| Rate {
                every: Duration::from_millis(every_millis),
                burst,
            }),
        }
    }

    fn at(millis: u64) -> Moment {
        Moment::START.plus(Duration::from_millis(millis))
    }

    fn v4(number: u32) -> IpAddr {
        Ipv4Addr::from_bits(number).into()
    }

    #[test]
    fn a_source_has_its_connections_and_no_more_until_one_is_over() {
        let sources = Arc::<Sources>::default();
        let admit = |client| Sources::admit(&sources, v4(client), &limits(2, 0, 0), at(0));
        let held = [admit(1).unwrap(), admit(1).unwrap()];
        assert_eq!(admit(1).unwrap_err(), RefusedReason::SourceLimit);
        let _other = admit(2).unwrap();
        drop(held);
        assert!(admit(1).is_ok());
        drop(_other);
        assert_eq!(
            sources.count(),
            0,
            "who isn't connected isn't remembered where no rate holds"
        );
    }

    #[test]
    fn after_a_burst_they_come_as_the_rate_says() {
        let sources = Arc::<Sources>::default();
        let comes = |millis| Sources::admit(&sources, v4(1), &limits(0, 100, 3), at(millis)).map(drop);
        let refused = Err(RefusedReason::SourceRate);
        assert_eq!([0, 0, 0, 0].map(comes), [Ok(()), Ok(()), Ok(()), refused]);
        assert_eq!([99, 100, 101, 200].map(comes), [refused, Ok(()), refused, Ok(())]);
        // Silent for long enough it has its burst again, and not more.
        assert_eq!([9000, 9000, 9000, 9000].map(comes), [Ok(()), Ok(()), Ok(()), refused]);
    }

    #[test]
    fn an_ipv6_source_is_its_64_bits_of_network() {
        let sources = Arc::<Sources>::default();
        let admit = |text: &str| {
            let client: Ipv6Addr = text.parse().unwrap();
            Sources::admit(&sources, client.into(), &limits(1, 0, 0), at(0))
        };
        let _held = admit("2001:db8:1:2::1").unwrap();
        assert_eq!(admit("2001:db8:1:2:ffff::9").unwrap_err(), RefusedReason::SourceLimit);
        assert!(admit("2001:db8:1:3::1").is_ok());
    }

    #[test]
    fn a_million_sources_are_bounded_and_those_connected_are_never_forgotten() {
        let sources = Arc::<Sources>::default();
        let limits = limits(1, 60_000, 1);
        let held: Vec<_> = (0..1000)
            .map(|client| Sources::admit(&sources, v4(client), &limits, at(0)).unwrap())
            .collect();
        for client in 1000..1_001_000 {
            drop(Sources::admit(&sources, v4(client), &limits, at(u64::from(client) / 1000)).unwrap());
        }
        let max = SHARDS * SHARD_SOURCES;
        assert!(sources.count() <= max, "{} of {max}", sources.count());
        for client in 0..1000 {
            let again = Sources::admit(&sources, v4(client), &limits, at(1_100));
            assert_eq!(again.map(drop), Err(RefusedReason::SourceLimit), "{client}");
        }
        // The last ones to come are remembered too.
        assert!(Sources::admit(&sources, v4(1_000_999), &limits, at(1_100)).is_err());
        drop(held);
    }

    /// A shard of these: whether each is connected, and when its next one is due.
    fn shard_of(seen: impl Iterator<Item = (u32, u64)>) -> Shard {
        let seen = (0..).zip(seen);
        Shard {
            seen: seen
                .map(|(number, (active, due))| (Source::V4(number), Seen { active, due: at(due) }))
                .collect(),
            tidy_at: SHARD_SOURCES,
        }
    }

    fn has(shard: &Shard, number: usize) -> bool {
        shard.seen.contains_key(&Source::V4(u32::try_from(number).unwrap()))
    }

    const KEPT: usize = SHARD_SOURCES / 4 * 3;

    #[test]
    fn who_is_as_good_as_new_goes_first_and_alone_if_that_is_enough() {
        // A third is connected, a third is due, and a third is due later.
        let mut shard = shard_of((0..SHARD_SOURCES).map(|number| match number % 3 {
            0 => (1, 50),
            1 => (0, 100),
            _ => (0, 101),
        }));
        shard.tidy(at(100));
        assert!((0..SHARD_SOURCES).all(|number| has(&shard, number) == (number % 3 != 1)));
        assert_eq!(shard.tidy_at, SHARD_SOURCES);
    }

    #[test]
    fn then_those_go_that_are_due_first_down_to_three_quarters() {
        // The first 10 are connected; the others are due one after the other.
        let mut shard = shard_of((0..SHARD_SOURCES).map(|number| match number {
            0..10 => (1, 0),
            _ => (0, 1000 + u64::try_from(number).unwrap()),
        }));
        shard.tidy(at(100));
        let gone = SHARD_SOURCES - KEPT;
        assert!((0..SHARD_SOURCES).all(|number| has(&shard, number) != (10..10 + gone).contains(&number)));
        // Of those due at once no more go than must.
        let mut shard = shard_of((0..SHARD_SOURCES).map(|_| (0, 1000)));
        shard.tidy(at(100));
        assert_eq!(shard.seen.len(), KEPT);
    }

    #[test]
    fn who_is_connected_stays_whatever_the_number() {
        let mut shard = shard_of((0..SHARD_SOURCES).map(|_| (1, 0)));
        shard.tidy(at(100));
        assert_eq!(shard.seen.len(), SHARD_SOURCES);
        assert_eq!(
            shard.tidy_at,
            SHARD_SOURCES / 4 * 5,
            "the next look at all of them is far away"
        );
    }

    #[test]
    fn sixteen_storming_threads_never_overshoot() {
        let sources = Arc::<Sources>::default();
        let most = std::sync::atomic::AtomicU32::new(0);
        let now = std::sync::atomic::AtomicU32::new(0);
        std::thread::scope(|scope| {
            for _ in 0..16 {
                scope.spawn(|| {
                    for _ in 0..2000 {
                        if let Ok(permit) = Sources::admit(&sources, v4(1), &limits(7, 0, 0), at(0)) {
                            let active = now.fetch_add(1, std::sync::atomic::Ordering::SeqCst) + 1;
                            most.fetch_max(active, std::sync::atomic::Ordering::SeqCst);
                            now.fetch_sub(1, std::sync::atomic::Ordering::SeqCst);
                            drop(permit);
                        }
                    }
                });
            }
        });
        assert!(most.into_inner() <= 7);
        assert_eq!(sources.count(), 0);
    }

    proptest! {
        /// Against a model that keeps every moment at which a source was let in.
        #[test]
        fn it_does_what_a_table_that_forgets_nothing_does(
            connections in 0..4_u32, every in 1..50_u64, burst in 0..4_u32,
            steps in prop::collection::vec((0..3_u32, 0..40_u64, any::<bool>()), 1..200),
        ) {
            let limits = limits(connections, every, burst);
            let sources = Arc::<Sources>::default();
            let mut held: BTreeMap<u32, Vec<SourcePermit>> = BTreeMap::new();
            let mut levels: BTreeMap<u32, u64> = BTreeMap::new();
            let mut millis = 1_000;
            for (client, pause, leaves) in steps {
                millis += pause;
                // The bucket leaks 1 each millisecond and gains `every` a connection.
                for level in levels.values_mut() {
                    *level = level.saturating_sub(pause);
                }
                let live = held.entry(client).or_default();
                if leaves {
                    live.pop();
                    continue;
                }
                let level = levels.entry(client).or_default();
                let wanted = if connections > 0 && live.len() >= connections as usize {
                    Err(RefusedReason::SourceLimit)
                } else if burst > 0 && *level > every * u64::from(burst - 1) {
                    Err(RefusedReason::SourceRate)
                } else {
                    *level += every;
                    Ok(())
                };
                let found = Sources::admit(&sources, v4(client), &limits, at(millis));
                prop_assert_eq!(found.as_ref().map(drop).map_err(|reason| *reason), wanted);
                live.extend(found.ok());
            }
        }
    }
}

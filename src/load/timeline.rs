//! What happened when: answers and errors counted by interval, in as much memory for an hour as for a second.
//!
//! Each thread's recorder has one; they are merged at the end, and `throughput` draws the sum. Counting is a division and an
//! addition: no lock, no allocation. A run that outlasts the slots folds neighbours into one and doubles the interval.

use std::time::{Duration, Instant};

/// A 512th of a second, a whole number of nanoseconds that becomes a whole second by doubling.
const INTERVAL_MIN_NANOS: u64 = 1_000_000_000 / 512;

/// 8 KiB a thread; between 256 and 512 intervals for any run longer than a second.
const SLOTS: usize = 512;

/// Below so many requests a piece, chance alone makes a curve.
const REQUESTS_PER_PIECE_MIN: u64 = 20;

/// What happened in one interval.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) answered: u64,
    /// Failed requests, and connections that ended wrongly after their last one.
    pub(super) errors: u64,
}

/// Counts by interval, all of which are equally long and the first of which begins at the origin.
#[derive(Debug)]
pub(super) struct Timeline {
    origin: Instant,
    interval_nanos: u64,
    slots: Box<[Counts]>,
}

/// A part of the run, and what happened in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Piece {
    /// Counted from the run's first request, or what happened before it.
    pub(super) from: Duration,
    pub(super) until: Duration,
    pub(super) counts: Counts,
}

impl Counts {
    const fn plus(self, other: Self) -> Self {
        Self {
            answered: self.answered.saturating_add(other.answered),
            errors: self.errors.saturating_add(other.errors),
        }
    }

    const fn sum(self) -> u64 {
        self.answered.saturating_add(self.errors)
    }
}

impl Piece {
    pub(super) const fn length(&self) -> Duration {
        self.until.saturating_sub(self.from)
    }

    /// `count` of this piece as a rate; 0 in a piece of no length.
    pub(super) fn per_second(&self, count: u64) -> f64 {
        let seconds = self.length().as_secs_f64();
        if seconds > 0.0 { count as f64 / seconds } else { 0.0 }
    }
}

impl Timeline {
    /// All of a run's timelines need the same origin, for intervals that can be added up.
    pub(super) fn new(origin: Instant) -> Self {
        Self {
            origin,
            interval_nanos: INTERVAL_MIN_NANOS,
            slots: vec![Counts::default(); SLOTS].into_boxed_slice(),
        }
    }

    pub(super) fn count_answer(&mut self, now: Instant) {
        if let Some(slot) = self.slot(now) {
            slot.answered = slot.answered.saturating_add(1);
        }
    }

    pub(super) fn count_error(&mut self, now: Instant) {
        if let Some(slot) = self.slot(now) {
            slot.errors = slot.errors.saturating_add(1);
        }
    }

    /// Adds what another thread has counted.
    pub(super) fn merge(&mut self, mut other: Self) {
        while self.interval_nanos < other.interval_nanos {
            self.fold();
        }
        while other.interval_nanos < self.interval_nanos {
            other.fold();
        }
        for (ours, theirs) in self.slots.iter_mut().zip(&other.slots) {
            *ours = ours.plus(*theirs);
        }
    }

    /// The run from its first request to its last event in equal pieces, at most `pieces_max` and one: fewer where requests
    /// are few. Only the first and the last may be shorter, by up to a half, or longer. Every count is in one of them.
    pub(super) fn pieces(&self, span: Option<(Instant, Instant)>, pieces_max: u64) -> Vec<Piece> {
        let Some((start, end)) = self.bounds(span) else {
            return Vec::new();
        };
        let total = self.slots.iter().map(|slot| slot.sum()).fold(0, u64::saturating_add);
        let enough = total.checked_div(REQUESTS_PER_PIECE_MIN).unwrap_or_default();
        let wanted = pieces_max.min(enough).max(1);
        let mut slots_per_piece = 1_usize;
        let length = |slots: usize| self.begin_of(slots).max(1);
        while end.saturating_sub(start).div_ceil(length(slots_per_piece)) > wanted {
            slots_per_piece = slots_per_piece.saturating_mul(2);
        }
        let mut pieces = Vec::new();
        for (index, slots) in self.slots.chunks(slots_per_piece).enumerate() {
            let begin = self.begin_of(index.saturating_mul(slots_per_piece));
            let (from, until) = (begin.max(start), begin.saturating_add(length(slots_per_piece)).min(end));
            let counts = slots.iter().fold(Counts::default(), |sum, slot| sum.plus(*slot));
            if from < until || counts.sum() > 0 {
                pieces.push(Piece {
                    from: Duration::from_nanos(from.saturating_sub(start)),
                    until: Duration::from_nanos(until.saturating_sub(start)),
                    counts,
                });
            }
        }
        join_short_ends(pieces, Duration::from_nanos(length(slots_per_piece) / 2))
    }

    /// When what was counted begins and ends, in nanoseconds from the origin; nothing when nothing was.
    fn bounds(&self, span: Option<(Instant, Instant)>) -> Option<(u64, u64)> {
        let is_used = |slot: &Counts| slot.sum() > 0;
        let first = self.slots.iter().position(is_used)?;
        let last = self.slots.iter().rposition(is_used)?;
        let (start, end) = span.map_or((0, u64::MAX), |(start, end)| (self.nanos(start), self.nanos(end)));
        // Connects that failed ahead of the first request are older than it.
        let start = match start < self.begin_of(first.saturating_add(1)) {
            true => start,
            false => self.begin_of(first),
        };
        let end = end.clamp(self.begin_of(last), self.begin_of(last.saturating_add(1)));
        Some((start, end.max(start)))
    }

    fn begin_of(&self, slot: usize) -> u64 {
        (slot as u64).saturating_mul(self.interval_nanos)
    }

    fn nanos(&self, at: Instant) -> u64 {
        u64::try_from(at.saturating_duration_since(self.origin).as_nanos()).unwrap_or(u64::MAX)
    }

    fn slot(&mut self, now: Instant) -> Option<&mut Counts> {
        let nanos = self.nanos(now);
        loop {
            let index = usize::try_from(nanos.checked_div(self.interval_nanos)?).unwrap_or(usize::MAX);
            if index < self.slots.len() {
                return self.slots.get_mut(index);
            }
            self.fold();
        }
    }

    /// Doubles the interval: each two neighbours become one.
    fn fold(&mut self) {
        self.interval_nanos = self.interval_nanos.saturating_mul(2);
        for to in 0..self.slots.len() {
            let slot = |at: usize| self.slots.get(at).copied().unwrap_or_default();
            let (first, second) = (to.saturating_mul(2), to.saturating_mul(2).saturating_add(1));
            let sum = slot(first).plus(slot(second));
            if let Some(slot) = self.slots.get_mut(to) {
                *slot = sum;
            }
        }
    }
}

/// A moment at either end would have a rate by chance: it goes to its neighbour.
fn join_short_ends(mut pieces: Vec<Piece>, shortest: Duration) -> Vec<Piece> {
    let is_short = |piece: Option<&Piece>| piece.is_some_and(|piece| piece.length() < shortest);
    if pieces.len() > 1 && is_short(pieces.first()) {
        let short = pieces.remove(0);
        if let Some(next) = pieces.first_mut() {
            next.from = short.from;
            next.counts = next.counts.plus(short.counts);
        }
    }
    if pieces.len() > 1
        && is_short(pieces.last())
        && let Some(short) = pieces.pop()
        && let Some(before) = pieces.last_mut()
    {
        before.until = short.until;
        before.counts = before.counts.plus(short.counts);
    }
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;

    fn total(counts: impl IntoIterator<Item = Counts>) -> Counts {
        counts.into_iter().fold(Counts::default(), Counts::plus)
    }

    fn at(origin: Instant, nanos: u64) -> Instant {
        origin.checked_add(Duration::from_nanos(nanos)).unwrap()
    }

    /// One timeline of `threads`, whose threads saw what happened in turn.
    fn timeline(origin: Instant, events: &[(u64, bool)], threads: usize) -> Timeline {
        let mut sum = Timeline::new(origin);
        for thread in 0..threads {
            let mut own = Timeline::new(origin);
            for (nanos, is_answer) in events.iter().skip(thread).step_by(threads) {
                match is_answer {
                    true => own.count_answer(at(origin, *nanos)),
                    false => own.count_error(at(origin, *nanos)),
                }
            }
            sum.merge(own);
        }
        sum
    }

    fn events() -> impl Strategy<Value = Vec<(u64, bool)>> {
        // From nanoseconds to a month.
        let nanos = (0_u32..52, any::<u64>()).prop_map(|(bits, random)| random % (1 << bits));
        vec((nanos, any::<bool>()), 0..300)
    }

    proptest! {
        #[test]
        fn however_long_a_run_is_every_request_is_in_one_interval_and_one_piece(
            events in events(),
            threads in 1_usize..4,
            has_span in any::<bool>(),
            late_start in 0_u64..(1 << 45),
        ) {
            let origin = Instant::now();
            let timeline = timeline(origin, &events, threads);
            let expected = Counts {
                answered: events.iter().filter(|(_, is_answer)| *is_answer).count() as u64,
                errors: events.iter().filter(|(_, is_answer)| !is_answer).count() as u64,
            };
            prop_assert_eq!(total(timeline.slots.iter().copied()), expected);
            let end = events.iter().map(|(nanos, _)| *nanos).max().unwrap_or_default();
            let span = has_span.then(|| (at(origin, late_start.min(end)), at(origin, end)));
            for pieces_max in [1, 7, 100] {
                let pieces = timeline.pieces(span, pieces_max);
                prop_assert_eq!(total(pieces.iter().map(|piece| piece.counts)), expected);
                prop_assert!(pieces.len() as u64 <= pieces_max + 1, "{} of {}", pieces.len(), pieces_max);
                prop_assert!(pieces.iter().all(|piece| piece.from <= piece.until), "{:?}", pieces);
                prop_assert!(pieces.windows(2).all(|pair| pair[0].until == pair[1].from), "{:?}", pieces);
            }
        }
    }

    #[test]
    fn doubling_keeps_the_sums_and_the_slots_bounded() {
        let origin = Instant::now();
        let mut timeline = Timeline::new(origin);
        let mut before = INTERVAL_MIN_NANOS;
        for second in 0..100_000 {
            timeline.count_answer(at(origin, second * 1_000_000_000));
            assert!(timeline.interval_nanos == before || timeline.interval_nanos == before * 2);
            before = timeline.interval_nanos;
        }
        assert_eq!(timeline.slots.len(), SLOTS);
        assert_eq!(total(timeline.slots.iter().copied()).answered, 100_000);
        assert_eq!(timeline.interval_nanos, 256_000_000_000);
        // 256 s of one request a second each.
        assert!(timeline.slots[..390].iter().all(|slot| slot.answered == 256));
    }

    #[test]
    fn threads_whose_intervals_differ_are_added_at_the_right_time() {
        let origin = Instant::now();
        let (early, late) = (at(origin, 10_000_000_000), at(origin, 1_000_000_000_000));
        for short_is_first in [true, false] {
            let (mut short, mut long) = (Timeline::new(origin), Timeline::new(origin));
            short.count_answer(early);
            long.count_error(early);
            long.count_answer(late);
            let (mut sum, other) = if short_is_first { (short, long) } else { (long, short) };
            sum.merge(other);
            let used: Vec<Counts> = sum.slots.iter().copied().filter(|slot| slot.sum() > 0).collect();
            let counts = |answered, errors| Counts { answered, errors };
            assert_eq!(used, [counts(1, 1), counts(1, 0)]);
        }
    }

    #[test]
    fn a_moment_at_either_end_is_no_piece_of_its_own() {
        let origin = Instant::now();
        let second = 1_000_000_000;
        // 100 a second from 0.9 s to 9.1 s.
        let events: Vec<(u64, bool)> = (90..=910).map(|number| (number * second / 100, true)).collect();
        let timeline = timeline(origin, &events, 2);
        let span = Some((at(origin, 900_000_000), at(origin, 9_100_000_000)));
        let pieces = timeline.pieces(span, 10);
        assert_eq!(pieces.len(), 8, "{pieces:?}");
        assert_eq!(pieces.first().unwrap().from, Duration::ZERO);
        assert_eq!(pieces.last().unwrap().until, Duration::from_millis(8200));
        for piece in pieces {
            let rate = piece.per_second(piece.counts.answered);
            assert!((99.0..=101.0).contains(&rate), "{rate}: {piece:?}");
        }
    }

    #[test]
    fn few_requests_make_few_pieces() {
        let origin = Instant::now();
        let events: Vec<(u64, bool)> = (0..50).map(|number| (number * 200_000_000, true)).collect();
        assert!(timeline(origin, &events, 1).pieces(None, 100).len() <= 3);
        assert_eq!(timeline(origin, &events[..1], 1).pieces(None, 100).len(), 1);
        assert_eq!(timeline(origin, &[], 1).pieces(None, 100), []);
    }
}

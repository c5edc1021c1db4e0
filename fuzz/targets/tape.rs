//! The dice of the simulation, thrown by the fuzzer: each throw takes the next bytes of its input, as few as the bound needs, so that a
//! changed byte changes one choice. Behind the end of the input they are the seeded ones, the same each time.
//!
//! Stands in for `tests/simulation/rng.rs`, with the same functions.

use std::cell::RefCell;

#[path = "../../tests/simulation/rng.rs"]
mod seeded;

pub(crate) use seeded::mix;

thread_local! {
    static TAPE: RefCell<(Vec<u8>, usize)> = const { RefCell::new((Vec::new(), 0)) };
}

/// What the next throws take.
pub fn put(bytes: &[u8]) {
    TAPE.with_borrow_mut(|tape| *tape = (bytes.to_vec(), 0));
}

fn take(count: usize) -> Option<u64> {
    TAPE.with_borrow_mut(|(bytes, at)| {
        let taken = bytes.get(*at..*at + count)?;
        *at += count;
        Some(taken.iter().fold(0, |number, byte| number << 8 | u64::from(*byte)))
    })
}

#[derive(Clone, Debug)]
pub(crate) struct Rng(seeded::Rng);

impl Rng {
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seeded::Rng::new(seed))
    }

    /// A whole number; what is made of it is a seed, so it takes nothing from the tape.
    pub(crate) fn next(&mut self) -> u64 {
        self.0.next()
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        let count = match bound {
            0 | 1 => return 0,
            2..=0x100 => 1,
            0x101..=0x1_0000 => 2,
            _ => 4,
        };
        take(count).map_or_else(|| self.0.below(bound), |number| number % bound)
    }

    pub(crate) fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.below(high - low + 1)
    }

    pub(crate) fn percent(&mut self, of_hundred: u64) -> bool {
        self.below(100) < of_hundred
    }

    pub(crate) fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len() as u64) as usize]
    }
}

//! A worker's sessions: found by index, told apart by generation, never moved.
//!
//! In pages, so that growing copies nothing and an idle session costs its own size and no spare capacity.

use crate::types::SessionKey;

/// Slots a page.
const PAGE: usize = 64;

/// The table.
#[derive(Debug)]
pub(super) struct Slab<T> {
    pages: Vec<Box<[Slot<T>]>>,
    free: Vec<u32>,
    count: usize,
    generation: u32,
}

#[derive(Debug)]
struct Slot<T> {
    generation: u32,
    value: Option<T>,
}

impl<T> Slab<T> {
    /// `generation` is that of each slot's first owner.
    pub(super) const fn new(generation: u32) -> Self {
        Self {
            pages: Vec::new(),
            free: Vec::new(),
            count: 0,
            generation,
        }
    }

    /// How many there are.
    pub(super) const fn count(&self) -> usize {
        self.count
    }

    /// The key that the next [`Slab::fill`] will fill. `None`: the index has no bits left.
    pub(super) fn reserve(&mut self) -> Option<SessionKey> {
        if self.free.is_empty() {
            let first = u32::try_from(self.pages.len().checked_mul(PAGE)?).ok()?;
            let last = first.checked_add(u32::try_from(PAGE).ok()?)?.checked_sub(1)?;
            if last > SessionKey::INDEX_MAX {
                return None;
            }
            let generation = self.generation;
            self.pages.push(
                (0..PAGE)
                    .map(|_| Slot {
                        generation,
                        value: None,
                    })
                    .collect(),
            );
            self.free.extend((first..=last).rev());
        }
        let index = self.free.last().copied()?;
        let generation = self.slot(index)?.generation;
        Some(SessionKey { index, generation })
    }

    /// Fills the slot that [`Slab::reserve`] named.
    pub(super) fn fill(&mut self, key: SessionKey, value: T) {
        if self.free.last() == Some(&key.index)
            && let Some(slot) = self.slot_mut(key.index)
        {
            slot.value = Some(value);
            self.free.pop();
            self.count = self.count.saturating_add(1);
        }
    }

    /// Whose key it is; `None` if its owner is gone.
    pub(super) fn get_mut(&mut self, key: SessionKey) -> Option<&mut T> {
        let slot = self.slot_mut(key.index)?;
        if slot.generation == key.generation {
            slot.value.as_mut()
        } else {
            None
        }
    }

    /// Takes it out; every older key of the slot is void from now on.
    pub(super) fn remove(&mut self, key: SessionKey) -> Option<T> {
        let slot = self.slot_mut(key.index)?;
        if slot.generation != key.generation {
            return None;
        }
        let value = slot.value.take()?;
        slot.generation = slot.generation.wrapping_add(1);
        self.free.push(key.index);
        self.count = self.count.saturating_sub(1);
        Some(value)
    }

    /// Everything there is.
    pub(super) fn iter(&self) -> impl Iterator<Item = (SessionKey, &T)> {
        let slots = self.pages.iter().flatten().zip(0_u32..);
        slots.filter_map(|(slot, index)| {
            let key = SessionKey {
                index,
                generation: slot.generation,
            };
            Some((key, slot.value.as_ref()?))
        })
    }

    /// Every key there is.
    pub(super) fn keys(&self) -> Vec<SessionKey> {
        let slots = self.pages.iter().flatten().zip(0_u32..);
        slots
            .filter(|(slot, _)| slot.value.is_some())
            .map(|(slot, index)| SessionKey {
                index,
                generation: slot.generation,
            })
            .collect()
    }

    fn slot(&self, index: u32) -> Option<&Slot<T>> {
        let index = usize::try_from(index).ok()?;
        self.pages.get(index.checked_div(PAGE)?)?.get(index.checked_rem(PAGE)?)
    }

    fn slot_mut(&mut self, index: u32) -> Option<&mut Slot<T>> {
        let index = usize::try_from(index).ok()?;
        self.pages
            .get_mut(index.checked_div(PAGE)?)?
            .get_mut(index.checked_rem(PAGE)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashMap;

    proptest! {
        #[test]
        fn a_key_finds_its_own_value_and_a_stale_one_nothing(steps in prop::collection::vec(any::<Option<u8>>(), 0..600)) {
            let mut slab = Slab::new(0);
            let mut live: HashMap<SessionKey, usize> = HashMap::new();
            let mut dead: Vec<SessionKey> = Vec::new();
            for (number, step) in steps.into_iter().enumerate() {
                match step {
                    Some(victim) if !live.is_empty() => {
                        let key = *live.keys().nth(usize::from(victim) % live.len()).unwrap();
                        prop_assert_eq!(slab.remove(key), live.remove(&key));
                        dead.push(key);
                    }
                    _ => {
                        let key = slab.reserve().unwrap();
                        slab.fill(key, number);
                        prop_assert!(live.insert(key, number).is_none());
                    }
                }
                prop_assert_eq!(slab.count(), live.len());
            }
            for (key, number) in &live {
                prop_assert_eq!(slab.get_mut(*key), Some(&mut number.clone()));
            }
            for key in dead {
                prop_assert!(slab.get_mut(key).is_none() && slab.remove(key).is_none());
            }
            prop_assert_eq!(slab.keys().len(), live.len());
        }
    }

    #[test]
    fn a_reserved_slot_that_is_not_filled_is_reserved_again() {
        let mut slab: Slab<u8> = Slab::new(0);
        assert_eq!(slab.reserve(), slab.reserve());
    }
}

//! Of `src/types.rs`, what the checked files name: plain values.

use std::time::Duration;

/// A backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BackendId(pub u32);

/// A moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(pub Duration);

impl Moment {
    #[must_use]
    pub fn plus(self, span: Duration) -> Self {
        Self(self.0 + span)
    }
}

/// A session at its worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SessionKey {
    pub index: u32,
    pub generation: u32,
}

impl SessionKey {
    pub const INDEX_MAX: u32 = 0x00ff_ffff;
}

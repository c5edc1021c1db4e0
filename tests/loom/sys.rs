//! The doorbell of `src/sys`, on an eventfd that loom knows.

#[path = "../../src/sys/doorbell.rs"]
mod doorbell;
#[path = "wake.rs"]
mod wake;

pub use doorbell::Doorbell;

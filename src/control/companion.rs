//! Rooms that live beside `control` in the process and go along when a new lb takes over: they know best what of them must.

use std::io;
use std::os::fd::OwnedFd;

/// What a room hands over.
#[derive(Debug, Default)]
pub struct Luggage {
    /// What it says of itself.
    pub state: serde_json::Value,
    /// Sockets that go with it.
    pub descriptors: Vec<OwnedFd>,
}

/// Such a room. All of it is called on the control thread: it must be quick and may not block.
pub trait Companion: Send {
    /// Under which its luggage is found again.
    fn name(&self) -> &'static str;

    /// A new lb is about to be started: what it needs. From now on the room changes nothing of that, until it is told how this ended.
    ///
    /// # Errors
    /// It can't be had; there is no upgrade then.
    fn pack(&self) -> io::Result<Luggage>;

    /// The new lb serves: nothing new is taken here, but it may still fail.
    fn step_aside(&self);

    /// There is no new lb: everything goes on as before.
    fn resume(&self);

    /// The new lb has everything: what was handed over is its own.
    fn let_go(&self);
}

//! The client's proxy introduces it: a header of the PROXY protocol comes first, and nothing happens before it is there.
//!
//! Once it is read, the session goes on as any other: what came behind the header is the first that the backend gets. The time for it
//! is absolute: a byte now and then doesn't prolong it (the specification wants at least 3 s, for a retransmit).

use std::time::Duration;

use super::SHORTAGE_PAUSE;
use super::direction::Wire;
use super::io::{Read, Socket, World};
use crate::observe::{End, RefusedReason};
use crate::proxy_protocol::{self, Header, Parsed};
use crate::types::{Lane, Moment, Readiness};

/// From accept to the end of the header.
pub const HEADER_TIMEOUT: Duration = Duration::from_secs(3);

/// A client of which nothing is known yet.
#[derive(Debug)]
pub(super) struct Introduction<S> {
    client: Wire<S>,
    /// What came so far, if it isn't a whole header: at most the longest one, and one read more.
    got: Vec<u8>,
    until: Moment,
    /// When to try again for want of memory.
    retry_at: Moment,
}

/// A header, and the client's bytes that came along with it.
type Whole = (Header, Box<[u8]>);

/// What came of a call.
#[derive(Debug)]
pub(super) enum Greeting {
    Waiting,
    /// The header is there, and these bytes of the client behind it.
    Read(Header, Box<[u8]>),
    /// It went as it came, without a word.
    Left,
    Failed(End),
}

impl<S: Socket> Introduction<S> {
    pub(super) fn new(client: S, now: Moment) -> Self {
        Self {
            client: Wire::new(client, Lane::CLIENT),
            got: Vec::new(),
            until: now.plus(HEADER_TIMEOUT),
            retry_at: Moment::NEVER,
        }
    }

    pub(super) fn deadline(&self) -> Moment {
        self.until.min(self.retry_at)
    }

    pub(super) fn on_event<W: World<Socket = S>>(&mut self, lane: Lane, ready: Readiness, world: &mut W) -> Greeting {
        if lane == Lane::CLIENT {
            self.client.note(ready);
        }
        self.listen(world)
    }

    pub(super) fn on_time<W: World<Socket = S>>(&mut self, world: &mut W) -> Greeting {
        if self.until <= world.now() {
            let bytes = self.got.len();
            let why = format_args!("no whole header within {HEADER_TIMEOUT:?}, {bytes} bytes came");
            world.note_refused(RefusedReason::ProxyTimeout, why);
            return Greeting::Failed(End::Refused);
        }
        self.listen(world)
    }

    /// Reads what is there, up to the end of the header at least.
    fn listen<W: World<Socket = S>>(&mut self, world: &mut W) -> Greeting {
        self.retry_at = Moment::NEVER;
        if self.client.broken {
            return Greeting::Failed(End::ClientReset); // as while connecting: nobody is left to serve
        }
        while self.client.readable {
            let scratch = world.scratch();
            match self.client.socket.receive(scratch) {
                Read::Bytes(received) => {
                    // As when relaying: less than was asked for means that there is no more, unless an end waits behind it.
                    let is_full = received >= scratch.len();
                    if !is_full && !self.client.read_closed && !self.client.urgent {
                        self.client.readable = false;
                    }
                    let bytes = scratch.get(..received).unwrap_or_default();
                    match self.take(bytes) {
                        Ok(None) => {}
                        Ok(Some((header, rest))) => return Greeting::Read(header, rest),
                        Err(fault) => {
                            world.note_refused(RefusedReason::ProxyMalformed, format_args!("{fault}"));
                            return Greeting::Failed(End::Refused);
                        }
                    }
                }
                // A check whether anybody listens: nothing is wrong with it.
                Read::Fin if self.got.is_empty() => return Greeting::Left,
                Read::Fin => {
                    let bytes = self.got.len();
                    let why = format_args!("the connection ended after {bytes} bytes of a header");
                    world.note_refused(RefusedReason::ProxyMalformed, why);
                    return Greeting::Failed(End::Refused);
                }
                Read::Gone | Read::Unsupported => return Greeting::Failed(End::ClientReset),
                Read::Wait => self.client.readable = false,
                Read::Later => {
                    self.retry_at = world.now().plus(SHORTAGE_PAUSE);
                    return Greeting::Waiting;
                }
            }
        }
        Greeting::Waiting
    }

    /// Some more bytes: the header, if that makes it whole, and what is behind it.
    fn take(&mut self, bytes: &[u8]) -> Result<Option<Whole>, proxy_protocol::Malformed> {
        let is_first = self.got.is_empty();
        if !is_first {
            self.got.extend_from_slice(bytes);
        }
        let all = if is_first { bytes } else { &self.got };
        match proxy_protocol::parse(all)? {
            Parsed::Complete(header, length) => Ok(Some((header, all.get(length..).unwrap_or_default().into()))),
            Parsed::Incomplete => {
                if is_first {
                    self.got.extend_from_slice(bytes);
                }
                Ok(None)
            }
        }
    }

    /// The client's wire, with what is known of its readiness.
    pub(super) fn into_client(self) -> Wire<S> {
        self.client
    }
}

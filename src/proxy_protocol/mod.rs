//! The PROXY protocol, versions 1 and 2: what a proxy says of its client in front of the client's first byte.
//!
//! [`parse`] is called by `session` with what has come so far, [`encode()`] by `worker` when a backend stands, [`probe`] by `control`
//! for health checks. Pure: bytes in, values out. May not: read past what a header says it has, allocate by a length that a stranger
//! claims, recurse, panic.
//!
//! Invariants: what any part of some bytes is refused for, all of them are; what a part is complete with, all of them are complete with.
//! So it makes no difference how a header is cut into segments.
//!
//! Source: `proxy-protocol.txt`, Willy Tarreau, HAProxy Technologies, 2020/03/05 (HAProxy's `doc/`): sections 2.1 and 2.2. "The
//! specification" means that text.

mod encode;
#[cfg(test)]
mod tests;
mod v1;
mod v2;

use std::fmt;
use std::net::SocketAddr;

pub use encode::{encode, probe};

/// The longest line of version 1, with its CRLF (section 2.1: "worst case").
pub const V1_BYTES_MAX: usize = 107;
/// The longest header of version 2: its length has 16 bits and doesn't count the first 16 bytes.
pub const V2_BYTES_MAX: usize = 16 + 65_535;

/// Which of the two formats.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// A line of text.
    V1,
    /// Binary.
    V2,
}

/// Both ends of a client's connection, as the proxy saw it. IPv4 in IPv6's clothes (`::ffff:192.0.2.1`) is IPv4 here, so that no rule
/// about an address can be passed by in other clothes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Endpoints {
    /// Who connected.
    pub source: SocketAddr,
    /// Where to.
    pub destination: SocketAddr,
}

impl Endpoints {
    /// Both in their plain form.
    #[must_use]
    pub fn new(source: SocketAddr, destination: SocketAddr) -> Self {
        let plain = |address: SocketAddr| SocketAddr::new(address.ip().to_canonical(), address.port());
        Self {
            source: plain(source),
            destination: plain(destination),
        }
    }
}

/// What a header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Header {
    /// Nothing of another client: the connection's own addresses count (`LOCAL`, `UNKNOWN`, and what isn't TCP over IP).
    Own,
    /// The connection is another client's.
    Proxied(Endpoints),
}

/// How far a header has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parsed {
    /// Nothing is wrong with it so far.
    Incomplete,
    /// It is there; the client's bytes begin behind so many of its own.
    Complete(Header, usize),
}

/// What is wrong with a header, or what stands in its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Malformed {
    /// It begins like neither version.
    Signature,
    /// Version 1: no CRLF in time.
    LineTooLong,
    /// Version 1: a CR or a LF alone.
    LineEnd,
    /// Version 1: neither `TCP4`, `TCP6` nor `UNKNOWN`.
    Protocol,
    /// Version 1: not two addresses of the family and two ports, each behind one space.
    Addresses,
    /// Version 2: this version.
    Version(u8),
    /// Version 2: neither LOCAL nor PROXY, this one.
    Command(u8),
    /// Version 2: a family or transport that there isn't, in this byte.
    Family(u8),
    /// Version 2: so many bytes are too few for the addresses.
    Length(u16),
    /// Version 2: a TLV of this type ends behind the header, or behind the TLV that it is in; or less than a TLV is left.
    TlvLength,
    /// Version 2: a TLV of this type has a length that its type can't have.
    TlvValue(u8),
    /// Version 2: the checksum is another one, or there are two.
    Checksum,
}

impl fmt::Display for Malformed {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Signature => out.write_str("what came first is no header of the PROXY protocol"),
            Self::LineTooLong => write!(out, "no CRLF in the first {V1_BYTES_MAX} bytes of a version 1 header"),
            Self::LineEnd => out.write_str("a version 1 header ends by CR or LF alone, not by CRLF"),
            Self::Protocol => out.write_str("a version 1 header names neither TCP4, TCP6 nor UNKNOWN"),
            Self::Addresses => out
                .write_str("a version 1 header needs two addresses of its family and two ports, each behind one space"),
            Self::Version(version) => write!(out, "a binary header of version {version}, not 2"),
            Self::Command(command) => write!(
                out,
                "command {command} in a version 2 header, not 0 (LOCAL) or 1 (PROXY)"
            ),
            Self::Family(byte) => write!(out, "address family and transport 0x{byte:02x} in a version 2 header"),
            Self::Length(bytes) => write!(out, "{bytes} bytes in a version 2 header are too few for its addresses"),
            Self::TlvLength => out.write_str("a TLV of a version 2 header is longer than what it stands in"),
            Self::TlvValue(kind) => write!(
                out,
                "a TLV of type 0x{kind:02x} in a version 2 header has a wrong length"
            ),
            Self::Checksum => out.write_str("the CRC32C of a version 2 header is wrong"),
        }
    }
}

/// Looks at the first bytes of a connection, all that have come so far. Both versions are taken, as section 2.2 recommends; whether
/// there is a header at all is never guessed.
///
/// # Errors
/// These bytes, whatever may follow, are no header.
pub fn parse(bytes: &[u8]) -> Result<Parsed, Malformed> {
    if begins_like(bytes, &v2::SIGNATURE) {
        v2::parse(bytes)
    } else if begins_like(bytes, v1::SIGNATURE) {
        v1::parse(bytes)
    } else {
        Err(Malformed::Signature)
    }
}

/// Whether one of the two is how the other begins.
fn begins_like(bytes: &[u8], wanted: &[u8]) -> bool {
    bytes.iter().zip(wanted).all(|(byte, wanted)| byte == wanted)
}

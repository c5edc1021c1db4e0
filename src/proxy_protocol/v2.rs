//! Version 2: binary, section 2.2 of the specification.

use std::net::{IpAddr, SocketAddr};

use super::{Endpoints, Header, Malformed, Parsed};

/// What a header begins with.
pub(super) const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
/// The signature, version and command, family and transport, and the length of the rest.
pub(super) const FIXED_BYTES: usize = 16;
/// The version, in the upper half of its byte.
pub(super) const VERSION: u8 = 2;
/// Types of TLV that are looked into (section 2.2.3 and following).
pub(super) const TLV_CRC32C: u8 = 0x03;
const TLV_UNIQUE_ID: u8 = 0x05;
const TLV_SSL: u8 = 0x20;
/// A checksum.
pub(super) const CRC32C_BYTES: usize = 4;
/// The most that identifies a connection (section 2.2.5).
const UNIQUE_ID_BYTES_MAX: usize = 128;
/// What stands before the TLVs within an SSL TLV: `client` and `verify` (section 2.2.6).
const SSL_FIXED_BYTES: usize = 5;

/// What the addresses of a header are.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// To be skipped, with all that stands behind them: nobody knows how long they are.
    Skipped,
    /// So many bytes that aren't TCP over IP: "it automatically falls back to the UNSPEC mode".
    Foreign(u16),
    Tcp4,
    Tcp6,
}

impl Kind {
    fn of(byte: u8) -> Result<Self, Malformed> {
        match (byte >> 4, byte & 0x0f) {
            (0..=3, 0) | (0, 1 | 2) => Ok(Self::Skipped),
            (1, 1) => Ok(Self::Tcp4),
            (2, 1) => Ok(Self::Tcp6),
            (1, 2) => Ok(Self::Foreign(12)),
            (2, 2) => Ok(Self::Foreign(36)),
            (3, 1 | 2) => Ok(Self::Foreign(216)),
            _ => Err(Malformed::Family(byte)),
        }
    }

    const fn address_bytes(self) -> u16 {
        match self {
            Self::Skipped => 0,
            Self::Foreign(bytes) => bytes,
            Self::Tcp4 => 12,
            Self::Tcp6 => 36,
        }
    }
}

/// Bytes that begin with [`SIGNATURE`], or are how it begins.
pub(super) fn parse(bytes: &[u8]) -> Result<Parsed, Malformed> {
    let Some(version_and_command) = bytes.get(SIGNATURE.len()) else {
        return Ok(Parsed::Incomplete);
    };
    let is_local = match (version_and_command >> 4, version_and_command & 0x0f) {
        (VERSION, 0) => true,
        (VERSION, 1) => false,
        (VERSION, command) => return Err(Malformed::Command(command)),
        (version, _) => return Err(Malformed::Version(version)),
    };
    let Some(family) = bytes.get(13) else {
        return Ok(Parsed::Incomplete);
    };
    // "Discard the protocol block including the family which is ignored."
    let kind = if is_local { Kind::Skipped } else { Kind::of(*family)? };
    let Some(length) = bytes.get(14..FIXED_BYTES).and_then(|two| two.try_into().ok()) else {
        return Ok(Parsed::Incomplete);
    };
    let length = u16::from_be_bytes(length);
    if length < kind.address_bytes() {
        return Err(Malformed::Length(length));
    }
    let end = FIXED_BYTES.saturating_add(usize::from(length));
    let Some(whole) = bytes.get(..end) else {
        return Ok(Parsed::Incomplete);
    };
    if kind != Kind::Skipped {
        check_tlvs(whole, FIXED_BYTES.saturating_add(usize::from(kind.address_bytes())))?;
    }
    let addresses = whole.get(FIXED_BYTES..).unwrap_or_default();
    let endpoints = match kind {
        Kind::Skipped | Kind::Foreign(_) => None,
        Kind::Tcp4 => endpoints::<4>(addresses),
        Kind::Tcp6 => endpoints::<16>(addresses),
    };
    Ok(Parsed::Complete(endpoints.map_or(Header::Own, Header::Proxied), end))
}

/// Two addresses of so many bytes, then two ports; they are there, as the length has told.
fn endpoints<const BYTES: usize>(bytes: &[u8]) -> Option<Endpoints>
where
    IpAddr: From<[u8; BYTES]>,
{
    let (source, rest) = bytes.split_first_chunk::<BYTES>()?;
    let (destination, rest) = rest.split_first_chunk::<BYTES>()?;
    let (source_port, rest) = rest.split_first_chunk::<2>()?;
    let (destination_port, _) = rest.split_first_chunk::<2>()?;
    let address = |ip: &[u8; BYTES], port: &[u8; 2]| SocketAddr::new(IpAddr::from(*ip), u16::from_be_bytes(*port));
    Some(Endpoints::new(
        address(source, source_port),
        address(destination, destination_port),
    ))
}

/// Goes through TLVs, none of which may end behind the bytes it stands in.
struct Tlvs<'a>(&'a [u8]);

impl<'a> Tlvs<'a> {
    /// The type and the value of the next one; `None` at the end.
    fn next(&mut self) -> Result<Option<(u8, &'a [u8])>, Malformed> {
        if self.0.is_empty() {
            return Ok(None);
        }
        let ([kind, high, low], rest) = self.0.split_first_chunk().ok_or(Malformed::TlvLength)?;
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        let (value, rest) = rest.split_at_checked(length).ok_or(Malformed::TlvLength)?;
        self.0 = rest;
        Ok(Some((*kind, value)))
    }
}

/// The TLVs of a header, which begin at `start`. What they say isn't used, and never passed on.
fn check_tlvs(header: &[u8], start: usize) -> Result<(), Malformed> {
    let mut tlvs = Tlvs(header.get(start..).unwrap_or_default());
    let mut has_checksum = false;
    while let Some((kind, value)) = tlvs.next()? {
        match kind {
            TLV_CRC32C => {
                // The value ends where the rest begins.
                let end = header.len().saturating_sub(tlvs.0.len());
                if std::mem::replace(&mut has_checksum, true) {
                    return Err(Malformed::Checksum);
                }
                check_checksum(header, value, end)?;
            }
            TLV_UNIQUE_ID if value.len() > UNIQUE_ID_BYTES_MAX => return Err(Malformed::TlvValue(kind)),
            TLV_SSL => {
                // One level, and no deeper: what stands in these is text.
                let mut within = Tlvs(value.get(SSL_FIXED_BYTES..).ok_or(Malformed::TlvValue(kind))?);
                while within.next()?.is_some() {}
            }
            _ => {}
        }
    }
    Ok(())
}

/// "A CRC32c checksum value of the whole PROXY header", with zeroes in its own place, which ends at `end`.
fn check_checksum(header: &[u8], value: &[u8], end: usize) -> Result<(), Malformed> {
    let said: [u8; CRC32C_BYTES] = value.try_into().map_err(|_| Malformed::TlvValue(TLV_CRC32C))?;
    let before = header.get(..end.saturating_sub(CRC32C_BYTES)).unwrap_or_default();
    let behind = header.get(end..).unwrap_or_default();
    let found = crc32c::crc32c(before);
    let found = crc32c::crc32c_append(found, &[0; CRC32C_BYTES]);
    if crc32c::crc32c_append(found, behind) == u32::from_be_bytes(said) {
        Ok(())
    } else {
        Err(Malformed::Checksum)
    }
}

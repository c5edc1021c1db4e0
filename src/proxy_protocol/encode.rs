//! Headers as lb sends them: in front of a client's bytes, and in front of a health check.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::v2::{CRC32C_BYTES, FIXED_BYTES, SIGNATURE, TLV_CRC32C, VERSION};
use super::{Endpoints, Version};

/// Commands of version 2.
const LOCAL: u8 = 0;
const PROXY: u8 = 1;
/// Family and transport.
const UNSPEC: u8 = 0x00;
const TCP4: u8 = 0x11;
const TCP6: u8 = 0x21;

/// Both addresses in one family.
#[derive(Clone, Copy)]
enum Pair {
    V4(Ipv4Addr, Ipv4Addr),
    V6(Ipv6Addr, Ipv6Addr),
}

impl Pair {
    /// A header has one family: of two, IPv4 is written as IPv6 (`::ffff:192.0.2.1`), as HAProxy does it too.
    fn of(endpoints: &Endpoints) -> Self {
        match (endpoints.source.ip(), endpoints.destination.ip()) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => Self::V4(source, destination),
            (source, destination) => Self::V6(in_v6(source), in_v6(destination)),
        }
    }
}

fn in_v6(ip: IpAddr) -> Ipv6Addr {
    match ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped(),
        IpAddr::V6(ip) => ip,
    }
}

/// What goes to a backend before a client's first byte. `None`: nobody knows its addresses any more.
#[must_use]
pub fn encode(version: Version, endpoints: Option<Endpoints>) -> Vec<u8> {
    match version {
        Version::V1 => line(endpoints),
        Version::V2 => with_checksum(binary(PROXY, endpoints)),
    }
}

/// What goes to a backend before a health check, whose own addresses count.
#[must_use]
pub fn probe(version: Version) -> Vec<u8> {
    match version {
        Version::V1 => line(None),
        // "When a sender presents a LOCAL connection, it should not present any address so it sets this field to zero."
        Version::V2 => binary(LOCAL, None),
    }
}

fn line(endpoints: Option<Endpoints>) -> Vec<u8> {
    let Some(endpoints) = endpoints else {
        return b"PROXY UNKNOWN\r\n".to_vec();
    };
    let (family, source, destination) = match Pair::of(&endpoints) {
        Pair::V4(source, destination) => ("TCP4", IpAddr::V4(source), IpAddr::V4(destination)),
        Pair::V6(source, destination) => ("TCP6", IpAddr::V6(source), IpAddr::V6(destination)),
    };
    let ports = (endpoints.source.port(), endpoints.destination.port());
    format!("PROXY {family} {source} {destination} {} {}\r\n", ports.0, ports.1).into_bytes()
}

fn binary(command: u8, endpoints: Option<Endpoints>) -> Vec<u8> {
    let mut addresses = Vec::new();
    let family = match endpoints.as_ref().map(Pair::of) {
        None => UNSPEC,
        Some(Pair::V4(source, destination)) => {
            addresses.extend(source.octets());
            addresses.extend(destination.octets());
            TCP4
        }
        Some(Pair::V6(source, destination)) => {
            addresses.extend(source.octets());
            addresses.extend(destination.octets());
            TCP6
        }
    };
    if let Some(endpoints) = endpoints {
        addresses.extend(endpoints.source.port().to_be_bytes());
        addresses.extend(endpoints.destination.port().to_be_bytes());
    }
    let mut header = SIGNATURE.to_vec();
    header.extend([VERSION << 4 | command, family, 0, 0]);
    header.extend(addresses);
    set_length(&mut header);
    header
}

/// With a CRC32C TLV at its end (section 2.2.3).
fn with_checksum(mut header: Vec<u8>) -> Vec<u8> {
    header.extend([TLV_CRC32C, 0, 4]);
    header.extend([0; CRC32C_BYTES]);
    set_length(&mut header);
    let checksum = crc32c::crc32c(&header);
    let place = header.len().saturating_sub(CRC32C_BYTES);
    header.truncate(place);
    header.extend(checksum.to_be_bytes());
    header
}

/// Says how many bytes follow the fixed ones.
fn set_length(header: &mut [u8]) {
    let length = u16::try_from(header.len().saturating_sub(FIXED_BYTES)).unwrap_or(u16::MAX);
    if let Some(place) = header.get_mut(14..FIXED_BYTES) {
        place.copy_from_slice(&length.to_be_bytes());
    }
}

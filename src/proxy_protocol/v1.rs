//! Version 1: a line of text, section 2.1 of the specification.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use super::{Endpoints, Header, Malformed, Parsed, V1_BYTES_MAX, begins_like};

/// What a line begins with.
pub(super) const SIGNATURE: &[u8] = b"PROXY ";
const CRLF: &[u8] = b"\r\n";

#[derive(Clone, Copy, PartialEq, Eq)]
enum Protocol {
    Tcp4,
    Tcp6,
    Unknown,
}

const PROTOCOLS: [(&[u8], Protocol); 3] = [
    (b"TCP4 ", Protocol::Tcp4),
    (b"TCP6 ", Protocol::Tcp6),
    (b"UNKNOWN", Protocol::Unknown),
];

/// Bytes that begin with [`SIGNATURE`], or are how it begins.
pub(super) fn parse(bytes: &[u8]) -> Result<Parsed, Malformed> {
    let rest = bytes.get(SIGNATURE.len()..).unwrap_or_default();
    let (word, protocol) = PROTOCOLS
        .into_iter()
        .find(|(word, _)| begins_like(rest, word))
        .ok_or(Malformed::Protocol)?;
    let Some(rest) = rest.strip_prefix(word) else {
        return Ok(Parsed::Incomplete);
    };
    let within = V1_BYTES_MAX.saturating_sub(SIGNATURE.len()).saturating_sub(word.len());
    let Some(text) = line(rest, protocol, within)? else {
        return Ok(Parsed::Incomplete);
    };
    let length = SIGNATURE.len().saturating_add(word.len());
    let length = length.saturating_add(text.len()).saturating_add(CRLF.len());
    let header = match protocol {
        Protocol::Unknown => Header::Own,
        Protocol::Tcp4 => Header::Proxied(endpoints::<Ipv4Addr>(text)?),
        Protocol::Tcp6 => Header::Proxied(endpoints::<Ipv6Addr>(text)?),
    };
    Ok(Parsed::Complete(header, length))
}

/// What stands before the CRLF, which must come `within` so many bytes; `None`: it may still come.
fn line(rest: &[u8], protocol: Protocol, within: usize) -> Result<Option<&[u8]>, Malformed> {
    // "UNKNOWN" is a word of its own: a space, or the end of the line.
    if protocol == Protocol::Unknown && !(rest.first() == Some(&b' ') || begins_like(rest, CRLF)) {
        return Err(Malformed::Protocol);
    }
    let seen = rest.get(..within).unwrap_or(rest);
    let end = match protocol {
        // "The receiver must ignore anything presented before the CRLF is found."
        Protocol::Unknown => seen.windows(CRLF.len()).position(|window| window == CRLF),
        Protocol::Tcp4 | Protocol::Tcp6 => match seen.iter().position(|byte| CRLF.contains(byte)) {
            Some(end) if !begins_like(seen.get(end..).unwrap_or_default(), CRLF) => return Err(Malformed::LineEnd),
            found => found.filter(|end| seen.len() >= end.saturating_add(CRLF.len())),
        },
    };
    match end {
        Some(end) => Ok(seen.get(..end)),
        None if rest.len() >= within => Err(Malformed::LineTooLong),
        None => Ok(None),
    }
}

/// Two addresses of a family, and two ports.
fn endpoints<A: FromStr + Into<IpAddr>>(text: &[u8]) -> Result<Endpoints, Malformed> {
    let text = std::str::from_utf8(text).map_err(|_| Malformed::Addresses)?;
    let fields: Vec<&str> = text.splitn(5, ' ').collect();
    let [source, destination, source_port, destination_port] = fields.as_slice() else {
        return Err(Malformed::Addresses);
    };
    let address = |ip: &str, at: &str| {
        let ip = ip.parse::<A>().map_err(|_| Malformed::Addresses)?;
        Ok(SocketAddr::new(ip.into(), port(at)?))
    };
    Ok(Endpoints::new(
        address(source, source_port)?,
        address(destination, destination_port)?,
    ))
}

/// "Heading zeroes are not permitted", nor is a sign.
fn port(text: &str) -> Result<u16, Malformed> {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    let port = text.parse().ok().filter(|_| is_plain);
    port.ok_or(Malformed::Addresses)
}

//! What a pick goes by, and the number that the hashing policies make of a client.

use std::net::{IpAddr, SocketAddr};

use twox_hash::XxHash3_64;

use crate::types::{ClientAddr, Moment};

/// What a pick goes by.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// A number that each pick of the service draws anew: 0, 1, 2, … over all workers together.
    pub turn: u64,
    /// 64 random bits.
    pub dice: u64,
    /// What the hashing policies hash: whoever has the same number gets the same backend.
    pub id: u64,
    /// Live sessions of the service, this one among them.
    pub sessions: u32,
    /// When this is.
    pub now: Moment,
}

/// `hash_key`: what a client is known by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HashKey {
    /// Its address: all its connections go together.
    #[default]
    SourceIp,
    /// Its address and port.
    SourceAddress,
    /// Nothing: connections are numbered as they come.
    Connection,
}

impl HashKey {
    /// The number of this connection: an IPv4 address as it is read, so that a hash worked out by hand is the same; an IPv6
    /// address by its xxh3.
    #[must_use]
    pub fn id(self, client: ClientAddr, turn: u64) -> u64 {
        let address = SocketAddr::new(client.0.ip().to_canonical(), client.0.port());
        match (self, address.ip()) {
            (Self::Connection, _) => turn,
            (Self::SourceIp, IpAddr::V4(ip)) => u64::from(ip.to_bits()),
            (Self::SourceAddress, IpAddr::V4(ip)) => (u64::from(ip.to_bits()) << 16) | u64::from(address.port()),
            (Self::SourceIp, IpAddr::V6(ip)) => XxHash3_64::oneshot(&ip.octets()),
            (Self::SourceAddress, IpAddr::V6(ip)) => {
                XxHash3_64::oneshot_with_seed(u64::from(address.port()), &ip.octets())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(key: HashKey, client: &str) -> u64 {
        key.id(ClientAddr(client.parse().unwrap()), 42)
    }

    #[test]
    fn an_ipv4_client_is_its_number_however_it_is_written() {
        assert_eq!(id(HashKey::SourceIp, "0.0.1.2:7"), 258);
        assert_eq!(id(HashKey::SourceIp, "[::ffff:0.0.1.2]:7"), 258);
        assert_eq!(id(HashKey::SourceAddress, "0.0.1.2:7"), (258 << 16) + 7);
        assert_eq!(id(HashKey::Connection, "0.0.1.2:7"), 42);
    }

    #[test]
    fn the_port_counts_only_for_the_whole_address() {
        for (one, other) in [("10.0.0.1:1", "10.0.0.1:2"), ("[2001:db8::1]:1", "[2001:db8::1]:2")] {
            assert_eq!(id(HashKey::SourceIp, one), id(HashKey::SourceIp, other));
            assert_ne!(id(HashKey::SourceAddress, one), id(HashKey::SourceAddress, other));
        }
        assert_ne!(
            id(HashKey::SourceIp, "[2001:db8::1]:1"),
            id(HashKey::SourceIp, "[2001:db8::2]:1")
        );
    }
}

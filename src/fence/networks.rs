//! Which networks may connect: of those that hold an address, the one with the longest prefix says.

use std::net::{IpAddr, Ipv6Addr};

use ipnet::IpNet;

/// Allowed and denied networks. The default lets everybody in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Networks {
    /// All of them, ordered by prefix (the longest first), family and address.
    rules: Vec<Rule>,
    /// How far each length of prefix reaches in them: (length, first, one past the last).
    lengths: Vec<(u8, usize, usize)>,
    /// What holds where no network does: if some are allowed, all others aren't.
    is_open: bool,
    is_set: bool,
}

/// One network. An IPv4 address is as its mapped IPv6 one (RFC 4291, 2.5.5.2), so that there is one kind of prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Rule {
    /// Zero bits at the end don't count.
    network: u128,
    is_allowed: bool,
}

impl Networks {
    /// From the lists of `[service.access]`. A network that stands in both is denied; `config` refuses that before.
    #[must_use]
    pub fn new(allow: &[IpNet], deny: &[IpNet]) -> Self {
        let rule = |network: &IpNet, is_allowed: bool| {
            let (address, length) = match network {
                IpNet::V4(network) => (
                    network.network().to_ipv6_mapped(),
                    network.prefix_len().saturating_add(96),
                ),
                IpNet::V6(network) => (network.network(), network.prefix_len()),
            };
            (
                u8::MAX.saturating_sub(length),
                Rule {
                    network: address.to_bits(),
                    is_allowed,
                },
            )
        };
        // Denied ones first among equals, since `false` orders before `true`.
        let mut rules: Vec<(u8, Rule)> = allow.iter().map(|network| rule(network, true)).collect();
        rules.extend(deny.iter().map(|network| rule(network, false)));
        rules.sort_unstable();
        rules.dedup_by_key(|(order, rule)| (*order, rule.network));
        let mut lengths: Vec<(u8, usize, usize)> = Vec::new();
        for (place, (order, _)) in rules.iter().enumerate() {
            let length = u8::MAX.saturating_sub(*order);
            let end = place.saturating_add(1);
            match lengths.last_mut() {
                Some((last, _, past)) if *last == length => *past = end,
                _ => lengths.push((length, place, end)),
            }
        }
        Self {
            is_set: !rules.is_empty(),
            rules: rules.into_iter().map(|(_, rule)| rule).collect(),
            lengths,
            is_open: allow.is_empty(),
        }
    }

    /// Whether a client may connect. A binary search for each length of prefix that is in use.
    #[must_use]
    pub fn admits(&self, client: IpAddr) -> bool {
        if !self.is_set {
            return true;
        }
        let address = match client {
            IpAddr::V4(ip) => ip.to_ipv6_mapped(),
            IpAddr::V6(ip) => ip,
        };
        for (length, first, past) in &self.lengths {
            let network = truncated(address, *length);
            let rules = self.rules.get(*first..*past).unwrap_or_default();
            if let Ok(place) = rules.binary_search_by_key(&network, |rule| rule.network) {
                return rules.get(place).is_some_and(|rule| rule.is_allowed);
            }
        }
        self.is_open
    }
}

fn truncated(address: Ipv6Addr, length: u8) -> u128 {
    let host_bits = 128_u32.saturating_sub(u32::from(length));
    let mask = u128::MAX.checked_shl(host_bits).unwrap_or(0);
    address.to_bits() & mask
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::net::Ipv4Addr;

    fn networks(list: &[&str]) -> Vec<IpNet> {
        list.iter().map(|text| text.parse().unwrap()).collect()
    }

    fn admits(allow: &[&str], deny: &[&str], client: &str) -> bool {
        let client: IpAddr = client.parse().unwrap();
        Networks::new(&networks(allow), &networks(deny)).admits(client.to_canonical())
    }

    #[test]
    fn without_a_list_everybody_may() {
        assert!(Networks::default().admits(Ipv4Addr::LOCALHOST.into()));
        assert!(admits(&[], &[], "2001:db8::1"));
    }

    #[test]
    fn with_allowed_networks_only_those_may_and_with_denied_ones_all_others() {
        assert!(admits(&["10.0.0.0/8"], &[], "10.1.2.3") && !admits(&["10.0.0.0/8"], &[], "11.0.0.1"));
        assert!(!admits(&["10.0.0.0/8"], &[], "2001:db8::1"));
        assert!(!admits(&[], &["2001:db8::/32"], "2001:db8:1::1") && admits(&[], &["2001:db8::/32"], "10.0.0.1"));
    }

    #[test]
    fn the_longest_prefix_wins_whichever_list_it_stands_in() {
        let (allow, deny) = (["10.0.0.0/8", "10.1.2.3/32"], ["10.1.0.0/16"]);
        assert!(admits(&allow, &deny, "10.2.0.1"));
        assert!(!admits(&allow, &deny, "10.1.2.4"));
        assert!(admits(&allow, &deny, "10.1.2.3"));
        assert!(
            admits(&["10.1.2.3/32"], &["0.0.0.0/0"], "10.1.2.3")
                && !admits(&["10.1.2.3/32"], &["0.0.0.0/0"], "1.1.1.1")
        );
    }

    #[test]
    fn an_ipv4_client_of_an_ipv6_listener_is_of_its_ipv4_network() {
        assert!(!admits(&[], &["10.0.0.0/8"], "::ffff:10.1.2.3"));
        // "::/0" is meant for IPv6, but holds the mapped addresses too; a longer IPv4 prefix is stronger.
        assert!(admits(&["10.0.0.0/8"], &["::/0"], "10.1.2.3"));
    }

    proptest! {
        /// The plain way: go through all, remember the longest.
        #[test]
        fn it_says_what_a_look_at_every_network_says(
            rules in prop::collection::vec((any::<u32>(), 0_u8..=32, any::<bool>()), 0..40),
            clients in prop::collection::vec(any::<u32>(), 1..20),
        ) {
            let net = |(bits, length, _): &(u32, u8, bool)| {
                // Few distinct bits, so that networks hold one another.
                IpNet::new(Ipv4Addr::from_bits(bits & 0xc3c3_c3c3).into(), *length).unwrap().trunc()
            };
            let deny: Vec<IpNet> = rules.iter().filter(|rule| !rule.2).map(net).collect();
            let allow: Vec<IpNet> = rules.iter().filter(|rule| rule.2).map(net).filter(|net| !deny.contains(net)).collect();
            let networks = Networks::new(&allow, &deny);
            for client in clients {
                let ip: IpAddr = Ipv4Addr::from_bits(client & 0xc3c3_c3c3).into();
                let longest = |list: &[IpNet]| list.iter().filter(|net| net.contains(&ip)).map(IpNet::prefix_len).max();
                let wanted = match (longest(&allow), longest(&deny)) {
                    (None, None) => allow.is_empty(),
                    (allowed, denied) => allowed > denied,
                };
                prop_assert_eq!(networks.admits(ip), wanted, "{}", ip);
            }
        }
    }
}

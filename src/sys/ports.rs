//! Choosing local ports by hand when the kernel finds none.
//!
//! A connection that its client ended first leaves our socket towards the backend in TIME_WAIT for 60 s. With `tcp_tw_reuse = 0`
//! connect(2) won't take such a port again by itself, so a busy balancer runs out. A socket that is *bound* to the port before it
//! connects may take it (`net/ipv4/inet_hashtables.c`, `__inet_check_established` with no `twp`; `tcp_twsk_unique`: the old
//! connection had timestamps, so a late segment of it can't be mistaken), if both sockets have SO_REUSEADDR.
//! Checked on 6.18 by tests/ports.rs.

use std::net::SocketAddr;
use std::time::Duration;

use super::Clock;
use crate::types::Moment;

/// How many ports are tried for one connect: with most of them in TIME_WAIT the first few do; 128 tries take less than 1 ms.
const TRIES_MAX: usize = 128;
/// How long a destination counts as short of ports: asking the kernel first costs it a walk over the whole range.
const SHORTAGE: Duration = Duration::from_secs(1);

/// One thread's walk through `net.ipv4.ip_local_port_range`.
#[derive(Debug)]
pub struct LocalPorts {
    low: u16,
    count: u16,
    next: u16,
    short: Option<(SocketAddr, Moment)>,
}

impl LocalPorts {
    /// Reads the range; `offset` makes the threads begin at different places.
    #[must_use]
    pub fn read(offset: u16) -> Self {
        let text = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
        let mut ends = text
            .split_ascii_whitespace()
            .filter_map(|word| word.parse::<u16>().ok());
        let (low, high) = match (ends.next(), ends.next()) {
            (Some(low), Some(high)) if low <= high => (low, high),
            _ => (32_768, 60_999), // the kernel's own default
        };
        let count = high.saturating_sub(low).saturating_add(1);
        Self {
            low,
            count,
            next: offset.checked_rem(count).unwrap_or(0),
            short: None,
        }
    }

    /// Whether the plain way failed towards this address a moment ago.
    #[must_use]
    pub fn is_short(&self, address: SocketAddr) -> bool {
        self.short
            .is_some_and(|(whom, until)| whom == address && Clock::now() < until)
    }

    /// The plain way has just failed towards this address.
    pub fn note_shortage(&mut self, address: SocketAddr) {
        self.short = Some((address, Clock::now().plus(SHORTAGE)));
    }

    /// The ports to try for one connect, each call going on where the last one stopped.
    pub fn candidates(&mut self) -> impl Iterator<Item = u16> + '_ {
        let tries = TRIES_MAX.min(usize::from(self.count));
        std::iter::repeat_with(move || {
            let port = self.low.saturating_add(self.next);
            self.next = self.next.saturating_add(1).checked_rem(self.count).unwrap_or(0);
            port
        })
        .take(tries)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_walk_stays_in_the_range_and_comes_round() {
        let mut ports = LocalPorts {
            low: 40_000,
            count: 3,
            next: 2,
            short: None,
        };
        assert_eq!(ports.candidates().collect::<Vec<_>>(), [40_002, 40_000, 40_001]);
        let first = ports.candidates().next();
        assert_eq!(first, Some(40_002));
        assert_eq!(ports.candidates().next(), Some(40_000));
    }

    #[test]
    fn a_shortage_is_of_one_destination() {
        let mut ports = LocalPorts::read(7);
        let (here, there) = ("127.0.0.1:1".parse().unwrap(), "127.0.0.1:2".parse().unwrap());
        assert!(!ports.is_short(here));
        ports.note_shortage(here);
        assert!(ports.is_short(here) && !ports.is_short(there));
    }
}

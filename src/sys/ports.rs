//! Choosing local ports by hand when the kernel finds none, or none without looking at thousands.
//!
//! A connection that its client ended first leaves our socket towards the backend in TIME_WAIT for 60 s. With `tcp_tw_reuse = 0`
//! connect(2) won't take such a port again by itself, so a busy balancer runs out. A socket that is *bound* to the port before it
//! connects may take it (`net/ipv4/inet_hashtables.c`, `__inet_check_established` with no `twp`; `tcp_twsk_unique`: the old
//! connection had timestamps, so a late segment of it can't be mistaken), if both sockets have SO_REUSEADDR.
//!
//! Before it finds none, it finds one after a long walk: with nine of ten ports in TIME_WAIT a connect(2) took 0.5 ms of processor time,
//! all of the two processors at 900 connections a second.
//! Checked on 6.18 by tests/ports.rs.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::OnceLock;
use std::time::Duration;

use super::Clock;
use super::noted::{Noted, Spans};

/// How many ports are tried for one connect: with most of them in TIME_WAIT the first few do; 128 tries take less than 1 ms.
pub(super) const TRIES_MAX: usize = 128;
/// How long a destination counts as short of ports: asking the kernel first costs it a walk over the whole range, some milliseconds.
/// Each time that it is found so again, twice as long, up to the most: what is in TIME_WAIT now is there for a minute.
const SHORTAGE: Spans = Spans {
    first: Duration::from_secs(1),
    most: Duration::from_secs(16),
};
/// How long a destination counts as out of ports altogether: each try by hand is a thousand system calls.
const HOPELESS: Spans = Spans {
    first: Duration::from_millis(20),
    most: Duration::from_millis(20),
};
/// A connect(2) takes some tens of microseconds, across loopback with the peer's whole part in it; longer, it has walked far for its port.
const LONG_WALK: Duration = Duration::from_micros(250);
/// Once may be an interruption.
const LONG_WALKS: u8 = 2;
/// Ports that have served before, and are likely to do so again: what others left in TIME_WAIT never is.
const PROVEN_MAX: usize = 4096;

/// One thread's walk through `net.ipv4.ip_local_port_range`.
#[derive(Debug)]
pub struct LocalPorts {
    low: u16,
    count: u16,
    next: u16,
    proven: VecDeque<u16>,
    short: Noted,
    hopeless: Noted,
    long_walks: u8,
}

/// A port to try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Candidate {
    pub(super) port: u16,
    is_proven: bool,
}

/// Read once, before a thread of traffic shuts itself in ([`AllowedCalls`](super::AllowedCalls)): a new life of its loop could not.
static RANGE: OnceLock<(u16, u16)> = OnceLock::new();

fn read_range() -> (u16, u16) {
    let text = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
    let mut ends = text
        .split_ascii_whitespace()
        .filter_map(|word| word.parse::<u16>().ok());
    match (ends.next(), ends.next()) {
        (Some(low), Some(high)) if low <= high => (low, high),
        _ => (32_768, 60_999), // the kernel's own default
    }
}

impl LocalPorts {
    /// Takes the range; `offset` makes the threads begin at different places.
    #[must_use]
    pub fn read(offset: u16) -> Self {
        let (low, high) = *RANGE.get_or_init(read_range);
        Self::new(low, high.saturating_sub(low).saturating_add(1), offset)
    }

    fn new(low: u16, count: u16, offset: u16) -> Self {
        let next = offset.checked_rem(count).unwrap_or(0);
        Self {
            low,
            count,
            next,
            proven: VecDeque::new(),
            short: Noted::default(),
            hopeless: Noted::default(),
            long_walks: 0,
        }
    }

    /// Whether the plain way failed towards this address a moment ago.
    pub(super) fn is_short(&self, address: SocketAddr) -> bool {
        self.short.holds(address)
    }

    /// The plain way has just failed towards this address.
    pub(super) fn note_shortage(&mut self, address: SocketAddr) {
        self.short.note(address, SHORTAGE, Clock::now());
    }

    /// The kernel has found a port for this address, or failed for another reason, in so long.
    pub(super) fn note_walk(&mut self, address: SocketAddr, took: Duration) {
        if took < LONG_WALK {
            self.long_walks = 0;
            return;
        }
        self.long_walks = self.long_walks.saturating_add(1);
        let now = Clock::now();
        if self.long_walks >= LONG_WALKS || self.short.knows(address, now) {
            self.short.note(address, SHORTAGE, now);
        }
    }

    /// Whether every try by hand failed towards this address a moment ago.
    pub(super) fn is_hopeless(&self, address: SocketAddr) -> bool {
        self.hopeless.holds(address)
    }

    /// Every try by hand has just failed towards this address.
    pub(super) fn note_hopeless(&mut self, address: SocketAddr) {
        self.hopeless.note(address, HOPELESS, Clock::now());
    }

    /// The port for the `number`th try of one connect: in turn one that has served before and the next of the range.
    pub(super) fn candidate(&mut self, number: usize) -> Candidate {
        if number.is_multiple_of(2)
            && let Some(port) = self.proven.pop_front()
        {
            self.proven.push_back(port);
            return Candidate { port, is_proven: true };
        }
        let port = self.low.saturating_add(self.next);
        self.next = self.next.saturating_add(1).checked_rem(self.count).unwrap_or(0);
        Candidate { port, is_proven: false }
    }

    /// It served.
    pub(super) fn note_served(&mut self, candidate: Candidate) {
        if !candidate.is_proven && self.proven.len() < PROVEN_MAX {
            self.proven.push_back(candidate.port);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ports(ports: &mut LocalPorts, tries: usize) -> Vec<u16> {
        (0..tries).map(|number| ports.candidate(number).port).collect()
    }

    #[test]
    fn the_walk_stays_in_the_range_and_comes_round() {
        let mut walk = LocalPorts::new(40_000, 3, 2);
        assert_eq!(ports(&mut walk, 5), [40_002, 40_000, 40_001, 40_002, 40_000]);
    }

    #[test]
    fn a_port_that_served_is_tried_first_the_next_time() {
        let mut walk = LocalPorts::new(40_000, 1000, 0);
        let served = walk.candidate(0);
        walk.note_served(served);
        assert_eq!(ports(&mut walk, 4), [40_000, 40_001, 40_000, 40_002]);
        let again = walk.candidate(0);
        walk.note_served(again);
        assert_eq!(walk.proven.len(), 1, "it is listed once");
    }

    #[test]
    fn a_shortage_is_of_one_destination_and_does_not_hide_another() {
        let mut ports = LocalPorts::read(7);
        let (here, there) = ("127.0.0.1:1".parse().unwrap(), "127.0.0.1:2".parse().unwrap());
        assert!(!ports.is_short(here));
        ports.note_shortage(here);
        assert!(ports.is_short(here) && !ports.is_short(there));
        ports.note_shortage(there);
        assert!(ports.is_short(here) && ports.is_short(there));
    }

    #[test]
    fn long_walks_in_a_row_are_a_shortage_and_one_alone_is_not() {
        let mut ports = LocalPorts::read(7);
        let here = "127.0.0.1:1".parse().unwrap();
        for _ in 0..9 {
            ports.note_walk(here, LONG_WALK);
            assert!(!ports.is_short(here));
            ports.note_walk(here, LONG_WALK / 2);
        }
        ports.note_walk(here, LONG_WALK);
        ports.note_walk(here, LONG_WALK);
        assert!(ports.is_short(here));
    }
}

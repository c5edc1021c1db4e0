//! Ranges of ports for programs that are told where to listen.

use std::net::TcpListener;
use std::ops::RangeInclusive;
use std::process;
use std::sync::atomic::{AtomicU16, Ordering::Relaxed};

/// Below those that the kernel hands out (ip_local_port_range).
const FIRST: u16 = 12_000;
const LAST: u16 = 31_000;

/// `count` ports in a row that nobody has, and no other test of this run gets. Another program may take one of them: who uses them
/// must be able to pass over it.
pub(crate) fn free_ports(count: u16) -> RangeInclusive<u16> {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let room = LAST - FIRST - count;
    loop {
        // Several runs at once begin at different places.
        let begin = (process::id() % u32::from(room)) as u16;
        let first = FIRST + (begin + NEXT.fetch_add(count, Relaxed)) % room;
        let ports = first..=first + count - 1;
        if ports.clone().all(|port| TcpListener::bind(("127.0.0.1", port)).is_ok()) {
            return ports;
        }
    }
}

//! Opens connections, also when there are more of them in a minute than the machine has local ports.
//!
//! The client half-closes first, so TIME_WAIT (60 s) is on its side, and the 28,232 ports of the usual range are soon
//! used up for one target. Called by `worker`; one of these for each thread, which takes every n-th port.
//!
//! An ordinary connect lets the kernel choose the port. Once that fails for want of one, or has been done so often that
//! its search among ports in TIME_WAIT takes long, ports are chosen here in turn: a socket bound to a port with
//! SO_REUSEADDR may take over the TIME_WAIT of an earlier such socket, for its sequence numbers and timestamps are newer
//! (RFC 6191; Linux, `tcp_twsk_unique` and `inet_csk_bind_conflict`). The source address stays the routing table's.
//!
//! Others need ports too: Linux's connect passes over every port that somebody bound, and `bind` to port 0 takes from the
//! half of the range that connect leaves for last. So only ports of connect's half are chosen, as few as will do, and
//! spread thinly, lest the balancer under test has to search for its own.

use mio::net::TcpStream;
use socket2::{Domain, Protocol, Socket, Type};
use std::fs;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

/// Ports tried for one connection before the thread turns to something else.
const TRIES_MAX: usize = 128;

/// Ports in turn for each connection at a time: those of open connections are passed over.
const PORTS_PER_LANE: usize = 4;

/// Ports in turn at least: at 25,000 connections a second each then rests some 40 ms.
const PORTS_MIN: usize = 512;

/// The range when `/proc` doesn't tell: ip(7), `ip_local_port_range`.
const DEFAULT_RANGE: (u16, u16) = (32_768, 60_999);

const RANGE_FILE: &str = "/proc/sys/net/ipv4/ip_local_port_range";

/// Connects of one thread for which the kernel chooses the port. Its search passes over every port in TIME_WAIT: at
/// 20,000 of them it took a quarter of the client's time (`perf record client --conns 100000 --new-connection`).
const KERNEL_CHOICES: u32 = 4096;

enum Choice {
    Kernel { left: u32 },
    Ours,
}

/// One thread's way to connections.
pub(super) struct Ports {
    target: SocketAddr,
    choice: Choice,
    ports: Vec<u16>,
    next: usize,
    /// Distance in `ports` from one choice to the next.
    stride: usize,
}

impl Ports {
    /// For thread `index` of `threads`, which has up to `lanes` connections at a time.
    pub(super) fn new(target: SocketAddr, (index, threads): (usize, usize), lanes: usize) -> Self {
        let (first, last) = fs::read_to_string(RANGE_FILE)
            .ok()
            .and_then(|text| parse_range(&text))
            .unwrap_or(DEFAULT_RANGE);
        let connects_half = (first..=last).step_by(2);
        let mut ports: Vec<u16> = connects_half.skip(index).step_by(threads.max(1)).collect();
        let wanted = lanes.saturating_mul(PORTS_PER_LANE).max(PORTS_MIN);
        let stride = ports.len().checked_div(wanted).unwrap_or_default().max(1);
        // A whole number of strides, so that each round meets the same ports.
        ports.truncate(
            ports
                .len()
                .saturating_sub(ports.len().checked_rem(stride).unwrap_or_default()),
        );
        Self {
            target,
            choice: Choice::Kernel { left: KERNEL_CHOICES },
            ports,
            next: 0,
            stride,
        }
    }

    /// Begins a connect; nothing when no local port is free now.
    ///
    /// # Errors
    /// What the system said of the socket or the connect.
    pub(super) fn connect(&mut self) -> io::Result<Option<TcpStream>> {
        if let Choice::Kernel { left } = self.choice {
            let connected = connect(self.socket()?, self.target);
            let is_taken = is_port_taken(&connected);
            self.choice = match left.checked_sub(1) {
                Some(left) if !is_taken => Choice::Kernel { left },
                _ => Choice::Ours,
            };
            if !is_taken {
                return connected.map(Some);
            }
        }
        let mut socket = self.socket()?;
        for _ in 0..TRIES_MAX.min(self.ports.len()) {
            let Some(local) = self.next_address() else {
                break;
            };
            let bound = socket.bind(&local.into());
            if is_port_taken(&bound) {
                continue;
            }
            bound?;
            let connected = connect(socket, self.target);
            if !is_port_taken(&connected) {
                return connected.map(Some);
            }
            socket = self.socket()?;
        }
        // TIME_WAIT can't be taken over here (no timestamps, say): then all ports, each once a minute.
        self.stride = 1;
        Ok(None)
    }

    fn socket(&self) -> io::Result<Socket> {
        let kind = Type::STREAM.nonblocking();
        let socket = Socket::new(Domain::for_address(self.target), kind, Some(Protocol::TCP))?;
        socket.set_reuse_address(true)?;
        socket.set_tcp_nodelay(true)?;
        Ok(socket)
    }

    fn next_address(&mut self) -> Option<SocketAddr> {
        let port = *self.ports.get(self.next.checked_rem(self.ports.len())?)?;
        self.next = self.next.wrapping_add(self.stride);
        Some(match self.target {
            SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, port).into(),
            SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, port).into(),
        })
    }
}

fn connect(socket: Socket, target: SocketAddr) -> io::Result<TcpStream> {
    match socket.connect(&target.into()) {
        Ok(()) => {}
        Err(error) if error.raw_os_error() == Some(rustix::io::Errno::INPROGRESS.raw_os_error()) => {}
        Err(error) => return Err(error),
    }
    Ok(TcpStream::from_std(socket.into()))
}

fn is_port_taken<T>(outcome: &io::Result<T>) -> bool {
    outcome
        .as_ref()
        .is_err_and(|error| matches!(error.kind(), io::ErrorKind::AddrInUse | io::ErrorKind::AddrNotAvailable))
}

fn parse_range(text: &str) -> Option<(u16, u16)> {
    let mut numbers = text.split_ascii_whitespace().map(str::parse);
    let range = (numbers.next()?.ok()?, numbers.next()?.ok()?);
    (range.0 <= range.1).then_some(range)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_range_of_proc_is_read() {
        assert_eq!(parse_range("32768\t60999\n"), Some((32_768, 60_999)));
        assert_eq!(parse_range("5 4"), None);
        assert_eq!(parse_range("nonsense"), None);
    }

    #[test]
    fn threads_share_the_range_without_overlap() {
        let target = ([127, 0, 0, 1], 9).into();
        let (first, second) = (Ports::new(target, (0, 2), 1), Ports::new(target, (1, 2), 1));
        assert!(first.ports.iter().all(|port| !second.ports.contains(port)));
        assert!(first.ports.len().abs_diff(second.ports.len()) <= first.stride);
    }

    #[test]
    fn a_chosen_port_is_used_again_while_its_last_connection_is_in_time_wait() {
        use std::io::Read;
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let target = listener.local_addr().unwrap();
        let mut ports = Ports::new(target, (0, 1), 1);
        ports.choice = Choice::Ours;
        ports.ports.truncate(1);
        ports.ports[0] = free_port();
        ports.stride = 1;
        for round in 0..5 {
            let ours = ports
                .connect()
                .unwrap()
                .unwrap_or_else(|| panic!("no port in round {round}"));
            let (theirs, peer) = listener.accept().unwrap();
            assert_eq!(peer.port(), ports.ports[0]);
            ours.shutdown(std::net::Shutdown::Write).unwrap();
            drop(theirs);
            let socket = Socket::from(std::net::TcpStream::from(ours));
            socket.set_nonblocking(false).unwrap();
            assert_eq!((&socket).read(&mut [0]).unwrap(), 0);
        }
    }

    fn free_port() -> u16 {
        let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        taken.local_addr().unwrap().port()
    }
}

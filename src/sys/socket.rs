//! Sockets of the data path and of the probes: connect, bytes, FIN and RST.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, Shutdown, SocketFlags, SocketType, connect, recv, shutdown, socket_with,
    sockopt,
};
use socket2::SockRef;

use super::Clock;
use super::ports::{LocalPorts, TRIES_MAX};
use crate::types::Handshake;

/// Unsent bytes a socket may hold before it counts as full (`TCP_NOTSENT_LOWAT`): a slow reader holds this much of the kernel's
/// memory and no more, while what is in flight, which speed needs, isn't limited by it.
pub(super) const NOTSENT_BYTES: u32 = 131_072;

/// What a backend may have sent that its client hasn't taken (`SO_RCVBUF`; the kernel doubles it for its own overhead). Left to
/// itself the kernel grows it to megabytes for each slow reader: 1.6 MiB at the median of 500. As a window it allows 256 MB/s a
/// connection at a round trip of 0.5 ms.
const BACKEND_RECEIVE_BYTES: usize = 131_072;
/// Opens a non-blocking socket and starts to connect it; an event tells when it is done.
///
/// `Handshake::WithBytes` saves a packet for each connection, and wakes the backend once instead of twice: the last acknowledgement
/// waits for the first bytes ([`acknowledge`] sends it without). `TCP_QUICKACK` off does it, which the kernel itself ends with the
/// SYN/ACK (tcp(7), tcp_rcv_synsent_state_process): what comes later is acknowledged as ever.
///
/// `SO_REUSEADDR` lets [`LocalPorts`] use the port again while a finished connection of ours still waits in TIME_WAIT: when no
/// port is left for the plain way, one is chosen by hand.
///
/// # Errors
/// `EADDRNOTAVAIL` when no port is left either way; `ECONNREFUSED`, `ENETUNREACH`, … when the kernel knows at once.
pub fn begin_connect(address: SocketAddr, handshake: Handshake, ports: &mut LocalPorts) -> io::Result<OwnedFd> {
    if !ports.is_short(address) {
        let began = Clock::now();
        match connect_from(address, handshake, None) {
            Err(error) if Errno::from_io_error(&error) == Some(Errno::ADDRNOTAVAIL) => ports.note_shortage(address),
            outcome => {
                ports.note_walk(address, Clock::now().since(began));
                return outcome;
            }
        }
    }
    if ports.is_hopeless(address) {
        return Err(Errno::ADDRNOTAVAIL.into());
    }
    for number in 0..TRIES_MAX {
        let candidate = ports.candidate(number);
        match connect_from(address, handshake, Some(candidate.port)) {
            Err(error)
                if matches!(
                    Errno::from_io_error(&error),
                    Some(Errno::ADDRNOTAVAIL | Errno::ADDRINUSE)
                ) => {}
            outcome => {
                ports.note_served(candidate);
                return outcome;
            }
        }
    }
    ports.note_hopeless(address);
    Err(Errno::ADDRNOTAVAIL.into())
}

/// An option that makes things better where the system has it: without it the connection still works.
pub(super) fn optional<E: std::fmt::Display>(name: &str, outcome: Result<(), E>) {
    if let Err(error) = outcome {
        log::debug!("{name}: {error}");
    }
}

fn connect_from(address: SocketAddr, handshake: Handshake, port: Option<u16>) -> io::Result<OwnedFd> {
    let family = if address.is_ipv4() {
        AddressFamily::INET
    } else {
        AddressFamily::INET6
    };
    let socket = socket_with(
        family,
        SocketType::STREAM,
        SocketFlags::CLOEXEC | SocketFlags::NONBLOCK,
        None,
    )?;
    optional("SO_REUSEADDR", sockopt::set_socket_reuseaddr(&socket, true));
    optional("TCP_NODELAY", sockopt::set_tcp_nodelay(&socket, true));
    optional("SO_OOBINLINE", sockopt::set_socket_oobinline(&socket, true));
    let receive_bytes = sockopt::set_socket_recv_buffer_size(&socket, BACKEND_RECEIVE_BYTES);
    optional("SO_RCVBUF", receive_bytes);
    optional(
        "TCP_NOTSENT_LOWAT",
        SockRef::from(&socket).set_tcp_notsent_lowat(NOTSENT_BYTES),
    );
    if handshake == Handshake::WithBytes {
        optional("TCP_QUICKACK", sockopt::set_tcp_quickack(&socket, false));
    }
    if let Some(port) = port {
        let any: SocketAddr = match address {
            SocketAddr::V4(_) => (std::net::Ipv4Addr::UNSPECIFIED, port).into(),
            SocketAddr::V6(_) => (std::net::Ipv6Addr::UNSPECIFIED, port).into(),
        };
        rustix::net::bind(&socket, &any)?;
    }
    loop {
        match connect(&socket, &address) {
            Ok(()) | Err(Errno::INPROGRESS) => return Ok(socket),
            // An interrupted connect goes on by itself; asking again says so.
            Err(Errno::INTR | Errno::ALREADY) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
}

/// Sends the acknowledgement that waits to travel with bytes, if there is one (`TCP_QUICKACK`, tcp(7)). Without the option the
/// kernel sends it by itself, after 40 to 200 ms.
pub fn acknowledge(socket: impl AsFd) {
    optional("TCP_QUICKACK", sockopt::set_tcp_quickack(socket, true));
}

/// The error that waits in the socket, and clears it; of a connect under way: how it went (SO_ERROR, socket(7)).
///
/// # Errors
/// `EBADF`, `ENOTSOCK`: a fault of ours.
pub fn take_error(socket: impl AsFd) -> io::Result<Option<io::Error>> {
    Ok(sockopt::socket_error(socket)?.err().map(io::Error::from))
}

/// Reads what there is. 0 = the peer's FIN.
///
/// # Errors
/// As recv(2).
pub fn receive(socket: impl AsFd, into: &mut [u8]) -> io::Result<usize> {
    Ok(recv(socket, into, RecvFlags::empty())?.0)
}

/// Looks at what there is without taking it.
///
/// # Errors
/// As recv(2).
pub fn peek(socket: impl AsFd, into: &mut [u8]) -> io::Result<usize> {
    Ok(recv(socket, into, RecvFlags::PEEK)?.0)
}

/// Writes what the socket takes.
///
/// # Errors
/// As send(2); never SIGPIPE.
pub fn send(socket: impl AsFd, bytes: &[u8]) -> io::Result<usize> {
    Ok(rustix::net::send(socket, bytes, SendFlags::NOSIGNAL)?)
}

/// Sends FIN after everything written.
///
/// # Errors
/// `ENOTCONN`: the connection is gone.
pub fn finish_write(socket: impl AsFd) -> io::Result<()> {
    Ok(shutdown(socket, Shutdown::Write)?)
}

/// The socket's own end: where a client connected to (getsockname(2)).
///
/// # Errors
/// `EBADF`, `ENOTSOCK`: a fault of ours; `EAFNOSUPPORT`: it is no IP socket.
pub fn local_address(socket: impl AsFd) -> io::Result<SocketAddr> {
    let address = rustix::net::getsockname(socket)?;
    SocketAddr::try_from(address).map_err(|_| Errno::AFNOSUPPORT.into())
}

/// Closes by RST: what was not sent is dropped, and no TIME_WAIT is left (SO_LINGER of 0 s, socket(7)).
pub fn reset(socket: OwnedFd) {
    if let Err(errno) = sockopt::set_socket_linger(&socket, Some(Duration::ZERO)) {
        log::debug!("closing by FIN instead of RST: {errno}");
    }
}

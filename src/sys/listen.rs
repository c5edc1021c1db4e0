//! Listeners, and what is accepted from them.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, UdpSocket};
use std::os::fd::{AsFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{SocketFlags, acceptfrom_with};
use socket2::{Domain, SockRef, Socket, Type};

use super::socket::{NOTSENT_BYTES, optional};

/// What a client may have sent that its backend hasn't taken (`SO_RCVBUF`). It may be far away: 10 MB/s a connection at a round trip of 50 ms.
const CLIENT_RECEIVE_BYTES: usize = 524_288;

/// Opens a listener; `backlog` connections may wait in its queue, which the kernel cuts to `net.core.somaxconn`. What accepted sockets inherit is set here once: no Nagle delay, the bound on unsent bytes.
///
/// # Errors
/// `EADDRINUSE`, `EACCES`, `EADDRNOTAVAIL`, `EMFILE`.
pub fn listen(address: SocketAddr, backlog: u32) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        // "[::]:9000" and "0.0.0.0:9000" are two addresses, and may both be listed.
        socket.set_only_v6(true)?;
    }
    set_inheritable((&socket).into());
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    set_backlog(&socket, backlog)?;
    Ok(socket.into())
}

/// Begins to listen, or goes on with another length of the queue (listen(2): a second call changes it, and loses nobody).
///
/// # Errors
/// `EADDRINUSE`: another socket was first. `EINVAL`: it is no listener.
pub fn set_backlog(socket: impl AsFd, backlog: u32) -> io::Result<()> {
    SockRef::from(&socket).listen(i32::try_from(backlog).unwrap_or(i32::MAX))
}

/// Sets what accepted sockets inherit from a listener.
pub(super) fn set_inheritable(socket: SockRef<'_>) {
    optional("TCP_NODELAY", socket.set_tcp_nodelay(true));
    // An urgent byte (MSG_OOB) is taken out of the stream unless it is asked for in line: no byte is ours to lose.
    optional("SO_OOBINLINE", socket.set_out_of_band_inline(true));
    optional("TCP_NOTSENT_LOWAT", socket.set_tcp_notsent_lowat(NOTSENT_BYTES));
    optional("SO_RCVBUF", socket.set_recv_buffer_size(CLIENT_RECEIVE_BYTES));
}

/// Whether an address is one of this machine's own: then the kernel would connect to it from that very address. No packet is sent.
#[must_use]
pub fn is_own(ip: IpAddr) -> bool {
    let ip = ip.to_canonical();
    let any = match ip {
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    };
    let source = UdpSocket::bind((any, 0)).and_then(|socket| {
        socket.connect((ip, 9))?;
        socket.local_addr()
    });
    ip.is_loopback() || source.is_ok_and(|source| source.ip() == ip)
}

/// Takes one waiting connection; non-blocking, close-on-exec.
///
/// The address is the one accept4(2) gave: a peer that has reset already has none to ask for later.
///
/// # Errors
/// As accept(2): `EAGAIN` when none waits, `EMFILE` and kin, `ECONNABORTED` for one that is gone.
pub fn accept(listener: &TcpListener) -> io::Result<(OwnedFd, SocketAddr)> {
    let (socket, address) = acceptfrom_with(listener, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK)?;
    let address = address.ok_or(Errno::CONNABORTED)?;
    Ok((socket, SocketAddr::try_from(address).map_err(|_| Errno::CONNABORTED)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_addresses_are_told_from_others() {
        for own in ["127.0.0.1", "127.9.9.9", "::ffff:127.0.0.1", "::1"] {
            assert!(is_own(own.parse().unwrap()), "{own}");
        }
        // TEST-NET-1 and the documentation's prefix: nobody's (RFC 5737, RFC 3849).
        for other in ["192.0.2.77", "2001:db8::77"] {
            assert!(!is_own(other.parse().unwrap()), "{other}");
        }
    }
}

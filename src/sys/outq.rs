//! SIOCOUTQ: the one system call that neither std, rustix nor socket2 wraps.

use std::io;
use std::os::fd::AsFd;

use rustix::ioctl::{Getter, Opcode, ioctl};

/// `SIOCOUTQ` of `linux/sockios.h`, the same number as `TIOCOUTQ` of `asm-generic/ioctls.h`.
const SIOCOUTQ: Opcode = 0x5411;

/// Bytes written to a TCP socket that its peer has not acknowledged, sent or not (tcp(7)).
///
/// # Errors
/// `EINVAL` on a listening socket, `ENOTTY` on what is no socket.
#[allow(unsafe_code)]
pub fn unacknowledged_bytes(socket: impl AsFd) -> io::Result<u64> {
    // SAFETY: SIOCOUTQ is a valid opcode, and for a socket the kernel writes exactly one C int (net/ipv4/tcp.c, tcp_ioctl:
    // put_user of an int), which is the Output of this Getter. A file that doesn't know the opcode writes nothing and fails.
    let unsent = unsafe { ioctl(socket, Getter::<SIOCOUTQ, i32>::new())? };
    Ok(u64::try_from(unsent).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::net::{TcpListener, TcpStream};

    #[test]
    fn it_counts_what_a_peer_that_never_reads_has_not_taken() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut ours = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let _theirs = listener.accept().unwrap();
        assert_eq!(unacknowledged_bytes(&ours).unwrap(), 0);
        ours.set_nonblocking(true).unwrap();
        let chunk = [0_u8; 65_536];
        while ours.write(&chunk).is_ok() {}
        assert!(unacknowledged_bytes(&ours).unwrap() > 0);
    }
}

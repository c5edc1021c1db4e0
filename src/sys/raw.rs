//! The two system calls that neither std, rustix nor socket2 wraps: SIOCOUTQ, and sched_setscheduler for SCHED_BATCH.

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

/// From now on the calling thread, when it is woken, doesn't interrupt whoever runs on its core: it comes next (`SCHED_BATCH`,
/// sched(7)). Its share of the processor stays the same.
///
/// # Errors
/// `EPERM` in a sandbox that forbids it.
#[allow(unsafe_code)]
pub fn wake_without_preempting() -> io::Result<()> {
    // 0 is the only priority that SCHED_BATCH has.
    let parameters = libc::sched_param { sched_priority: 0 };
    // SAFETY: the pointer is to a live sched_param, which the kernel only reads; thread 0 is the caller. By number, since musl's
    // wrapper refuses to do it.
    let outcome = unsafe {
        libc::syscall(
            libc::SYS_sched_setscheduler,
            0,
            libc::SCHED_BATCH,
            &raw const parameters,
        )
    };
    if outcome == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
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

    #[test]
    fn a_thread_can_wake_without_preempting() {
        std::thread::spawn(|| {
            wake_without_preempting().unwrap();
            // proc_pid_stat(5): the policy is the 41st field, the 39th behind the name; SCHED_BATCH is 3.
            let stat = std::fs::read_to_string("/proc/thread-self/stat").unwrap();
            let behind_name = stat.rsplit(')').next().unwrap();
            assert_eq!(behind_name.split_whitespace().nth(38), Some("3"), "{stat}");
        })
        .join()
        .unwrap();
    }
}

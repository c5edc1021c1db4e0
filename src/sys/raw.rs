//! The system calls that neither std, rustix nor socket2 wraps: SIOCOUTQ, TCP_INFO, sched_setscheduler, and what a child does between
//! fork and exec.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::ptr;
use std::time::Duration;

use rustix::io::Errno;
use rustix::ioctl::{Getter, Opcode, ioctl};
use rustix::process::{Signal, getpid, getppid, set_parent_process_death_signal, setsid};

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

/// The kernel's smoothed round-trip time to the peer (`TCP_INFO`, tcp(7); `tcpi_rtt`, RFC 6298): what its packets were acknowledged
/// in. A program that answers late is seen in it only where the acknowledgement waited for the answer.
///
/// # Errors
/// `ENOTSOCK` or `EOPNOTSUPP` on what is no TCP socket.
#[allow(unsafe_code)]
pub fn round_trip(socket: impl AsFd) -> io::Result<Duration> {
    let mut info = MaybeUninit::<libc::tcp_info>::zeroed();
    let mut length = libc::socklen_t::try_from(size_of::<libc::tcp_info>()).unwrap_or(0);
    // SAFETY: the descriptor is open as long as `socket` is borrowed; the kernel writes at most `length` bytes, which is what the
    // buffer has, and the length itself.
    let outcome = unsafe {
        libc::getsockopt(
            socket.as_fd().as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            info.as_mut_ptr().cast(),
            &raw mut length,
        )
    };
    if outcome != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: a tcp_info is integers only, for which zeroes are values too, where an older kernel wrote less.
    let info = unsafe { info.assume_init() };
    Ok(Duration::from_micros(u64::from(info.tcpi_rtt)))
}

/// From now on the calling thread, when it is woken, doesn't interrupt whoever runs on its core: it comes next (`SCHED_BATCH`,
/// sched(7)). Its share of the processor stays the same.
///
/// # Errors
/// `EPERM` in a sandbox that forbids it.
pub fn wake_without_preempting() -> io::Result<()> {
    set_scheduler(libc::SCHED_BATCH)
}

/// From now on the calling thread runs where nobody else wants to, and whoever wakes up interrupts it at once (`SCHED_IDLE`, sched(7)).
/// While every core is busy it gets about 3 thousandths of one.
///
/// # Errors
/// `EPERM` in a sandbox that forbids it.
pub fn run_when_idle() -> io::Result<()> {
    set_scheduler(libc::SCHED_IDLE)
}

#[allow(unsafe_code)]
fn set_scheduler(policy: libc::c_int) -> io::Result<()> {
    // 0 is the only priority that the policies without real time have.
    let parameters = libc::sched_param { sched_priority: 0 };
    // SAFETY: the pointer is to a live sched_param, which the kernel only reads; thread 0 is the caller. By number, since musl's
    // wrapper refuses to do it.
    let outcome = unsafe { libc::syscall(libc::SYS_sched_setscheduler, 0, policy, &raw const parameters) };
    if outcome == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// The child that `command` becomes lives in a session of its own, begins with no signal blocked or ignored, and is killed when the
/// calling thread ends, however that ends (`PR_SET_PDEATHSIG`, prctl(2); signal(7)). It fails to start if the caller is gone already.
#[allow(unsafe_code)]
pub fn bind_to_caller(command: &mut Command) {
    let parent = getpid();
    let bind = move || {
        forget_signals()?;
        setsid()?;
        // After the user was changed, which would undo it (prctl(2)): std calls this last, just before exec.
        set_parent_process_death_signal(Some(Signal::KILL))?;
        if getppid() == Some(parent) {
            Ok(())
        } else {
            Err(io::Error::from(Errno::SRCH))
        }
    };
    // SAFETY: between fork and exec only what is async-signal-safe may run (signal-safety(7)): the closure makes plain system calls,
    // reads two integers, allocates nothing, takes no lock, and an io::Error of an errno is an integer too.
    unsafe {
        command.pre_exec(bind);
    }
}

/// Every signal does what it does by default, and none is blocked.
#[allow(unsafe_code)]
fn forget_signals() -> io::Result<()> {
    for number in 1..=64 {
        // SAFETY: SIG_DFL is a valid disposition, no handler of ours is needed any more, and a number that can't be changed (SIGKILL,
        // SIGSTOP, the two of the threads' library) is refused without an effect.
        unsafe { libc::signal(number, libc::SIG_DFL) };
    }
    let mut none = MaybeUninit::<libc::sigset_t>::zeroed();
    // SAFETY: the set is ours and written before it is read; no old one is asked for.
    let outcome = unsafe {
        libc::sigemptyset(none.as_mut_ptr());
        libc::pthread_sigmask(libc::SIG_SETMASK, none.as_ptr(), ptr::null_mut())
    };
    if outcome == 0 {
        Ok(())
    } else {
        Err(io::Error::from_raw_os_error(outcome))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
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
    fn a_connection_that_moved_bytes_has_a_round_trip_time() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut ours = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut theirs, _) = listener.accept().unwrap();
        ours.write_all(b"ping").unwrap();
        theirs.read_exact(&mut [0; 4]).unwrap();
        let round_trip = round_trip(&ours).unwrap();
        assert!(
            round_trip > Duration::ZERO && round_trip < Duration::from_secs(10),
            "{round_trip:?}"
        );
        assert!(super::round_trip(std::fs::File::open("/dev/null").unwrap()).is_err());
    }

    /// What the calling thread is scheduled by: proc_pid_stat(5), the 41st field, the 39th behind the name.
    fn policy() -> Option<String> {
        let stat = std::fs::read_to_string("/proc/thread-self/stat").unwrap();
        let behind_name = stat.rsplit(')').next().unwrap();
        behind_name.split_whitespace().nth(38).map(ToOwned::to_owned)
    }

    #[test]
    fn a_thread_can_step_back_in_two_ways() {
        let seen = std::thread::spawn(|| {
            wake_without_preempting().unwrap();
            let batch = policy();
            run_when_idle().unwrap();
            [batch, policy()]
        });
        // SCHED_BATCH and SCHED_IDLE.
        assert_eq!(seen.join().unwrap(), [Some("3".to_owned()), Some("5".to_owned())]);
        assert_eq!(policy().as_deref(), Some("0"), "the others stay as they are");
    }
}

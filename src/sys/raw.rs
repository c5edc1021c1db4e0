//! The calls that neither std, rustix nor socket2 wraps: SIOCOUTQ, TCP_INFO, how a thread is scheduled, which calls it may make, what the
//! allocator keeps; and (in `child`) what a child does between fork and exec.

mod child;

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd};
use std::time::Duration;

use rustix::ioctl::{Getter, Opcode, ioctl};

use super::peer::Acknowledgements;
pub use child::bind_to_caller;

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

/// The kernel's smoothed round-trip time to the peer (`tcpi_rtt`, RFC 6298): what its packets were acknowledged in. A program that
/// answers late is seen in it only where the acknowledgement waited for the answer.
///
/// # Errors
/// `ENOTSOCK` or `EOPNOTSUPP` on what is no TCP socket.
pub fn round_trip(socket: impl AsFd) -> io::Result<Duration> {
    Ok(Duration::from_micros(u64::from(tcp_info(socket)?.tcpi_rtt)))
}

/// What the peer's kernel owes, and when it was last heard.
///
/// # Errors
/// As [`round_trip`].
pub fn acknowledgements(socket: impl AsFd) -> io::Result<Acknowledgements> {
    let info = tcp_info(socket)?;
    Ok(Acknowledgements {
        segments_sent: info.tcpi_unacked,
        probes_sent: info.tcpi_probes,
        since_last: Duration::from_millis(u64::from(info.tcpi_last_ack_recv)),
    })
}

/// What the kernel knows of a connection (`TCP_INFO`, tcp(7)).
#[allow(unsafe_code)]
fn tcp_info(socket: impl AsFd) -> io::Result<libc::tcp_info> {
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
    Ok(unsafe { info.assume_init() })
}

/// From now on the calling thread, when it is woken, doesn't interrupt whoever runs on its core: it comes next (`SCHED_BATCH`,
/// sched(7)). Its share of the processor stays the same.
///
/// # Errors
/// `EPERM` in a sandbox that forbids it.
pub fn wake_without_preempting() -> io::Result<()> {
    set_scheduler(libc::SCHED_BATCH, 0)
}

/// What a thread that moves bytes asks for at a time: the shortest that the kernel grants.
const SHORT_SLICE_NANOS: u64 = 100_000;

/// From now on the calling thread runs in short slices, and so interrupts at once, when it wakes, whoever runs in longer ones
/// (`sched_runtime` of a thread without real time: Linux 6.12, "sched/eevdf: Allow shorter slices to wakeup-preempt"). Its share of the
/// processor stays the same. Older kernels change nothing.
///
/// # Errors
/// `EPERM` in a sandbox that forbids it, `ENOSYS`.
pub fn run_in_short_slices() -> io::Result<()> {
    set_scheduler(libc::SCHED_OTHER, SHORT_SLICE_NANOS)
}

/// `struct sched_attr`, its first version (`linux/sched/types.h`, sched_setattr(2)).
#[repr(C)]
struct SchedAttr {
    size: u32,
    policy: u32,
    flags: u64,
    nice: i32,
    priority: u32,
    runtime: u64,
    deadline: u64,
    period: u64,
}

/// The calling thread's policy, and its slice; 0 = the kernel's choice.
#[allow(unsafe_code)]
fn set_scheduler(policy: libc::c_int, slice_nanos: u64) -> io::Result<()> {
    let attributes = SchedAttr {
        size: u32::try_from(size_of::<SchedAttr>()).unwrap_or(0),
        policy: u32::try_from(policy).unwrap_or(0),
        flags: 0,
        // Whatever lb itself was started with.
        nice: rustix::process::getpriority_process(None)?,
        priority: 0,
        runtime: slice_nanos,
        deadline: 0,
        period: 0,
    };
    // SAFETY: the pointer is to a live struct of the size that its first field says, which the kernel only reads; thread 0 is the
    // caller.
    let outcome = unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const attributes, 0) };
    if outcome == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Gives what the allocator keeps of freed memory back to the kernel (malloc_trim(3)), where it has such a call. Other threads that
/// allocate meanwhile wait for it: some milliseconds for some hundred MiB.
#[allow(unsafe_code)]
pub fn give_memory_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: it takes the allocator's own locks, has no arguments but a number, and touches free memory only.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// `struct sock_fprog` of `linux/filter.h`.
#[repr(C)]
struct FilterProgram {
    length: u16,
    instructions: *const seccompiler::sock_filter,
}

/// From now on the calling thread makes no call that `program` doesn't allow (seccomp(2)). Other threads aren't meant. What is refused is
/// told to the kernel's audit log; no mitigation against speculation is turned on for it, which before Linux 5.16 would slow it down.
///
/// # Errors
/// `EACCES`: new rights aren't refused yet; `EINVAL`, `ENOSYS`: the kernel has no such filters.
#[allow(unsafe_code)]
pub(super) fn install_filter(program: &[seccompiler::sock_filter]) -> io::Result<()> {
    let filter = FilterProgram {
        length: u16::try_from(program.len()).map_err(io::Error::other)?,
        instructions: program.as_ptr(),
    };
    let flags = libc::SECCOMP_FILTER_FLAG_LOG | libc::SECCOMP_FILTER_FLAG_SPEC_ALLOW;
    // SAFETY: the pointer is to a live struct as the kernel declares it, which points to `length` instructions of its own layout
    // (seccompiler's sock_filter is repr(C) of its four fields); the kernel copies all of it and keeps no pointer.
    let outcome = unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            flags,
            &raw const filter,
        )
    };
    if outcome == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

#[cfg(test)]
mod tests;

//! Which system calls a thread may make: seccomp(2).
//!
//! For the threads that touch what comes from the network: acceptor, workers, health. They need few, so what they may is listed and
//! everything else is answered by `EPERM`: a call that was forgotten here costs what it was for, and not the connections of the
//! whole process, as killing it would. What is refused stands in the kernel's audit log. A call that is allowed whatever its
//! arguments is looked up in a bitmap since Linux 5.11, without running the program.
//!
//! The list is what rustix, std, the allocator and glibc's threads make of the code in `sys`; tests/sandbox.rs runs all of it.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use libc::{c_int, c_long};
use seccompiler::SeccompCmpArgLen::Dword;
use seccompiler::SeccompCmpOp::{Eq, MaskedEq};
use seccompiler::{BpfProgram, SeccompAction, SeccompCondition, SeccompFilter, SeccompRule};

use super::raw::install_filter;

/// Allowed whatever the arguments. Sockets and pipes:
const ON_SOCKETS: [c_long; 27] = [
    libc::SYS_accept4,
    libc::SYS_bind,
    libc::SYS_close,
    libc::SYS_connect,
    libc::SYS_epoll_create1,
    libc::SYS_epoll_ctl,
    libc::SYS_epoll_pwait,
    libc::SYS_epoll_pwait2,
    libc::SYS_eventfd2,
    libc::SYS_fcntl,
    libc::SYS_getpeername,
    libc::SYS_getsockname,
    libc::SYS_getsockopt,
    libc::SYS_pipe2,
    libc::SYS_ppoll,
    libc::SYS_pread64,
    libc::SYS_read,
    libc::SYS_readv,
    libc::SYS_recvfrom,
    libc::SYS_recvmsg,
    libc::SYS_sendmsg,
    libc::SYS_sendto,
    libc::SYS_setsockopt,
    libc::SYS_shutdown,
    libc::SYS_splice,
    libc::SYS_write,
    libc::SYS_writev,
];
/// The thread itself, its memory, its clock.
const ON_ITSELF: [c_long; 28] = [
    libc::SYS_brk,
    libc::SYS_clock_getres,
    libc::SYS_clock_gettime,
    libc::SYS_clock_nanosleep,
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_futex,
    libc::SYS_getcpu,
    libc::SYS_getpid,
    libc::SYS_getpriority,
    libc::SYS_getrandom,
    libc::SYS_gettid,
    libc::SYS_gettimeofday,
    libc::SYS_madvise,
    libc::SYS_mremap,
    libc::SYS_munmap,
    libc::SYS_nanosleep,
    libc::SYS_restart_syscall,
    libc::SYS_rseq,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sched_getaffinity,
    libc::SYS_sched_setattr,
    libc::SYS_sched_yield,
    libc::SYS_set_robust_list,
    libc::SYS_setpriority,
    libc::SYS_sigaltstack,
];
/// What newer architectures don't have any more.
#[cfg(target_arch = "x86_64")]
const OF_OLD: [c_long; 3] = [libc::SYS_epoll_wait, libc::SYS_poll, libc::SYS_time];
#[cfg(not(target_arch = "x86_64"))]
const OF_OLD: [c_long; 0] = [];

/// What ioctl(2) is for here: a socket that doesn't wait, how much it holds, how much of it is unsent.
const IOCTLS: [u64; 3] = [libc::FIONBIO, libc::FIONREAD, libc::TIOCOUTQ];

/// The calls of a thread that moves bytes; without a list, all.
#[derive(Clone, Debug, Default)]
pub struct AllowedCalls(Option<Arc<BpfProgram>>);

impl AllowedCalls {
    /// The list.
    ///
    /// # Errors
    /// There is none for this processor.
    pub fn of_traffic() -> io::Result<Self> {
        let mut rules: BTreeMap<c_long, Vec<SeccompRule>> = BTreeMap::new();
        for call in ON_SOCKETS.into_iter().chain(ON_ITSELF).chain(OF_OLD) {
            rules.insert(call, Vec::new());
        }
        let inet = [libc::AF_INET, libc::AF_INET6];
        rules.insert(libc::SYS_socket, any_of(0, inet.map(number))?);
        rules.insert(libc::SYS_ioctl, any_of(1, IOCTLS)?);
        // Memory yes, but none that is a program.
        let executable = number(libc::PROT_EXEC);
        for call in [libc::SYS_mmap, libc::SYS_mprotect] {
            let condition = SeccompCondition::new(2, Dword, MaskedEq(executable), 0).map_err(io::Error::other)?;
            let rule = SeccompRule::new(vec![condition]).map_err(io::Error::other)?;
            rules.insert(call, vec![rule]);
        }
        // A name, as std gives it to a thread.
        rules.insert(libc::SYS_prctl, any_of(0, [number(libc::PR_SET_NAME)])?);
        let filter = SeccompFilter::new(
            rules,
            SeccompAction::Errno(libc::EPERM.unsigned_abs()),
            SeccompAction::Allow,
            std::env::consts::ARCH.try_into().map_err(io::Error::other)?,
        );
        let program: BpfProgram = filter.and_then(BpfProgram::try_from).map_err(io::Error::other)?;
        Ok(Self(Some(Arc::new(program))))
    }

    /// Whether there is a list.
    #[must_use]
    pub const fn is_list(&self) -> bool {
        self.0.is_some()
    }

    /// From now on the calling thread makes no other call.
    ///
    /// # Errors
    /// `ENOSYS` or `EINVAL`: the kernel has no seccomp; `EACCES`: new rights aren't refused yet.
    pub fn enforce(&self) -> io::Result<()> {
        self.0.as_ref().map_or(Ok(()), |program| install_filter(program))
    }

    /// The same for a thread that works on where it can't be had: whether it can was found out at the start.
    pub fn enforce_or_tell(&self, thread: &str) {
        if let Err(error) = self.enforce() {
            log::error!("{thread}: its system calls can't be restricted: {error}");
        }
    }
}

const fn number(value: c_int) -> u64 {
    value.unsigned_abs() as u64
}

/// One rule for each value that an argument may have.
fn any_of<const COUNT: usize>(argument: u8, values: [u64; COUNT]) -> io::Result<Vec<SeccompRule>> {
    let rule = |value| SeccompRule::new(vec![SeccompCondition::new(argument, Dword, Eq, value)?]);
    let rules: Result<Vec<SeccompRule>, seccompiler::BackendError> = values.into_iter().map(rule).collect();
    rules.map_err(io::Error::other)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixDatagram;

    #[test]
    fn a_thread_with_the_list_can_do_nothing_else_and_others_can() {
        crate::sys::refuse_new_rights().unwrap();
        let calls = AllowedCalls::of_traffic().unwrap();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let denied = std::thread::spawn(move || {
            calls.enforce().unwrap();
            let client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            drop((client, vec![0_u8; 1 << 22]));
            let open = std::fs::File::open("/proc/self/status").map(drop);
            let unix = UnixDatagram::unbound().map(drop);
            let start = std::process::Command::new("true").status().map(drop);
            let thread = std::thread::Builder::new().spawn(|| {}).map(drop);
            [open, unix, start, thread].map(|tried| tried.unwrap_err().raw_os_error())
        });
        assert_eq!(denied.join().unwrap(), [Some(libc::EPERM); 4]);
        assert!(std::fs::File::open("/proc/self/status").is_ok());
    }
}

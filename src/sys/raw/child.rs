//! What a child does between fork and exec, where hardly anything is allowed.

use std::io;
use std::mem::MaybeUninit;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::ptr;

use rustix::io::Errno;
use rustix::process::{Signal, getpid, getppid, set_parent_process_death_signal, setsid};

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

//! Whether the sandbox holds: what it is to prevent is tried, in a thread that ends with it and does nothing else.
//!
//! Each attempt is harmless where it succeeds. Only `sandbox` calls this: at a start, and for `lb check`.

use std::fs::File;
use std::io;
use std::net::UdpSocket;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::sys::{AllowedCalls, FileRules};

/// What no rule ever names, and who may open nothing else may not open.
const ELSEWHERE: &str = "/";
/// What every machine has, and whoever broke in would start.
const SHELL: &str = "/bin/sh";
/// What every rule lets a process open: a thread without that system call can't.
const INSIDE: &str = "/proc/self/status";

/// What became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Attempt {
    /// It isn't possible, as it should be.
    Refused,
    /// It was possible.
    Done,
    /// It wasn't tried, or failed for another reason.
    Open,
}

impl Attempt {
    fn of<T>(outcome: io::Result<T>) -> Self {
        match outcome {
            Ok(_) => Self::Done,
            // EACCES of Landlock, EPERM of seccomp.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Self::Refused,
            Err(_) => Self::Open,
        }
    }

    /// Refused, unless one of them wasn't.
    fn all<const COUNT: usize>(attempts: [Self; COUNT]) -> Self {
        let is_any = |which| attempts.contains(&which);
        if is_any(Self::Done) {
            Self::Done
        } else if is_any(Self::Open) {
            Self::Open
        } else {
            Self::Refused
        }
    }
}

/// Of each kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Attempts {
    /// To open what lb doesn't need; `None` = files aren't restricted.
    pub(super) file: Option<Attempt>,
    /// To start a program that isn't lb's; likewise.
    pub(super) program: Option<Attempt>,
    /// To open, to start, and to talk to other programs of the machine, in a thread that moves bytes; `None` = its calls aren't
    /// restricted.
    pub(super) call: Option<Attempt>,
}

impl Attempts {
    /// Tries all, in the calling thread, which can do little afterwards.
    ///
    /// # Errors
    /// The list of calls can't be put in force, or shuts out what a thread of traffic needs.
    pub(super) fn make(rules: Option<&FileRules>, calls: &AllowedCalls) -> io::Result<Self> {
        let shell = Path::new(SHELL).canonicalize();
        let file = rules.map(|_| Attempt::of(File::open(ELSEWHERE)));
        let program = rules.map(|rules| match &shell {
            // lb was installed beside it, so it must be allowed to start it.
            Ok(shell) if rules.run.iter().any(|place| shell.starts_with(place)) => Attempt::Done,
            _ => start(SHELL),
        });
        if !calls.is_list() {
            return Ok(Self {
                file,
                program,
                call: None,
            });
        }
        calls.enforce()?;
        // What it is for still works, where the machine has such an address.
        match UdpSocket::bind("127.0.0.1:0") {
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => return Err(error),
            Ok(_) | Err(_) => {}
        }
        let call = Attempt::all([
            Attempt::of(File::open(INSIDE)),
            Attempt::of(UnixDatagram::unbound()),
            start(SHELL),
        ]);
        Ok(Self {
            file,
            program,
            call: Some(call),
        })
    }
}

/// Starts a shell that does nothing.
fn start(shell: &str) -> Attempt {
    let mut command = Command::new(shell);
    command.args(["-c", ":"]).env_clear();
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    Attempt::of(command.status())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(rules: Option<FileRules>, calls: AllowedCalls) -> Attempts {
        let thread = std::thread::spawn(move || {
            crate::sys::refuse_new_rights().unwrap();
            if let Some(rules) = &rules {
                rules.enforce().unwrap();
            }
            Attempts::make(rules.as_ref(), &calls).unwrap()
        });
        thread.join().unwrap()
    }

    #[test]
    fn what_is_not_restricted_is_found_to_be_possible() {
        let open = FileRules {
            read: vec!["/".into()],
            write: vec!["/dev/null".into()],
            run: vec!["/".into()],
        };
        let found = made(Some(open), AllowedCalls::default());
        assert_eq!((found.file, found.call), (Some(Attempt::Done), None));
        assert_eq!(found.program, Some(Attempt::Done));
        assert_eq!(start(SHELL), Attempt::Done);
    }

    #[test]
    fn what_is_restricted_is_found_to_be_refused() {
        let rules = FileRules {
            read: vec!["/proc".into()],
            write: vec!["/dev/null".into()],
            run: Vec::new(),
        };
        let found = made(Some(rules), AllowedCalls::of_traffic().unwrap());
        let refused = Some(Attempt::Refused);
        assert_eq!((found.file, found.program, found.call), (refused, refused, refused));
    }
}

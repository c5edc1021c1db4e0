//! Starting the replica: which file the program is, as whom it runs, what it inherits.

use std::env;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nix::unistd::{Uid, User};
use rustix::process::Pid;

use super::Start;
use crate::sys;

/// A replica that was just started.
pub(super) struct Started {
    pub(super) pid: Pid,
    pub(super) streams: [Option<OwnedFd>; 2],
}

/// Starts it.
///
/// # Errors
/// One line that a person can act on.
pub(super) fn start(wanted: &Start) -> Result<Started, String> {
    let (program, arguments) = wanted.command.split_first().ok_or("no program is named")?;
    let mut command = Command::new(find(program));
    command
        .args(arguments)
        .envs(wanted.env.iter().map(|(name, value)| (name, value)));
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    if let Some(directory) = &wanted.working_directory {
        if !directory.is_dir() {
            return Err(format!("working_directory: {} is no directory", directory.display()));
        }
        command.current_dir(directory);
    }
    if let Some(name) = &wanted.user {
        let user = user(name)?;
        command.uid(user.uid.as_raw()).gid(user.gid.as_raw());
        command
            .env("HOME", &user.dir)
            .env("USER", &user.name)
            .env("LOGNAME", &user.name);
        command.envs(wanted.env.iter().map(|(name, value)| (name, value)));
    }
    sys::bind_to_caller(&mut command);
    let mut child = command.spawn().map_err(|error| why_not(program, wanted, &error))?;
    let streams = [
        child.stdout.take().map(OwnedFd::from),
        child.stderr.take().map(OwnedFd::from),
    ];
    Ok(Started {
        pid: Pid::from_child(&child),
        streams,
    })
}

fn why_not(program: &str, wanted: &Start, error: &io::Error) -> String {
    match (error.kind(), &wanted.user) {
        (io::ErrorKind::NotFound, _) if program.contains('/') => {
            format!("can't start {program}: there is no such file")
        }
        (io::ErrorKind::NotFound, _) => {
            format!("can't start {program}: it is neither beside lb nor in PATH; write its path")
        }
        (io::ErrorKind::PermissionDenied, Some(user)) => {
            format!("can't start {program} as {user}: {error}; lb may do that only as root")
        }
        _ => format!("can't start {program}: {error}"),
    }
}

/// A name without a slash is looked for beside lb first, then in PATH.
fn find(program: &str) -> PathBuf {
    let beside = || {
        let own = env::current_exe().ok()?;
        let path = own.parent()?.join(program);
        is_program(&path).then_some(path)
    };
    if program.contains('/') {
        return PathBuf::from(program);
    }
    beside().unwrap_or_else(|| PathBuf::from(program))
}

fn is_program(path: &Path) -> bool {
    path.metadata()
        .is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
}

fn user(name: &str) -> Result<User, String> {
    let found = match name.parse() {
        Ok(number) => User::from_uid(Uid::from_raw(number)),
        Err(_) => User::from_name(name),
    };
    match found {
        Ok(Some(user)) => Ok(user),
        Ok(None) => Err(format!("user: nobody is named {name} on this machine")),
        Err(errno) => Err(format!("user: {name} can't be looked up: {errno}")),
    }
}

//! Giving up rights, and shutting lb in: from here on the process can't do what it doesn't need, whoever gets hold of it.
//!
//! In this order, while there is one thread and the ports are open: another user, no capability, no new rights, files by Landlock.
//! Threads and processes that are started later have all of it too. The threads of traffic (acceptor, workers, health) shut
//! themselves in further, by [`Sandbox::calls`]. A new lb of an upgrade is started inside, and stays there.
//!
//! Called by [`Inherited::prepare`](super::Inherited::prepare) and `lb check`. May not: be called when another thread runs.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use super::attempts::{Attempt, Attempts};
use super::handover::GivenUp;
use super::places::{beyond, places};
use crate::config::{Config, Sandbox as Wanted};
use crate::sys::{self, AllowedCalls, Fenced, FileRules, Identity};

/// What lb shut itself in with.
#[derive(Debug, Default)]
pub(super) struct Sandbox {
    /// Of the threads of traffic.
    pub(super) calls: AllowedCalls,
    /// What can't be had again, by a new lb either.
    pub(super) given_up: GivenUp,
    /// What is to be told of it, as soon as there is a log.
    words: Vec<(log::Level, String)>,
}

/// What became of the files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Files {
    Fenced(Fenced),
    /// A replica would be shut in with lb.
    LeftOpen,
    /// The lb before this one has done it.
    Inherited,
}

/// What became of all of it.
#[derive(Clone, Debug)]
struct Found {
    files: Files,
    attempts: Attempts,
    /// Why the kernel doesn't take the list of calls, if it doesn't.
    no_calls: Option<String>,
}

impl Sandbox {
    /// Gives up what `config`, read from `path`, says. `before`: what the lb before this one has given up.
    ///
    /// # Errors
    /// What can't be had, or isn't enough for what the file says: one line.
    pub(super) fn enter(config: &Config, path: &Path, before: Option<GivenUp>) -> Result<Self, String> {
        let mut sandbox = Self::default();
        let before = before.unwrap_or_default();
        let runtime = &config.runtime;
        let is_as_before = (&runtime.user, &runtime.group) == (&before.user, &before.group);
        if !is_as_before && (before.user.is_some() || before.files.is_some()) {
            let words =
                "runtime.user: another one than the lb before this one had, whose rights are given up: restart lb";
            return Err(words.to_owned());
        }
        let identity = if is_as_before { None } else { identity(config)? };
        make_folders(config, identity.as_ref());
        match &identity {
            None if before.user.is_some() => {
                let words = format!(
                    "rights: user {}, as the lb before this one",
                    before.user.as_deref().unwrap_or_default()
                );
                sandbox.tell(log::Level::Info, words);
            }
            Some(identity) => {
                become_user(identity)?;
                check_readable(path, identity)?;
                sandbox.tell(log::Level::Info, format!("rights: {identity}, no capability"));
            }
            None if sys::is_root() => {
                sandbox.tell(log::Level::Info, format!("rights: {}", ROOT_STAYS));
            }
            None => {}
        }
        (sandbox.given_up.user, sandbox.given_up.group) = (runtime.user.clone(), runtime.group.clone());
        if config.runtime.sandbox == Wanted::Off {
            if before.files.is_some() {
                let words = "sandbox: that of the lb before this one, which can't be left; a restart can";
                sandbox.tell(log::Level::Warn, words.to_owned());
            }
            sandbox.given_up.files = before.files;
            return Ok(sandbox);
        }
        let wanted = places(config, path);
        let is_managed = config.services.iter().any(|service| service.managed.is_some());
        if let Some(granted) = &before.files {
            check_within(&wanted, is_managed, granted)?;
        }
        sys::refuse_new_rights().map_err(|error| format!("runtime.sandbox: no new rights: {error}"))?;
        let files = match before.files {
            Some(_) => Files::Inherited,
            None if is_managed => Files::LeftOpen,
            None => Files::Fenced(enforce(&wanted)?),
        };
        sandbox.given_up.files = match files {
            Files::Inherited => before.files,
            Files::LeftOpen | Files::Fenced(Fenced::Not) => None,
            Files::Fenced(_) => Some(wanted),
        };
        let rules = sandbox.given_up.files.clone();
        let (attempts, calls, no_calls) = try_all(move |calls| Attempts::make(rules.as_ref(), calls))?;
        sandbox.calls = calls;
        let found = Found {
            files,
            attempts,
            no_calls,
        };
        match found.lack() {
            Some(lack) if config.runtime.sandbox == Wanted::Required => {
                return Err(format!("runtime.sandbox: required, and {lack}; found {found}"));
            }
            Some(lack) if files != Files::LeftOpen => sandbox.tell(log::Level::Warn, format!("sandbox: {lack}")),
            _ => {}
        }
        sandbox.tell(log::Level::Info, format!("sandbox: {found}"));
        Ok(sandbox)
    }

    fn tell(&mut self, level: log::Level, words: String) {
        self.words.push((level, words));
    }

    /// Logs what became of it; once.
    pub(super) fn log(&mut self) {
        for (level, words) in self.words.drain(..) {
            log::log!(level, "{words}");
        }
    }

    /// Whether another configuration can be put in force from within.
    ///
    /// # Errors
    /// What it needs that can't be opened any more: one line.
    pub(super) fn check(&self, config: &Config, path: &Path) -> Result<(), String> {
        let is_managed = config.services.iter().any(|service| service.managed.is_some());
        let granted = self.given_up.files.as_ref();
        granted.map_or(Ok(()), |granted| {
            check_within(&places(config, path), is_managed, granted)
        })
    }
}

/// What root is told who gives nothing up.
const ROOT_STAYS: &str = "all of root's, for as long as it runs; [runtime] user = \"…\" gives them up";

/// What `lb check` tells of it: tried in a thread that ends with it.
///
/// # Errors
/// Why it would not start; one line.
pub fn examine(config: &Config, path: &Path) -> Result<Vec<String>, String> {
    let mut words = Vec::new();
    match identity(config)? {
        Some(identity) => words.push(format!(
            "rights: {identity}, no capability, once its ports are open; started by root"
        )),
        None if sys::is_root() => words.push(format!("rights: {ROOT_STAYS}")),
        None => words.push("rights: those of whoever starts it".to_owned()),
    }
    if config.runtime.sandbox == Wanted::Off {
        words.push("sandbox: off".to_owned());
        return Ok(words);
    }
    let is_managed = config.services.iter().any(|service| service.managed.is_some());
    let rules = (!is_managed).then(|| places(config, path));
    let ((files, attempts), _, no_calls) = try_all(move |calls| {
        sys::refuse_new_rights()?;
        let files = rules
            .as_ref()
            .map_or(Ok(Files::LeftOpen), |rules| rules.enforce().map(Files::Fenced))?;
        let rules = rules.as_ref().filter(|_| files != Files::Fenced(Fenced::Not));
        Ok((files, Attempts::make(rules, calls)?))
    })?;
    let found = Found {
        files,
        attempts,
        no_calls,
    };
    if let (Some(lack), Wanted::Required) = (found.lack(), config.runtime.sandbox) {
        return Err(format!("runtime.sandbox: required, and {lack}; found {found}"));
    }
    words.push(format!("sandbox: {found}"));
    Ok(words)
}

impl Found {
    /// What isn't as it should be.
    fn lack(&self) -> Option<String> {
        let is_held = |attempt: Option<Attempt>| attempt == Some(Attempt::Refused);
        if let Some(error) = &self.no_calls {
            return Some(format!("this kernel takes no list of system calls (seccomp): {error}"));
        }
        let lack = match self.files {
            _ if !is_held(self.attempts.call) => Some("forbidden system calls can be made"),
            Files::Fenced(Fenced::Not) => Some("this kernel has no Landlock: files stay open"),
            Files::Fenced(Fenced::Partly(_)) => Some("this kernel's Landlock can't do all that is wanted"),
            Files::LeftOpen => Some("[service.managed] leaves files open"),
            _ if !is_held(self.attempts.file) => Some("files elsewhere can be opened"),
            _ if self.attempts.program == Some(Attempt::Done) => Some(
                "other programs can be started: lb needs a folder of its own, like /usr/local/lib/lb, without a shell in it",
            ),
            Files::Fenced(Fenced::Wholly(_)) | Files::Inherited => None,
        };
        lack.map(str::to_owned)
    }
}

impl std::fmt::Display for Found {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.files {
            Files::Fenced(Fenced::Wholly(version)) => write!(out, "files by Landlock (version {version})"),
            Files::Fenced(Fenced::Partly(version)) => write!(out, "files as far as Landlock goes (version {version})"),
            Files::Fenced(Fenced::Not) => out.write_str("files open"),
            Files::LeftOpen => out.write_str("files open, as replicas need theirs"),
            Files::Inherited => out.write_str("files as for the lb before this one"),
        }?;
        let calls = self.attempts.call.map_or("open", |_| "by seccomp");
        write!(out, ", system calls of acceptor, workers and health {calls}; tried:")?;
        let tried = [
            ("a file elsewhere", self.attempts.file),
            ("another program", self.attempts.program),
            ("a forbidden call", self.attempts.call),
        ];
        let mut comma = "";
        for (what, attempt) in tried {
            let became = match attempt {
                None => continue,
                Some(Attempt::Refused) => "refused",
                Some(Attempt::Done) => "possible",
                Some(Attempt::Open) => "not known",
            };
            write!(out, "{comma} {what} ({became})")?;
            comma = ",";
        }
        out.write_str(if comma.is_empty() { " nothing" } else { "" })
    }
}

fn identity(config: &Config) -> Result<Option<Identity>, String> {
    let user = config.runtime.user.as_deref();
    user.map(|user| Identity::find(user, config.runtime.group.as_deref()))
        .transpose()
}

/// After an upgrade it is that user already.
fn become_user(identity: &Identity) -> Result<(), String> {
    if !sys::is_root() && !identity.is_ours() {
        return Err(format!(
            "runtime.user: only root can become {identity}; start lb as root, or leave user out"
        ));
    }
    if identity.is_ours() {
        return Ok(());
    }
    identity
        .assume()
        .map_err(|error| format!("runtime.user: can't become {identity}: {error}"))
}

/// What can be read only now could not be read again.
fn check_readable(path: &Path, identity: &Identity) -> Result<(), String> {
    File::open(path).map(drop).map_err(|error| {
        format!(
            "runtime.user: {} can't be read by {identity}: {error}; a reload would fail, and an upgrade: change its permissions \
             (chgrp, chmod 640)",
            path.display()
        )
    })
}

/// The folder of the samples is lb's to make; it can be made, and be a place of the sandbox, only now. If that fails, `admin` says so.
fn make_folders(config: &Config, identity: Option<&Identity>) {
    let Some(history) = config.history.as_ref().filter(|history| !history.directory.exists()) else {
        return;
    };
    let made = fs::create_dir_all(&history.directory).and_then(|()| {
        let numbers = identity.map(Identity::numbers).filter(|_| sys::is_root());
        numbers.map_or(Ok(()), |(user, group)| {
            std::os::unix::fs::chown(&history.directory, Some(user), Some(group))
        })
    });
    drop(made); // nobody logs yet
}

fn enforce(rules: &FileRules) -> Result<Fenced, String> {
    rules
        .enforce()
        .map_err(|error| format!("runtime.sandbox: Landlock: {error}; sandbox = \"off\" goes without"))
}

/// From within nobody gets further.
fn check_within(wanted: &FileRules, is_managed: bool, granted: &FileRules) -> Result<(), String> {
    let lacks = if is_managed {
        Some("start programs, as [service.managed] is to".to_owned())
    } else {
        beyond(wanted, granted)
    };
    lacks.map_or(Ok(()), |what| {
        Err(format!(
            "runtime.sandbox: lb can't {what}: it shut itself in when it started, with what the file said then; restart it"
        ))
    })
}

/// Has `attempts` made in a thread of their own, with the list of calls if the kernel takes one; which it was, or why there is none.
fn try_all<T: Send + 'static>(
    attempts: impl Fn(&AllowedCalls) -> io::Result<T> + Clone + Send + 'static,
) -> Result<(T, AllowedCalls, Option<String>), String> {
    let run = |calls: AllowedCalls| {
        let attempts = attempts.clone();
        let thread = std::thread::Builder::new().name("sandbox".into());
        let thread = thread.spawn(move || attempts(&calls).map(|made| (made, calls)))?;
        thread.join().map_err(|_| io::Error::other("a fault of lb"))?
    };
    let with_list = AllowedCalls::of_traffic().and_then(run);
    let (outcome, no_calls) = match with_list {
        Ok(made) => (Ok(made), None),
        Err(error) => (run(AllowedCalls::default()), Some(error.to_string())),
    };
    let (made, calls) =
        outcome.map_err(|error| format!("runtime.sandbox: can't be tried: {error}; sandbox = \"off\" goes without"))?;
    Ok((made, calls, no_calls))
}

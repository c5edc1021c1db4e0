//! Which files this process, and all that it starts, may open: Landlock (landlock(7)).
//!
//! A rule is a place and what may be done there and below. It can't be taken back, and holds for the calling thread and for the
//! threads and processes that it starts: called while there is one thread.

use std::io;
use std::path::{Path, PathBuf};

use landlock::{
    ABI, Access, AccessFs, BitFlags, CompatLevel, Compatible, LandlockStatus, PathBeneath, PathFd, Ruleset,
    RulesetAttr, RulesetCreatedAttr, RulesetStatus, Scope,
};
use serde::{Deserialize, Serialize};

/// The newest that is asked for; an older kernel does what it can. Newer ones are about sockets' files, threads and what is logged.
const NEWEST: ABI = ABI::V6;

/// Folders, and what may be done in them and below; a file stands for itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileRules {
    /// Read.
    pub read: Vec<PathBuf>,
    /// Read, written, made and removed.
    pub write: Vec<PathBuf>,
    /// Read, and started as a program.
    pub run: Vec<PathBuf>,
}

/// What became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fenced {
    /// Every rule is in force; the kernel's version of Landlock.
    Wholly(u32),
    /// The kernel's version knows some of what is asked for, not all.
    Partly(u32),
    /// The kernel has no Landlock, or it is turned off.
    Not,
}

impl FileRules {
    /// Whether a path may be read with these rules, as it is written; links aside.
    #[must_use]
    pub fn lets_read(&self, path: &Path) -> bool {
        let all = [&self.read, &self.write, &self.run];
        all.into_iter().flatten().any(|place| path.starts_with(place))
    }

    /// Whether it may be written.
    #[must_use]
    pub fn lets_write(&self, path: &Path) -> bool {
        self.write.iter().any(|place| path.starts_with(place))
    }

    /// From now on nothing else may be opened. A place that isn't there is passed over.
    ///
    /// # Errors
    /// The kernel has Landlock and refuses all the same.
    pub fn enforce(&self) -> io::Result<Fenced> {
        let ruleset = Ruleset::default()
            .set_compatibility(CompatLevel::BestEffort)
            .handle_access(AccessFs::from_all(NEWEST))
            .and_then(|ruleset| ruleset.scope(Scope::from_all(NEWEST)))
            .and_then(Ruleset::create)
            .map_err(io::Error::other)?;
        let look = AccessFs::ReadFile | AccessFs::ReadDir;
        let change = look
            | AccessFs::WriteFile
            | AccessFs::Truncate
            | AccessFs::MakeReg
            | AccessFs::MakeSock
            | AccessFs::RemoveFile;
        let mut ruleset = ruleset;
        for (places, access) in [
            (&self.read, look),
            (&self.write, change),
            (&self.run, look | AccessFs::Execute),
        ] {
            for place in places {
                add(&mut ruleset, place, access);
            }
        }
        let status = ruleset.restrict_self().map_err(io::Error::other)?;
        let version = match status.landlock {
            LandlockStatus::Available {
                effective_abi,
                kernel_abi,
            } => kernel_abi.map_or(effective_abi as u32, |newer| u32::try_from(newer).unwrap_or(0)),
            LandlockStatus::NotEnabled | LandlockStatus::NotImplemented => return Ok(Fenced::Not),
        };
        Ok(match status.ruleset {
            RulesetStatus::FullyEnforced => Fenced::Wholly(version),
            RulesetStatus::PartiallyEnforced => Fenced::Partly(version),
            RulesetStatus::NotEnforced => Fenced::Not,
        })
    }
}

fn add(mut ruleset: &mut landlock::RulesetCreated, place: &Path, access: BitFlags<AccessFs>) {
    let Ok(opened) = PathFd::new(place) else {
        return; // nobody can open what isn't there
    };
    let access = if place.is_dir() {
        access
    } else {
        access & AccessFs::from_file(NEWEST)
    };
    // A pipe or a socket that has no place in a file system: there is no rule for it, and none is needed.
    if let Err(error) = (&mut ruleset).add_rule(PathBeneath::new(opened, access)) {
        log::debug!("sandbox: {}: {error}", place.display());
    }
}

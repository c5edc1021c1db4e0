//! Whose rights this process has: setgroups(2), setresgid(2), setresuid(2), capabilities(7), `PR_SET_NO_NEW_PRIVS` of prctl(2).
//!
//! Called by `control` while there is one thread. What is given up here can't be had again.

use std::io;

use nix::unistd::{Gid, Group, Uid, User, geteuid, setgroups, setresgid, setresuid};
use rustix::thread::{
    CapabilitySet, CapabilitySets, clear_ambient_capability_set, remove_capability_from_bounding_set, set_capabilities,
    set_no_new_privs,
};

/// A user and a group of this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    user: String,
    group: String,
    uid: Uid,
    gid: Gid,
}

impl std::fmt::Display for Identity {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            out,
            "user {} ({}), group {} ({})",
            self.user, self.uid, self.group, self.gid
        )
    }
}

impl Identity {
    /// Looks both up, by name or number; the group is the user's own unless it is named.
    ///
    /// # Errors
    /// One line: nobody is named so, or it is root.
    pub fn find(user: &str, group: Option<&str>) -> Result<Self, String> {
        let failed = |what: &str, name: &str, errno| format!("runtime.{what}: {name} can't be looked up: {errno}");
        let number = user.parse().ok().map(Uid::from_raw);
        let found = match number {
            Some(number) => User::from_uid(number),
            None => User::from_name(user),
        };
        let found = found.map_err(|errno| failed("user", user, errno))?;
        let found = found.ok_or_else(|| format!("runtime.user: nobody is named {user} on this machine"))?;
        let group = match group {
            None => Group::from_gid(found.gid).map_err(|errno| failed("group", "of the user", errno))?,
            Some(name) => {
                let number = name.parse().ok().map(Gid::from_raw);
                let group = match number {
                    Some(number) => Group::from_gid(number),
                    None => Group::from_name(name),
                };
                let group = group.map_err(|errno| failed("group", name, errno))?;
                Some(group.ok_or_else(|| format!("runtime.group: no group is named {name} on this machine"))?)
            }
        };
        let gid = group.as_ref().map_or(found.gid, |group| group.gid);
        let identity = Self {
            user: found.name,
            group: group.map_or_else(|| gid.to_string(), |group| group.name),
            uid: found.uid,
            gid,
        };
        if identity.uid.is_root() || identity.gid.as_raw() == 0 {
            return Err(format!(
                "runtime.user: {identity} is root, whose rights are to be given up"
            ));
        }
        Ok(identity)
    }

    /// Its numbers: user, group.
    #[must_use]
    pub fn numbers(&self) -> (u32, u32) {
        (self.uid.as_raw(), self.gid.as_raw())
    }

    /// Whether this process has it already.
    #[must_use]
    pub fn is_ours(&self) -> bool {
        let user = nix::unistd::getresuid();
        let group = nix::unistd::getresgid();
        user.is_ok_and(|ids| [ids.real, ids.effective, ids.saved] == [self.uid; 3])
            && group.is_ok_and(|ids| [ids.real, ids.effective, ids.saved] == [self.gid; 3])
    }

    /// From now on the process has this identity, no other group and no capability, and can't get any.
    ///
    /// # Errors
    /// `EPERM`: it isn't root's.
    pub fn assume(&self) -> io::Result<()> {
        // First what needs the rights that go: not even a program with capabilities on its file could get one (capabilities(7)).
        for number in 0..64 {
            let capability = CapabilitySet::from_bits_retain(1 << number);
            match remove_capability_from_bounding_set(capability) {
                Ok(()) => {}
                // The kernel has no more of them; or this root may not, and then what refuses new rights below must do.
                Err(rustix::io::Errno::INVAL | rustix::io::Errno::PERM) => break,
                Err(errno) => return Err(errno.into()),
            }
        }
        setgroups(&[self.gid])?;
        setresgid(self.gid, self.gid, self.gid)?;
        setresuid(self.uid, self.uid, self.uid)?;
        give_up_capabilities()?;
        set_no_new_privs(true)?;
        if self.is_ours() && setresuid(Uid::from_raw(0), Uid::from_raw(0), Uid::from_raw(0)).is_err() {
            Ok(())
        } else {
            Err(io::Error::other("root's rights are still there"))
        }
    }
}

/// No capability is left: not in force, not to be taken again, not for what is started.
fn give_up_capabilities() -> io::Result<()> {
    clear_ambient_capability_set()?;
    let none = CapabilitySets {
        effective: CapabilitySet::empty(),
        permitted: CapabilitySet::empty(),
        inheritable: CapabilitySet::empty(),
    };
    Ok(set_capabilities(None, none)?)
}

/// What this process starts from now on has no more rights than it has itself.
///
/// # Errors
/// None on Linux since 3.5.
pub fn refuse_new_rights() -> io::Result<()> {
    Ok(set_no_new_privs(true)?)
}

/// Whether this process is root's.
#[must_use]
pub fn is_root() -> bool {
    geteuid().is_root()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_found_by_name_and_number_and_who_is_nobody_or_root_is_told() {
        let by_name = Identity::find("nobody", None).unwrap();
        let number = by_name.numbers().0.to_string();
        assert_eq!(Identity::find(&number, None).unwrap(), by_name);
        let group = Identity::find("nobody", Some("daemon")).unwrap();
        assert_eq!((group.numbers().0, group.numbers().1), (by_name.numbers().0, 1));
        assert!(Identity::find("root", None).unwrap_err().contains("is root"));
        assert!(Identity::find("nobody", Some("0")).unwrap_err().contains("is root"));
        let said = Identity::find("no-such-user", None).unwrap_err();
        assert_eq!(said, "runtime.user: nobody is named no-such-user on this machine");
        let said = Identity::find("nobody", Some("no-such-group")).unwrap_err();
        assert_eq!(said, "runtime.group: no group is named no-such-group on this machine");
        assert!(!by_name.is_ours());
    }
}

//! `[runtime]`: threads, limits of the process, and whose rights it has. Called by `sections`.
//!
//! May not: look a user up; who becomes it does, and says what is wrong.

use std::time::Duration;

use super::problems::Findings;
use super::reader::{Field, Integers, Table};
use super::sections::connections_max;
use super::values::Service;
use super::{DRAIN_TIMEOUT, MEMORY_BYTES, WORKERS_MAX, scalars};

/// `[runtime]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Runtime {
    /// Worker threads; `None` (0 in the file) = one per core. At most [`WORKERS_MAX`].
    pub workers: Option<u16>,
    /// Live sessions; `None` (0 in the file) = as many as the file-descriptor limit can carry.
    pub connections_max: Option<u32>,
    /// What lb may take of the machine's memory, in bytes; `None` (0 in the file) = what its control group allows, if that has a limit.
    pub memory_bytes_max: Option<u64>,
    /// How long a shutdown, or a removed backend, waits for its sessions.
    pub drain_timeout: Duration,
    /// Who lb is as soon as its ports are open, by name or number; `None` = whoever started it.
    pub user: Option<String>,
    /// Its only group; `None` = the user's own. Only with `user`.
    pub group: Option<String>,
    /// `sandbox`.
    pub sandbox: Sandbox,
}

/// Whether lb shuts itself in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sandbox {
    /// As far as the kernel lets it.
    On,
    /// Not at all.
    Off,
    /// Wholly, or it doesn't start.
    Required,
}

/// The section.
pub(super) fn runtime(table: &Table, findings: &mut Findings) -> Runtime {
    let workers = Integers {
        range: 0..=u32::from(WORKERS_MAX),
        zero: "one per core",
    };
    let user = name(table, "user", findings);
    let group = name(table, "group", findings);
    if user.is_none()
        && group.is_some()
        && let Some(field) = table.get("group")
    {
        field.refuse(
            "no group without user",
            "user = \"lb\" alone takes its own group",
            findings,
        );
    }
    let sandboxes = [
        ("on", Sandbox::On),
        ("off", Sandbox::Off),
        ("required", Sandbox::Required),
    ];
    Runtime {
        workers: u16::try_from(table.integer("workers", &workers, 0, findings))
            .ok()
            .filter(|workers| *workers > 0),
        connections_max: connections_max(table, findings),
        memory_bytes_max: table.get("max_memory").and_then(|field| memory(&field, findings)),
        drain_timeout: scalars::duration(table, "drain_timeout", &DRAIN_TIMEOUT, "30s", findings),
        user,
        group,
        sandbox: scalars::word(table, "sandbox", &sandboxes, Sandbox::On, findings).unwrap_or(Sandbox::On),
    }
}

/// `max_memory`; 0 = whatever there is.
fn memory(field: &Field, findings: &mut Findings) -> Option<u64> {
    if field.as_number() == Some("0") {
        return None;
    }
    scalars::size(field, &MEMORY_BYTES, "512MiB", findings)
}

/// Finds what can't be shut in, though it must be.
pub(super) fn find_unprotected(table: &Table, runtime: &Runtime, services: &[Service], findings: &mut Findings) {
    if runtime.sandbox == Sandbox::Required
        && services.iter().any(|service| service.managed.is_some())
        && let Some(field) = table.get("sandbox")
    {
        let hint =
            "what [service.managed] starts would be shut in with lb: with \"on\" lb opens files everywhere instead";
        field.refuse("\"on\" or \"off\"", hint, findings);
    }
}

/// The name of a user or a group, or its number; "" is none.
fn name(table: &Table, key: &str, findings: &mut Findings) -> Option<String> {
    let wanted = format!("the name of a {key}, or its number as a string");
    let field = table.get(key)?;
    match field.string(&wanted, findings)? {
        "" => None,
        text if text.contains(['\0', ':', '/']) => {
            field.refuse(&wanted, "", findings);
            None
        }
        text => Some(text.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::parse;

    fn runtime(lines: &str) -> Runtime {
        let service = "[[service]]\nname = \"a\"\nlisten = \"127.0.0.1:0\"\n[[service.backend]]\nname = \"b\"\naddress = \"127.0.0.1:1\"\n";
        parse("f", &format!("[runtime]\n{lines}\n{service}")).unwrap().runtime
    }

    #[test]
    fn rights_are_kept_unless_a_user_is_named_and_the_sandbox_is_on() {
        let plain = runtime("");
        assert_eq!((plain.user, plain.group, plain.sandbox), (None, None, Sandbox::On));
        let named = runtime("user = \"lb\"\ngroup = \"1000\"\nsandbox = \"required\"");
        assert_eq!(
            (named.user.as_deref(), named.group.as_deref()),
            (Some("lb"), Some("1000"))
        );
        assert_eq!(named.sandbox, Sandbox::Required);
        assert_eq!(
            runtime("user = \"\"\ngroup = \"\"\nsandbox = \"off\"").sandbox,
            Sandbox::Off
        );
    }
}

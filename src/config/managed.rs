//! `[service.managed]`: processes that lb keeps alive itself, and where they may listen. Called by `sections`.
//!
//! May not: look for the program or the user; who starts them does, and says what is wrong.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::path::PathBuf;

use super::problems::{Findings, quoted};
use super::reader::{Field, Integers, Table};
use super::values::{Managed, Program};
use super::{COMMAND_BYTES_MAX, COMMAND_WORDS_MAX, REPLICA_SPAN, REPLICAS_MAX};
use super::{scalars, scale};

/// What stands for a replica's port.
const PORT: &str = "{port}";

/// The section; `None` if it says nothing that can be started. `gives_up_root`: `[runtime] user` is set.
pub(super) fn managed(table: &Table, gives_up_root: bool, findings: &mut Findings) -> Option<Managed> {
    if !table.is_there() {
        return None; // something else has its name, which was found already
    }
    let command = command(table, findings);
    let ports = ports(table, findings);
    let counts = Integers {
        range: 1..=u32::try_from(REPLICAS_MAX).unwrap_or(u32::MAX),
        zero: "",
    };
    let replicas = table.integer("replicas", &counts, 1, findings);
    if let Some(ports) = &ports
        && usize::try_from(replicas).is_ok_and(|replicas| replicas > ports.len())
        && let Some(field) = table.get("replicas").or_else(|| table.get("ports"))
    {
        let wanted = format!("at most {}, one a port", ports.len());
        field.refuse(
            &wanted,
            "a port more lets a replica be replaced before it goes",
            findings,
        );
    }
    let restart_delay = scalars::duration(table, "restart_delay", &REPLICA_SPAN, "2s", findings);
    let replace_after = scalars::duration_or_off(table, "replace_after", &REPLICA_SPAN, ("10s", "10s"), findings);
    let start_timeout = scalars::duration(table, "start_timeout", &REPLICA_SPAN, "30s", findings);
    let stop_timeout = scalars::duration(table, "stop_timeout", &REPLICA_SPAN, "10s", findings);
    let most = ports.as_ref().map_or(REPLICAS_MAX, ExactSizeIterator::len);
    let scale = scale::scale(table, most, findings);
    let env = table
        .get("env")
        .map_or_else(BTreeMap::new, |field| env(&field, findings));
    let working_directory = table
        .get("working_directory")
        .and_then(|field| text(&field, "the path of a directory", findings));
    let user = table
        .get("user")
        .and_then(|field| text(&field, "the name of a user, or its number", findings));
    if gives_up_root && let Some(field) = table.get("user").filter(|_| user.is_some()) {
        let hint = "lb can't start a process as somebody else when it has given up root's rights itself";
        field.refuse("no user where [runtime] has one", hint, findings);
    }
    let command = command?;
    if !command.iter().chain(env.values()).any(|text| text.contains(PORT))
        && let Some(field) = table.get("command")
    {
        let wanted = "{port} somewhere in it, or in env: each replica listens on a port of its own";
        field.refuse(wanted, "like [\"tcp_server\", \"{port}\"]", findings);
    }
    Some(Managed {
        program: Program {
            command,
            env,
            working_directory: working_directory.map(PathBuf::from),
            user,
        },
        ports: ports?,
        replicas: u16::try_from(replicas).ok()?,
        restart_delay,
        replace_after,
        start_timeout,
        stop_timeout,
        scale,
    })
}

fn command(table: &Table, findings: &mut Findings) -> Option<Vec<String>> {
    const WANTED: &str = "an array: a program and its arguments, like [\"tcp_server\", \"{port}\"]";
    let Some(field) = table.get("command") else {
        table.missing("command", WANTED, findings);
        return None;
    };
    if field.as_str().is_some() {
        field.refuse(WANTED, "no shell reads it: each word stands for itself", findings);
        return None;
    }
    let fields = field.one_or_many();
    let mut words = Vec::new();
    for word in &fields {
        let text = word.string("a string", findings)?;
        if text.contains('\0') {
            word.refuse("a string", "an argument holds no NUL", findings);
            return None;
        }
        words.push(text.to_owned());
    }
    if words.first().is_none_or(String::is_empty) {
        field.refuse(WANTED, "", findings);
        return None;
    }
    bound(&field, words.len(), words.iter().map(String::len).sum(), findings);
    Some(words)
}

/// Finds what is too much for one process to be told.
fn bound(field: &Field, count: usize, bytes: usize, findings: &mut Findings) {
    if count > COMMAND_WORDS_MAX || bytes > COMMAND_BYTES_MAX {
        let wanted = format!("at most {COMMAND_WORDS_MAX} strings of {COMMAND_BYTES_MAX} bytes together");
        field.refuse(&wanted, &format!("it has {count} of {bytes} bytes"), findings);
    }
}

fn ports(table: &Table, findings: &mut Findings) -> Option<RangeInclusive<u16>> {
    const WANTED: &str = "the first and the last port, like \"9101-9199\"";
    let Some(field) = table.get("ports") else {
        table.missing("ports", WANTED, findings);
        return None;
    };
    let text = field.string(WANTED, findings)?;
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let number = |text: &str| {
        let is_plain = text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse::<u16>().ok().filter(|port| is_plain && *port > 0)
    };
    match (number(first.trim()), number(last.trim())) {
        (Some(first), Some(last)) if first <= last => Some(first..=last),
        (Some(first), Some(last)) => {
            field.refuse(
                WANTED,
                &format!("did you mean {}?", quoted(&format!("{last}-{first}"))),
                findings,
            );
            None
        }
        _ => {
            field.refuse(WANTED, "a port is a number from 1 to 65535", findings);
            None
        }
    }
}

fn env(field: &Field, findings: &mut Findings) -> BTreeMap<String, String> {
    const WANTED: &str = "a table of strings, like { NAME = \"value\" }";
    let mut env = BTreeMap::new();
    for (name, at, value) in field.entries(WANTED, findings) {
        if name.is_empty() || name.contains(['=', '\0']) {
            findings.add(
                at,
                value.path.clone(),
                "a variable has a name, without = and NUL".to_owned(),
            );
            continue;
        }
        let Some(text) = value.string("a string", findings) else {
            continue;
        };
        if text.contains('\0') {
            value.refuse("a string", "a variable holds no NUL", findings);
            continue;
        }
        env.insert(name.to_owned(), text.to_owned());
    }
    let bytes = env
        .iter()
        .map(|(name, value)| name.len().saturating_add(value.len()))
        .sum();
    bound(field, env.len(), bytes, findings);
    env
}

fn text(field: &Field, wanted: &str, findings: &mut Findings) -> Option<String> {
    let text = field.string(wanted, findings)?;
    if text.is_empty() || text.contains('\0') {
        field.refuse(wanted, "", findings);
        return None;
    }
    Some(text.to_owned())
}

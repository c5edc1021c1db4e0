//! `[service.health]`: what a probe does, and the keys that go with each kind of it. Called by `sections`.
//!
//! May not: accept a key that its kind would ignore. (`interval` and the like may stay beside `kind = "off"`, so that checks can
//! be turned off for an hour by one word.)

use super::problems::{Findings, quoted};
use super::reader::{Integers, Table};
use super::scalars;
use super::values::{Check, Health};
use super::{CHECKS_IN_A_ROW_MAX, EXPECT_BYTES_MAX, HEALTH_INTERVAL, HEALTH_TIMEOUT, HTTP_PATH_BYTES_MAX, SLOW_START};

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Tcp,
    Http,
    Expect,
    Off,
}

const KINDS: [(&str, Kind); 4] = [
    ("tcp", Kind::Tcp),
    ("http", Kind::Http),
    ("expect", Kind::Expect),
    ("off", Kind::Off),
];

/// Keys that only one kind has.
const KEYS_OF_KINDS: [(&str, Kind); 4] = [
    ("path", Kind::Http),
    ("expect_status", Kind::Http),
    ("send", Kind::Expect),
    ("expect", Kind::Expect),
];

/// The section; `None` if it says no valid check.
pub(super) fn health(table: &Table, findings: &mut Findings) -> Option<Health> {
    let kind = scalars::word(table, "kind", &KINDS, Kind::Tcp, findings);
    if let Some(kind) = kind {
        foreign_keys(table, kind, findings);
    }
    let in_a_row = Integers {
        range: 1..=CHECKS_IN_A_ROW_MAX,
        zero: "",
    };
    let ports = Integers {
        range: 1..=u32::from(u16::MAX),
        zero: "",
    };
    let interval = scalars::duration(table, "interval", &HEALTH_INTERVAL, "2s", findings);
    let timeout = scalars::duration(table, "timeout", &HEALTH_TIMEOUT, "1s", findings);
    let rise = table.integer("rise", &in_a_row, 2, findings);
    let fall = table.integer("fall", &in_a_row, 3, findings);
    let slow_start = scalars::duration_or_off(table, "slow_start", &SLOW_START, ("off", "30s"), findings);
    let port = table
        .get("port")
        .and_then(|field| field.integer(&ports, findings))
        .and_then(|port| u16::try_from(port).ok());
    let check = match kind? {
        Kind::Off => Check::Off,
        Kind::Tcp => Check::Tcp,
        Kind::Http => http(table, findings)?,
        Kind::Expect => expect(table, findings)?,
    };
    Some(Health {
        check,
        interval,
        timeout,
        rise,
        fall,
        port,
        slow_start,
    })
}

fn foreign_keys(table: &Table, kind: Kind, findings: &mut Findings) {
    let word = |kind: Kind| {
        KINDS
            .iter()
            .find(|(_, other)| *other == kind)
            .map_or("", |(word, _)| word)
    };
    let default = if table.get("kind").is_none() {
        ", the default"
    } else {
        ""
    };
    for (key, owner) in KEYS_OF_KINDS {
        if let Some(field) = table.get(key).filter(|_| owner != kind) {
            let said = format!(
                "this key goes with kind = {}, found kind = {}{default}",
                quoted(word(owner)),
                quoted(word(kind))
            );
            findings.add(field.at, field.path, said);
        }
    }
}

fn http(table: &Table, findings: &mut Findings) -> Option<Check> {
    let statuses = Integers {
        range: 100..=599,
        zero: "",
    };
    let status = table.integer("expect_status", &statuses, 200, findings);
    let path = match table.get("path") {
        None => "/",
        Some(field) => {
            let wanted = format!("a path like \"/health\", at most {HTTP_PATH_BYTES_MAX} bytes");
            let path = field.string(&wanted, findings)?;
            let hint = if !path.starts_with('/') {
                "start it with \"/\""
            } else if !path.bytes().all(|byte| byte.is_ascii_graphic()) {
                "spaces and other characters are written as %20 and the like"
            } else {
                ""
            };
            if !hint.is_empty() || path.len() > HTTP_PATH_BYTES_MAX {
                field.refuse(&wanted, hint, findings);
                return None;
            }
            path
        }
    };
    Some(Check::Http {
        path: path.to_owned(),
        expect_status: u16::try_from(status).ok()?,
    })
}

fn expect(table: &Table, findings: &mut Findings) -> Option<Check> {
    let wanted = format!("a string of 1 to {EXPECT_BYTES_MAX} bytes, the start of a healthy answer");
    let Some(field) = table.get("expect") else {
        table.missing("expect", &format!("{wanted}, because kind = \"expect\""), findings);
        return None;
    };
    let expect = field.string(&wanted, findings)?;
    if expect.is_empty() || expect.len() > EXPECT_BYTES_MAX {
        let hint = if expect.is_empty() {
            String::new()
        } else {
            format!("it has {} bytes", expect.len())
        };
        field.refuse(&wanted, &hint, findings);
        return None;
    }
    let send = match table.get("send") {
        None => "",
        Some(field) => {
            let wanted = format!("a string of up to {EXPECT_BYTES_MAX} bytes");
            let send = field.string(&wanted, findings)?;
            if send.len() > EXPECT_BYTES_MAX {
                field.refuse(&wanted, &format!("it has {} bytes", send.len()), findings);
                return None;
            }
            send
        }
    };
    Some(Check::Expect {
        send: send.as_bytes().to_vec(),
        expect: expect.as_bytes().to_vec(),
    })
}

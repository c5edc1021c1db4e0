//! `[service.discovery]`: where the backends of a service are listed, and which of them are taken.
//!
//! Called by `sections`. May not: look a name up, open the file, or ask anybody.

use std::net::SocketAddr;
use std::path::PathBuf;

use ipnet::IpNet;

use super::networks::networks;
use super::problems::{Findings, quoted};
use super::reader::{Field, Integers, Table};
use super::scalars::{self, Use};
use super::values::{Discovery, DiscoverySource, DnsRecord};
use super::{
    BACKENDS_MAX, CHANGES_PER_SECOND_MAX, DISCOVERED_MAX, DISCOVERY_INTERVAL, DNS_INTERVAL, ETCD_PREFIX_BYTES_MAX,
    HEALTH_TIMEOUT, admin,
};
use crate::types::HttpUrl;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Dns,
    File,
    Http,
    Etcd,
}

const KINDS: [(&str, Kind); 4] = [
    ("dns", Kind::Dns),
    ("file", Kind::File),
    ("http", Kind::Http),
    ("etcd", Kind::Etcd),
];

/// Keys that go with some kinds only.
const KEYS_OF_KINDS: [(&str, &[Kind]); 11] = [
    ("name", &[Kind::Dns]),
    ("record", &[Kind::Dns]),
    ("port", &[Kind::Dns]),
    ("server", &[Kind::Dns]),
    ("interval_min", &[Kind::Dns]),
    ("interval_max", &[Kind::Dns]),
    ("path", &[Kind::File]),
    ("url", &[Kind::Http, Kind::Etcd]),
    ("interval", &[Kind::Http]),
    ("prefix", &[Kind::Etcd]),
    ("timeout", &[Kind::Dns, Kind::Http, Kind::Etcd]),
];

const PORTS: Integers = Integers {
    range: 1..=65_535,
    zero: "",
};

/// The section; `None` if it says nothing that could be followed.
pub(super) fn discovery(table: &Table, findings: &mut Findings) -> Option<Discovery> {
    if table.get("kind").is_none() {
        table.missing("kind", "\"dns\", \"file\", \"http\" or \"etcd\"", findings);
        return None;
    }
    let kind = scalars::word(table, "kind", &KINDS, Kind::Dns, findings)?;
    foreign_keys(table, kind, findings);
    let (backends_min, backends_max) = bounds(table, findings);
    let changes = Integers {
        range: 1..=CHANGES_PER_SECOND_MAX,
        zero: "",
    };
    let changes_per_second = table.integer("changes_per_second", &changes, 2, findings);
    let allow = allow(table, findings);
    let timeout = scalars::duration(table, "timeout", &HEALTH_TIMEOUT, "2s", findings);
    let source = match kind {
        Kind::Dns => dns(table, findings),
        Kind::File => file(table, findings),
        Kind::Http => {
            let interval = scalars::duration(table, "interval", &DISCOVERY_INTERVAL, "5s", findings);
            url(table, findings).map(|url| DiscoverySource::Http { url, interval })
        }
        Kind::Etcd => etcd(table, findings),
    };
    Some(Discovery {
        source: source?,
        timeout,
        backends_min,
        backends_max,
        changes_per_second,
        allow,
    })
}

fn foreign_keys(table: &Table, kind: Kind, findings: &mut Findings) {
    let word = |kind: &Kind| {
        let found = KINDS.iter().find(|(_, other)| other == kind);
        quoted(found.map_or("", |(word, _)| word))
    };
    for (key, owners) in KEYS_OF_KINDS {
        if let Some(field) = table.get(key).filter(|_| !owners.contains(&kind)) {
            let owners: Vec<String> = owners.iter().map(word).collect();
            let said = format!(
                "this key goes with kind = {}, found kind = {}",
                owners.join(" or "),
                word(&kind)
            );
            findings.add(field.at, field.path, said);
        }
    }
}

/// `min_backends` and `max_backends`.
fn bounds(table: &Table, findings: &mut Findings) -> (usize, usize) {
    let counts = Integers {
        range: 1..=u32::try_from(BACKENDS_MAX).unwrap_or(u32::MAX),
        zero: "",
    };
    let most = table.integer("max_backends", &counts, DISCOVERED_MAX, findings);
    let least = table.integer("min_backends", &counts, 1, findings);
    if let Some(field) = table.get("min_backends").filter(|_| least > most) {
        field.refuse(&format!("at most max_backends, {most}"), "", findings);
    }
    let size = |number: u32| usize::try_from(number).unwrap_or(usize::MAX);
    (size(least), size(most))
}

fn allow(table: &Table, findings: &mut Findings) -> Option<Vec<IpNet>> {
    let meaning = "without the key every address may be used but those of this machine";
    networks(&table.get("allow")?, meaning, findings)
}

fn dns(table: &Table, findings: &mut Findings) -> Option<DiscoverySource> {
    #[derive(Clone, Copy, PartialEq)]
    enum Word {
        A,
        Aaaa,
        Srv,
    }
    let records = [("a", Word::A), ("aaaa", Word::Aaaa), ("srv", Word::Srv)];
    let name = dns_name(table, findings);
    let record = scalars::word(table, "record", &records, Word::A, findings);
    let port = table.get("port").and_then(|field| {
        let port = u16::try_from(field.integer(&PORTS, findings)?).ok()?;
        Some((port, field))
    });
    let server = table
        .get("server")
        .and_then(|field| scalars::address(&field, Use::Backend, findings));
    let interval_min = scalars::duration(table, "interval_min", &DNS_INTERVAL, "1s", findings);
    let interval_max = scalars::duration(table, "interval_max", &DNS_INTERVAL, "5m", findings);
    if let Some(field) = table.get("interval_min").or_else(|| table.get("interval_max"))
        && interval_min > interval_max
    {
        field.refuse("an interval_min that is not longer than interval_max", "", findings);
    }
    let record = match (record?, port) {
        (Word::Srv, None) => DnsRecord::Srv,
        (Word::Srv, Some((_, field))) => {
            findings.add(
                field.at,
                field.path,
                "this key goes with record = \"a\" or \"aaaa\"; an srv record has the port",
            );
            return None;
        }
        (Word::A, Some((port, _))) => DnsRecord::A { port },
        (Word::Aaaa, Some((port, _))) => DnsRecord::Aaaa { port },
        (_, None) => {
            if table.get("port").is_none() {
                table.missing(
                    "port",
                    "the port of the backends, because such a record has none",
                    findings,
                );
            }
            return None;
        }
    };
    Some(DiscoverySource::Dns {
        name: name?,
        record,
        server,
        interval_min,
        interval_max,
    })
}

fn dns_name(table: &Table, findings: &mut Findings) -> Option<String> {
    const WANTED: &str = "a DNS name like \"db.example.org\"";
    let Some(field) = table.get("name") else {
        table.missing("name", WANTED, findings);
        return None;
    };
    let text = field.string(WANTED, findings)?;
    let bare = text.strip_suffix('.').unwrap_or(text);
    let is_label = |label: &str| {
        let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        (1..=63).contains(&label.len()) && label.bytes().all(is_allowed)
    };
    let hint = if text.parse::<std::net::IpAddr>().is_ok() || text.parse::<SocketAddr>().is_ok() {
        "that is an address; write a [[service.backend]]"
    } else if bare.len() <= 253 && bare.split('.').all(is_label) {
        return Some(format!("{}.", bare.to_ascii_lowercase()));
    } else {
        ""
    };
    field.refuse(WANTED, hint, findings);
    None
}

fn file(table: &Table, findings: &mut Findings) -> Option<DiscoverySource> {
    const WANTED: &str = "the path of a file, like \"/etc/lb/backends.toml\"";
    let Some(field) = table.get("path") else {
        table.missing("path", WANTED, findings);
        return None;
    };
    let text = field.string(WANTED, findings)?;
    if text.is_empty() || text.contains('\0') || text.ends_with('/') {
        field.refuse(WANTED, "", findings);
        return None;
    }
    Some(DiscoverySource::File {
        path: PathBuf::from(text),
    })
}

fn etcd(table: &Table, findings: &mut Findings) -> Option<DiscoverySource> {
    const WANTED: &str = "the start of the keys, like \"/services/db/\"";
    let url = url(table, findings);
    let Some(field) = table.get("prefix") else {
        table.missing("prefix", WANTED, findings);
        return None;
    };
    let prefix = field.string(WANTED, findings)?;
    if prefix.is_empty() || prefix.len() > ETCD_PREFIX_BYTES_MAX {
        field.refuse(WANTED, &format!("it has {} bytes", prefix.len()), findings);
        return None;
    }
    let url = url?;
    if &*url.path != "/" {
        let field = table.get("url")?;
        field.refuse(
            "the address of etcd alone, like \"http://127.0.0.1:2379\"",
            "",
            findings,
        );
        return None;
    }
    Some(DiscoverySource::Etcd {
        address: url.address,
        prefix: prefix.to_owned(),
    })
}

fn url(table: &Table, findings: &mut Findings) -> Option<HttpUrl> {
    const WANTED: &str = "a URL like \"http://10.0.0.1:8500/backends\"";
    let Some(field) = table.get("url") else {
        table.missing("url", WANTED, findings);
        return None;
    };
    let text = field.string(WANTED, findings)?;
    let local = text.strip_prefix("http://localhost:");
    let url = admin::url(&local.map_or_else(|| text.to_owned(), |rest| format!("http://127.0.0.1:{rest}")));
    if url.is_none() {
        url_refused(&field, text, WANTED, findings);
    }
    url
}

fn url_refused(field: &Field, text: &str, wanted: &str, findings: &mut Findings) {
    let hint = match text.split_once("://") {
        Some(("http", _)) => {
            "an IP address (or localhost) and a port, then a path without spaces; host names aren't looked up"
        }
        Some(_) => "only http is spoken here",
        None => "it starts with http://",
    };
    field.refuse(wanted, hint, findings);
}

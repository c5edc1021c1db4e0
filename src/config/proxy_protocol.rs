//! `[service.proxy_protocol]`: who may say whose a connection is, and whether backends are told.
//!
//! Called by `sections`. May not: believe anybody by default; without `trusted` nothing is accepted.

use super::networks::networks;
use super::problems::Findings;
use super::reader::Table;
use super::scalars;
use super::values::{ProxyProtocol, ProxyVersion};

const VERSIONS: [(&str, Option<ProxyVersion>); 2] = [("v1", Some(ProxyVersion::V1)), ("v2", Some(ProxyVersion::V2))];

/// The section.
pub(super) fn proxy_protocol(table: &Table, findings: &mut Findings) -> ProxyProtocol {
    let accept = table.get("accept");
    let accepts = accept
        .as_ref()
        .and_then(|field| field.boolean(findings))
        .unwrap_or(false);
    let trusted = match table.get("trusted") {
        Some(field) if accepts => networks(&field, "every peer would be refused", findings),
        Some(field) => {
            findings.add(field.at, field.path, "this key goes with accept = true");
            None
        }
        None if accepts => {
            let wanted = "the networks of the proxies in front, like [\"10.0.0.0/8\"]: who may connect says whose a connection is";
            table.missing("trusted", wanted, findings);
            None
        }
        None => None,
    };
    let send = scalars::word(table, "send", &VERSIONS, None, findings).flatten();
    if accept.is_none() && table.get("send").is_none() {
        table.missing("accept", "true, or send = \"v1\" or \"v2\", or both", findings);
    }
    ProxyProtocol {
        trusted: trusted.filter(|_| accepts),
        send,
    }
}

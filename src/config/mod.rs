//! `lb.toml` as checked, plain values.
//!
//! Two steps: the text as tables that know where each value stands (`syntax`, `reader`), then the values of `values`, which hold
//! only what is allowed (`sections`, `health`, `whole`). All problems are collected, not the first.
//! Called by `cli` (run, check) and, for reloads, by `control`.
//!
//! May not: open a socket, start a thread, read the clock; panic, whatever the bytes.

mod admin;
mod balance;
mod discovery;
mod fence;
mod given;
mod health;
mod history;
mod limits;
mod listed;
mod load;
mod managed;
mod misfit;
mod networks;
mod outline;
mod problems;
mod proxy_protocol;
mod reader;
mod runtime;
mod scalars;
mod scale;
mod sections;
mod shapes;
mod syntax;
mod values;
mod whole;

pub use fence::{Access, Limits, SourceRate};
pub use given::{backend_address, check_name, drain, weight};
pub use limits::*;
pub use listed::listed;
pub use load::load;
pub use misfit::Misfit;
pub use problems::{Problem, Problems, one_line};
pub use runtime::{Runtime, Sandbox};
pub use values::{
    AccessLog, Admin, AdminListen, Backend, Balance, Check, Config, Discovery, DiscoverySource, DnsRecord, HashKey,
    Health, History, Listed, Log, Managed, Prediction, Program, ProxyProtocol, ProxyVersion, RingHash, Scale, Service,
    Sticky,
};

use problems::Findings;

/// Reads the text of an `lb.toml`. `file_name` only stands in the messages.
///
/// # Errors
/// Every problem of the text, sorted by place.
pub fn parse(file_name: &str, text: &str) -> Result<Config, Problems> {
    if text.len() > FILE_BYTES_MAX {
        return Err(Problems::of_file(file_name, &load::too_large()));
    }
    let mut findings = Findings::new(text);
    let config = syntax::read(text, &mut findings).map(|root| sections::config(&root, &mut findings));
    findings.drop_echoes();
    match config {
        Some(config) if findings.is_empty() => Ok(config),
        _ => Err(findings.into_problems(file_name)),
    }
}

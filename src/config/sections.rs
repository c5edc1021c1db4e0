//! From tables to values: `[runtime]`, `[log]`, `[[service]]` and `[[service.backend]]`, with every default.
//!
//! Reads on after each finding, with the default, so that one pass finds all. Called by [`parse`](super::parse).
//! May not: compare one section with another (that is [`whole`](super::whole)).

use std::net::SocketAddr;
use std::path::PathBuf;

use log::LevelFilter;
use toml::de::DeTable;

use super::problems::Findings;
use super::reader::{Field, Integers, Table};
use super::scalars::{self, Use};
use super::shapes::{
    ACCESS, ADMIN, BACKEND, DISCOVERY, FILE, HEALTH, HISTORY, LIMITS, LOG, MANAGED, PROXY_PROTOCOL, RUNTIME, SERVICE,
};
use super::values::{AccessLog, Backend, Config, Log, ProxyProtocol, Runtime, Service};
use super::whole::{Unique, Whole};
use super::{
    CONNECT_RETRIES_MAX, CONNECT_TIMEOUT, DRAIN_TIMEOUT, IDLE_TIMEOUT, MEMORY_BYTES, PEER_TIMEOUT, WEIGHT_MAX,
    WORKERS_MAX,
};
use super::{admin, balance, discovery, fence, health, history, managed, proxy_protocol};

const CONNECTIONS: Integers = Integers {
    range: 0..=u32::MAX,
    zero: "no limit",
};

/// The whole file; of no use if anything was found.
pub(super) fn config(root: &DeTable, findings: &mut Findings) -> Config {
    let root = Table::open(0, String::new(), root, &FILE, findings);
    let runtime = runtime(&root.section("runtime", &RUNTIME, findings), findings);
    let log = log(&root.section("log", &LOG, findings), findings);
    let mut whole = Whole::default();
    let admin = admin::admin(&root.section("admin", &ADMIN, findings), &mut whole, findings);
    let history = history::history(&root.section("history", &HISTORY, findings), &admin, findings);
    let tables = match root.get("service") {
        Some(field) => field.sections(SERVICE.header, findings),
        None => {
            root.missing("service", &format!("at least one {} section", SERVICE.header), findings);
            Vec::new()
        }
    };
    if let Some(field) = root.get("service").filter(Field::is_empty_array) {
        field.refuse(&format!("at least one {} section", SERVICE.header), "", findings);
    }
    let mut services = Vec::new();
    for (field, entries) in tables {
        whole.count_service(&field, findings);
        let table = Table::open(field.at, field.path, entries, &SERVICE, findings);
        services.extend(service(&table, &mut whole, findings));
    }
    whole.find_loops(findings);
    Config {
        runtime,
        log,
        admin,
        history,
        services,
    }
}

fn runtime(table: &Table, findings: &mut Findings) -> Runtime {
    let workers = Integers {
        range: 0..=u32::from(WORKERS_MAX),
        zero: "one per core",
    };
    Runtime {
        workers: u16::try_from(table.integer("workers", &workers, 0, findings))
            .ok()
            .filter(|workers| *workers > 0),
        connections_max: connections_max(table, findings),
        memory_bytes_max: table.get("max_memory").and_then(|field| memory(&field, findings)),
        drain_timeout: scalars::duration(table, "drain_timeout", &DRAIN_TIMEOUT, "30s", findings),
    }
}

/// `max_memory`; 0 = whatever there is.
fn memory(field: &Field, findings: &mut Findings) -> Option<u64> {
    if field.as_number() == Some("0") {
        return None;
    }
    scalars::size(field, &MEMORY_BYTES, "512MiB", findings)
}

fn log(table: &Table, findings: &mut Findings) -> Log {
    let levels = [
        ("error", LevelFilter::Error),
        ("warn", LevelFilter::Warn),
        ("info", LevelFilter::Info),
        ("debug", LevelFilter::Debug),
        ("trace", LevelFilter::Trace),
    ];
    let level = scalars::word(table, "level", &levels, LevelFilter::Info, findings).unwrap_or(LevelFilter::Info);
    let access = table
        .get("access")
        .and_then(|field| access_log(&field, findings))
        .unwrap_or(AccessLog::Off);
    Log { level, access }
}

fn access_log(field: &Field, findings: &mut Findings) -> Option<AccessLog> {
    const WANTED: &str = "\"off\", \"stderr\" or the path of a file";
    // Meant as a word, taken for a file name: nobody would look there.
    const NO_FILES: [&str; 7] = ["off", "stderr", "stdout", "none", "no", "false", "true"];
    let text = field.string(WANTED, findings)?;
    match text {
        "off" => Some(AccessLog::Off),
        "stderr" => Some(AccessLog::Stderr),
        "" => {
            field.refuse(WANTED, "", findings);
            None
        }
        _ if text.contains('\0') => {
            field.refuse(WANTED, "a path holds no NUL", findings);
            None
        }
        _ if NO_FILES.contains(&text.to_ascii_lowercase().as_str()) => {
            field.refuse(WANTED, &format!("for a file of that name write \"./{text}\""), findings);
            None
        }
        _ => Some(AccessLog::File(PathBuf::from(text))),
    }
}

fn service(table: &Table, whole: &mut Whole, findings: &mut Findings) -> Option<Service> {
    let name = scalars::name(table, findings);
    if let (Some(name), Some(field)) = (name, table.get("name")) {
        whole.service(name, &field, findings);
    }
    let listen = listen(table, whole, findings);
    let balance = balance::balance(table, findings);
    let hash_key = balance::hash_key(table, findings);
    let sticky = balance::sticky(table, findings);
    let proxy_protocol = table.get("proxy_protocol").map_or_else(ProxyProtocol::default, |_| {
        proxy_protocol::proxy_protocol(&table.section("proxy_protocol", &PROXY_PROTOCOL, findings), findings)
    });
    let retries = Integers {
        range: 0..=u32::from(CONNECT_RETRIES_MAX),
        zero: "none",
    };
    let connections_max = connections_max(table, findings);
    let connect_timeout = scalars::duration(table, "connect_timeout", &CONNECT_TIMEOUT, "2s", findings);
    let connect_retries = table.integer("connect_retries", &retries, 2, findings);
    let hedge_after = scalars::duration_or_off(table, "hedge_after", &CONNECT_TIMEOUT, ("200ms", "200ms"), findings);
    let idle_timeout = scalars::duration(table, "idle_timeout", &IDLE_TIMEOUT, "5m", findings);
    let half_close_timeout = scalars::duration(table, "half_close_timeout", &IDLE_TIMEOUT, "30s", findings);
    let peer_timeout = scalars::duration_or_off(table, "peer_timeout", &PEER_TIMEOUT, ("20s", "20s"), findings);
    let access = fence::access(&table.section("access", &ACCESS, findings), findings);
    let limits = fence::limits(&table.section("limits", &LIMITS, findings), findings);
    let health = health::health(&table.section("health", &HEALTH, findings), findings);
    let found = table
        .get("discovery")
        .map(|_| table.section("discovery", &DISCOVERY, findings));
    let discovery = found.as_ref().map(|table| discovery::discovery(table, findings));
    let managed = table
        .get("managed")
        .map(|_| managed::managed(&table.section("managed", &MANAGED, findings), findings));
    let backends = backends(table, managed.is_none() && discovery.is_none(), whole, findings);
    let replicas = managed
        .iter()
        .flatten()
        .map(|managed| usize::from(managed.replicas_max()))
        .sum();
    if let Some(balance) = balance {
        balance::find_misfit(table, balance, (&backends, replicas), findings);
        if let Some(field) = table.get("balance") {
            whole.count_slots(
                balance::slots(balance, backends.len().saturating_add(replicas)),
                &field,
                findings,
            );
        }
    }
    Some(Service {
        name: name?.to_owned(),
        listen,
        balance: balance?,
        hash_key: hash_key?,
        sticky,
        proxy_protocol,
        connections_max,
        connect_timeout,
        connect_retries: u8::try_from(connect_retries).ok()?,
        hedge_after,
        idle_timeout,
        half_close_timeout,
        peer_timeout,
        access,
        limits,
        health: health?,
        discovery: discovery.map_or(Some(None), |found| found.map(Some))?,
        managed: match managed {
            None => None,
            Some(managed) => Some(managed?),
        },
        backends,
    })
}

fn listen(table: &Table, whole: &mut Whole, findings: &mut Findings) -> Vec<SocketAddr> {
    let Some(field) = table.get("listen") else {
        table.missing("listen", Use::Listen.wanted(), findings);
        return Vec::new();
    };
    let fields = field.one_or_many();
    if fields.is_empty() {
        field.refuse("at least one address", "", findings);
    }
    let mut addresses = Vec::new();
    for field in fields {
        if let Some(address) = scalars::address(&field, Use::Listen, findings) {
            whole.listener(address, &field, findings);
            addresses.push(address);
        }
    }
    addresses
}

/// `are_needed`: nobody else brings any.
fn backends(table: &Table, are_needed: bool, whole: &mut Whole, findings: &mut Findings) -> Vec<Backend> {
    let wanted = format!("at least one {} section", BACKEND.header);
    let Some(field) = table.get("backend") else {
        if are_needed {
            table.missing("backend", &wanted, findings);
        }
        return Vec::new();
    };
    let tables = field.sections(BACKEND.header, findings);
    if are_needed && field.is_empty_array() {
        field.refuse(&wanted, "", findings);
    }
    let mut names = Unique::default();
    let mut backends = Vec::new();
    for (field, entries) in tables {
        let table = Table::open(field.at, field.path.clone(), entries, &BACKEND, findings);
        let name = scalars::name(&table, findings);
        if let (Some(name), Some(field)) = (name, table.get("name")) {
            names.add(name, "a name", &field, findings);
        }
        backends.extend(backend(&table, name, whole, findings));
        whole.count_backend(&field, findings);
    }
    backends
}

fn backend(table: &Table, name: Option<&str>, whole: &mut Whole, findings: &mut Findings) -> Option<Backend> {
    let address = match table.get("address") {
        Some(field) => {
            scalars::address(&field, Use::Backend, findings).inspect(|address| whole.backend(*address, &field))
        }
        None => {
            table.missing("address", Use::Backend.wanted(), findings);
            None
        }
    };
    let weights = Integers {
        range: 0..=u32::from(WEIGHT_MAX),
        zero: "no new connection",
    };
    let weight = table.integer("weight", &weights, 1, findings);
    let connections_max = connections_max(table, findings);
    let backup = table
        .get("backup")
        .and_then(|field| field.boolean(findings))
        .unwrap_or(false);
    let metrics = table.get("metrics").and_then(|field| admin::metrics(&field, findings));
    Some(Backend {
        name: name?.to_owned(),
        address: address?,
        weight: u16::try_from(weight).ok()?,
        connections_max,
        backup,
        metrics,
    })
}

/// `max_connections`, which all sections write alike.
fn connections_max(table: &Table, findings: &mut Findings) -> Option<u32> {
    Some(table.integer("max_connections", &CONNECTIONS, 0, findings)).filter(|number| *number > 0)
}

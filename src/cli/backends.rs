//! Services and backends as text.

use super::human::{age, bytes, counted, grouped, latency, share};
use super::table::{Cell, Side, Table, style_of};
use super::text::{shown, word};
use crate::api::{Backend, BackendState, Prediction, ReplicaState, Replicas, Service};

/// Of each backend, behind the name of its service where there may be several.
const COLUMNS: [(&str, Side); 11] = [
    ("SERVICE", Side::Left),
    ("NAME", Side::Left),
    ("ADDRESS", Side::Left),
    ("STATE", Side::Left),
    ("WEIGHT", Side::Right),
    ("ACTIVE", Side::Right),
    ("TOTAL", Side::Right),
    ("SHARE", Side::Right),
    ("FAILED", Side::Right),
    ("LATENCY", Side::Right),
    ("ORIGIN", Side::Left),
];

/// `lb backends`: one table, and below it what is wrong with those that are down.
pub(super) fn list(services: &[Service]) -> String {
    let mut table = Table::new(&COLUMNS);
    for service in services {
        for cells in rows(service) {
            table.row(std::iter::once(Cell::from(&service.name)).chain(cells).collect());
        }
    }
    let troubles: String = services.iter().flat_map(|service| troubles(service, "")).collect();
    let between = if troubles.is_empty() { "" } else { "\n" };
    format!("{}{between}{troubles}", table.lines(""))
}

/// A service's part of `lb status`.
pub(super) fn service(service: &Service) -> String {
    let connections = service.connections;
    let up = service
        .backends
        .iter()
        .filter(|backend| backend.state == BackendState::Up)
        .count() as u64;
    let mut text = format!(
        "\n{}, {} on {}: {} of {} up; connections: {} active, {} in all, {} failed, {} refused; {} to backends, {} to clients\n",
        shown(&service.name),
        shown(&service.balance),
        shown(&service.listen.join(", ")),
        grouped(up),
        counted(service.backends.len() as u64, "backend"),
        grouped(connections.active),
        grouped(connections.total),
        grouped(connections.failed),
        grouped(connections.refused),
        bytes(service.bytes.to_backend),
        bytes(service.bytes.to_client),
    );
    let [_, columns @ ..] = &COLUMNS;
    let mut table = Table::new(columns);
    for cells in rows(service) {
        table.row(cells);
    }
    if !service.backends.is_empty() {
        text.push_str(&table.lines("  "));
    }
    if let Some(replicas) = &service.replicas {
        text.push_str(&kept(replicas));
    }
    text.extend(troubles(service, "  "));
    if let Some(discovery) = &service.discovery {
        let (kind, count) = (shown(&discovery.kind), discovery.backends);
        text.push_str(&match &discovery.last_error {
            Some(error) => format!("  discovery by {kind}: {}; found before: {count}\n", shown(error)),
            None if discovery.last_success.is_none() => format!("  discovery by {kind}: no answer yet\n"),
            None => format!("  discovery by {kind}: found backends: {count}\n"),
        });
    }
    let differences = service.differences.iter();
    text.extend(differences.map(|difference| format!("  not as in the file: {}\n", shown(difference))));
    text
}

/// What lb keeps alive, and who of it doesn't run.
fn kept(replicas: &Replicas) -> String {
    let restarts: u64 = replicas
        .replicas
        .iter()
        .map(|replica| u64::from(replica.restarts))
        .sum();
    let mut text = format!(
        "  replicas: {} of {} running, {}\n",
        replicas.running,
        replicas.wanted,
        counted(restarts, "restart")
    );
    if let Some(scaling) = &replicas.scaling {
        text.push_str(&format!(
            "  by load: {} to {}, {} each; forecast {}\n",
            scaling.min,
            scaling.max,
            counted(u64::from(scaling.target_connections), "connection"),
            outlook(&scaling.prediction)
        ));
    }
    for replica in replicas
        .replicas
        .iter()
        .filter(|replica| replica.state != ReplicaState::Running)
    {
        let (name, state) = (shown(&replica.name), word(&replica.state));
        text.push_str(&format!(
            "  replica {name} is {state}, {}\n",
            counted(u64::from(replica.restarts), "restart")
        ));
    }
    text
}

/// What is expected, and whether it counts.
fn outlook(prediction: &Prediction) -> String {
    let errors = |own: f64, naive: f64| format!("off by {own:.1} on average, \"the same as now\" by {naive:.1}");
    match prediction {
        Prediction::Off => "off".to_owned(),
        Prediction::Learning {
            have_seconds,
            need_seconds,
        } => format!("learning, {} of {}", age(*have_seconds), age(*need_seconds)),
        Prediction::NotBetter { own_error, naive_error } => {
            format!("not used: {}", errors(*own_error, *naive_error))
        }
        Prediction::Used {
            lower,
            upper,
            own_error,
            naive_error,
            ..
        } => format!(
            "{lower:.0} to {upper:.0} connections; {}",
            errors(*own_error, *naive_error)
        ),
    }
}

/// The state, and that it is a backup.
pub(super) fn state(backend: &Backend) -> String {
    let backup = if backend.backup { ", backup" } else { "" };
    format!("{}{backup}", backend.state.as_str())
}

/// Connections made to the backends of a service, of which each has its share.
pub(super) fn total(service: &Service) -> u64 {
    let each = service.backends.iter().map(|backend| backend.connections.total);
    each.fold(0, u64::saturating_add)
}

fn rows(service: &Service) -> impl Iterator<Item = Vec<Cell>> {
    let total = total(service);
    service.backends.iter().map(move |backend| {
        let connections = backend.connections;
        vec![
            Cell::from(&backend.name),
            Cell::from(&backend.address),
            Cell::from(state(backend)).styled(style_of(backend.state)),
            backend.weight.to_string().into(),
            grouped(connections.active).into(),
            grouped(connections.total).into(),
            share(connections.total, total).into(),
            grouped(connections.failed).into(),
            latency(backend.health.latency_seconds).into(),
            word(&backend.origin).into(),
        ]
    })
}

/// A line for each backend that is down.
fn troubles(service: &Service, indent: &str) -> impl Iterator<Item = String> {
    let down = service
        .backends
        .iter()
        .filter(|backend| backend.state == BackendState::Down);
    down.map(move |backend| {
        let since = backend
            .health
            .since
            .as_deref()
            .map_or(String::new(), |since| format!(" since {}", shown(since)));
        let why = backend.health.last_error.as_deref().unwrap_or("no reason was told");
        let (service, name) = (shown(&service.name), shown(&backend.name));
        format!("{indent}{service}/{name} is down{since}: {}\n", shown(why))
    })
}

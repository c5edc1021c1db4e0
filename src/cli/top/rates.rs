//! Two samples -> what happened a second between them. The clock is lb's own, so that a slow answer bends no rate.

use std::collections::HashMap;

use super::ask::Sample;
use crate::api::{Backend, BackendConnections, Bytes, Connection, Service, Status};

/// A second's worth; `None` where nothing is known.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Rates {
    pub(super) connections: Option<f64>,
    pub(super) to_backend: Option<f64>,
    pub(super) to_client: Option<f64>,
}

impl Rates {
    /// Both ways.
    pub(super) fn bytes(self) -> Option<f64> {
        Some(self.to_backend? + self.to_client?)
    }
}

/// All that is known of the time between two samples.
#[derive(Clone, Debug, Default)]
pub(super) struct AllRates {
    pub(super) process: Rates,
    services: HashMap<String, Rates>,
    backends: HashMap<(String, String), Rates>,
    connections: HashMap<String, f64>,
}

impl AllRates {
    /// From `before` to `now`. Nothing, if lb was started anew between them.
    pub(super) fn between(before: &Sample, now: &Sample) -> Self {
        let seconds = now.status.uptime_seconds - before.status.uptime_seconds;
        if before.status.pid != now.status.pid || seconds.is_nan() || seconds <= 0.0 {
            return Self::default();
        }
        let mut rates = Self {
            process: Counts::of_process(&now.status).since(&Counts::of_process(&before.status), seconds),
            ..Self::default()
        };
        let services: HashMap<&str, &Service> = by_name(&before.status.services, |service| &service.name);
        for service in &now.status.services {
            let Some(earlier) = services.get(service.name.as_str()) else {
                continue;
            };
            let since = Counts::of_service(service).since(&Counts::of_service(earlier), seconds);
            rates.services.insert(service.name.clone(), since);
            let backends: HashMap<&str, &Backend> = by_name(&earlier.backends, |backend| &backend.name);
            for backend in &service.backends {
                if let Some(earlier) = backends.get(backend.name.as_str()) {
                    let since = Counts::of_backend(backend).since(&Counts::of_backend(earlier), seconds);
                    rates
                        .backends
                        .insert((service.name.clone(), backend.name.clone()), since);
                }
            }
        }
        let live = by_name(&before.connections.connections, |connection| &connection.id);
        for connection in &now.connections.connections {
            if let Some(rate) = live
                .get(connection.id.as_str())
                .and_then(|earlier| bytes_rate(earlier, connection))
            {
                rates.connections.insert(connection.id.clone(), rate);
            }
        }
        rates
    }

    pub(super) fn of_service(&self, service: &str) -> Rates {
        self.services.get(service).copied().unwrap_or_default()
    }

    pub(super) fn of_backend(&self, service: &str, backend: &str) -> Rates {
        let key = (service.to_owned(), backend.to_owned());
        self.backends.get(&key).copied().unwrap_or_default()
    }

    /// Bytes a second, both ways. One that wasn't seen before: since it began.
    pub(super) fn of_connection(&self, connection: &Connection) -> Option<f64> {
        let since_it_began = || (connection.seconds > 0.0).then(|| moved(connection) / connection.seconds);
        self.connections.get(&connection.id).copied().or_else(since_it_began)
    }
}

fn by_name<T>(list: &[T], name: impl Fn(&T) -> &String) -> HashMap<&str, &T> {
    list.iter().map(|item| (name(item).as_str(), item)).collect()
}

fn bytes_rate(before: &Connection, now: &Connection) -> Option<f64> {
    let seconds = now.seconds - before.seconds;
    (seconds > 0.0).then(|| (moved(now) - moved(before)).max(0.0) / seconds)
}

/// Both ways.
pub(super) fn moved(connection: &Connection) -> f64 {
    connection.bytes_to_backend.saturating_add(connection.bytes_to_client) as f64
}

/// What grows.
struct Counts {
    connections: u64,
    bytes: Bytes,
}

impl Counts {
    fn of_process(status: &Status) -> Self {
        let sum = |of: fn(&Bytes) -> u64| {
            let each = status.services.iter().map(|service| of(&service.bytes));
            each.fold(0, u64::saturating_add)
        };
        Self {
            connections: status.connections.total,
            bytes: Bytes {
                to_backend: sum(|bytes| bytes.to_backend),
                to_client: sum(|bytes| bytes.to_client),
            },
        }
    }

    fn of_service(service: &Service) -> Self {
        Self {
            connections: service.connections.total,
            bytes: service.bytes,
        }
    }

    fn of_backend(backend: &Backend) -> Self {
        let BackendConnections { total, .. } = backend.connections;
        Self {
            connections: total,
            bytes: backend.bytes,
        }
    }

    fn since(&self, before: &Self, seconds: f64) -> Rates {
        // What fell is a new thing with an old name.
        let rate = |now: u64, before: u64| now.checked_sub(before).map(|grown| grown as f64 / seconds);
        Rates {
            connections: rate(self.connections, before.connections),
            to_backend: rate(self.bytes.to_backend, before.bytes.to_backend),
            to_client: rate(self.bytes.to_client, before.bytes.to_client),
        }
    }
}

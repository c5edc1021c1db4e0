//! Which services, backends and connections are drawn, and in which order. Pure.

use std::cmp::Ordering;

use super::ask::Sample;
use super::rates::{AllRates, Rates, moved};
use crate::api::{Backend, Connection, Service, Status};

/// By what the backends of a service stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// As lb tells them: as they stand in its file.
    File,
    /// The name.
    Name,
    /// Most live connections first.
    Active,
    /// Most new connections a second first.
    Connections,
    /// Most bytes a second first.
    Bytes,
}

impl Order {
    /// The one that a key brings.
    pub(super) const fn next(self) -> Self {
        match self {
            Self::File => Self::Name,
            Self::Name => Self::Active,
            Self::Active => Self::Connections,
            Self::Connections => Self::Bytes,
            Self::Bytes => Self::File,
        }
    }

    /// In words.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::File => "as in the file",
            Self::Name => "by name",
            Self::Active => "by live connections",
            Self::Connections => "by connections a second",
            Self::Bytes => "by bytes a second",
        }
    }

    fn compare(self, one: &(&Backend, Rates), other: &(&Backend, Rates)) -> Ordering {
        // What isn't known stands last.
        let known = |rate: Option<f64>| rate.unwrap_or(-1.0);
        match self {
            Self::File => Ordering::Equal,
            Self::Name => one.0.name.cmp(&other.0.name),
            Self::Active => other.0.connections.active.cmp(&one.0.connections.active),
            Self::Connections => known(other.1.connections).total_cmp(&known(one.1.connections)),
            Self::Bytes => known(other.1.bytes()).total_cmp(&known(one.1.bytes())),
        }
    }
}

/// A line of the first table.
pub(super) enum Row<'a> {
    /// A service; its backends follow.
    Service(&'a Service, Rates),
    /// A backend of a service.
    Backend(&'a Service, &'a Backend, Rates),
}

impl<'a> Row<'a> {
    /// Service and backend, if it is one.
    pub(super) fn backend_names(&self) -> Option<(&'a str, &'a str)> {
        match self {
            Self::Service(..) => None,
            Self::Backend(service, backend, _) => Some((&service.name, &backend.name)),
        }
    }

    pub(super) fn is_backend(&self, service: &str, backend: &str) -> bool {
        self.backend_names() == Some((service, backend))
    }
}

/// Each service, and its backends in order.
pub(super) fn rows<'a>(status: &'a Status, rates: &AllRates, order: Order) -> Vec<Row<'a>> {
    let mut rows = Vec::new();
    for service in &status.services {
        rows.push(Row::Service(service, rates.of_service(&service.name)));
        let with_rates = |backend: &'a Backend| (backend, rates.of_backend(&service.name, &backend.name));
        let mut backends: Vec<(&Backend, Rates)> = service.backends.iter().map(with_rates).collect();
        // Stable: what is equal stands as in the file.
        backends.sort_by(|one, other| order.compare(one, other));
        rows.extend(
            backends
                .into_iter()
                .map(|(backend, rates)| Row::Backend(service, backend, rates)),
        );
    }
    rows
}

/// The live connections with most bytes a second, then with most bytes; at most so many.
pub(super) fn busiest<'a>(sample: &'a Sample, rates: &AllRates, most: usize) -> Vec<(&'a Connection, Option<f64>)> {
    let live = sample.connections.connections.iter();
    let mut live: Vec<_> = live
        .map(|connection| (connection, rates.of_connection(connection)))
        .collect();
    live.sort_by(|(one, rate), (other, others)| {
        let by_rate = others.unwrap_or(-1.0).total_cmp(&rate.unwrap_or(-1.0));
        by_rate.then(moved(other).total_cmp(&moved(one)))
    });
    live.truncate(most);
    live
}

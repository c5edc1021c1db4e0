//! The running balancer in the words of the API.

use std::collections::HashMap;
use std::time::Duration;

use jiff::Timestamp;

use super::board::{Board, Shown, id_of};
use crate::api;
use crate::config;
use crate::observe::{End, ServiceTotals};
use crate::pool::{Admin, Health, Member, Origin, Pool, Ramp};
use crate::session::PhaseName;
use crate::sys::Clock;
use crate::types::{Moment, WorkerId};
use crate::worker::LiveSession;

/// One moment on both clocks: what the monotonic one says, told in UTC.
pub(super) struct Now {
    moment: Moment,
    time: Timestamp,
}

impl Now {
    pub(super) fn read() -> Self {
        Self {
            moment: Clock::now(),
            time: Timestamp::now(),
        }
    }

    /// In UTC, to the millisecond.
    pub(super) fn text(&self) -> String {
        format!("{:.3}", self.time)
    }

    fn utc(&self, moment: Moment) -> String {
        let ago = self.moment.since(moment);
        format!("{:.3}", self.time.checked_sub(ago).unwrap_or(self.time))
    }
}

pub(super) fn status(board: &Board) -> api::Status {
    let now = Now::read();
    let services: Vec<api::Service> = {
        let (services, discoveries) = (board.services.load(), board.discoveries.load());
        services
            .iter()
            .map(|shown| service(shown, &discoveries, &now))
            .collect()
    };
    api::Status {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        pid: std::process::id(),
        uptime_seconds: seconds(board.uptime()),
        state: if board.is_draining() {
            api::ProcessState::Draining
        } else {
            api::ProcessState::Running
        },
        workers: u16::try_from(board.workers.len()).unwrap_or(u16::MAX),
        connections: sum(services.iter().map(|service| service.connections)),
        services,
    }
}

pub(super) fn service(shown: &Shown, discoveries: &HashMap<String, api::Discovery>, now: &Now) -> api::Service {
    let service = &shown.service;
    let balancer = service.balancer();
    api::Service {
        name: service.name.to_string(),
        listen: shown.listen.iter().map(ToString::to_string).collect(),
        balance: shown.settings.balance.name().to_owned(),
        connections: connections(&service.counters.totals()),
        bytes: bytes(shown),
        backends: listed(balancer.pool()).map(|member| backend(member, now)).collect(),
        discovery: discoveries.get(&*service.name).cloned(),
        differences: differences(&shown.settings, balancer.pool()),
        replicas: None,
    }
}

/// What is otherwise than the file says.
fn differences(file: &config::Service, pool: &Pool) -> Vec<String> {
    let mut members: HashMap<&str, &Member> = pool
        .members()
        .iter()
        .filter(|member| member.admin != Admin::Leaving && matches!(member.origin, Origin::Config | Origin::Api))
        .map(|member| (&*member.backend.name, member))
        .collect();
    let mut words = Vec::new();
    for entry in &file.backends {
        let name = &entry.name;
        match members.remove(name.as_str()) {
            None => words.push(format!("{name} was removed, the file has it")),
            Some(member) if member.backend.address.0 != entry.address => {
                words.push(format!(
                    "{name} is {}, the file says {}",
                    member.backend.address, entry.address
                ));
            }
            Some(member) if member.weight != entry.weight => {
                words.push(format!(
                    "{name} has weight {}, the file says {}",
                    member.weight, entry.weight
                ));
            }
            Some(_) => {}
        }
    }
    let mut added: Vec<&str> = members.into_keys().collect();
    added.sort_unstable();
    words.extend(
        added
            .into_iter()
            .map(|name| format!("{name} was added, the file doesn't have it")),
    );
    words
}

/// Those that are shown: who is leaving only as long as nobody else has its name.
pub(super) fn listed(pool: &Pool) -> impl Iterator<Item = &Member> {
    let mut taken = std::collections::HashSet::new();
    let members = pool.members();
    taken.extend(
        members
            .iter()
            .filter(|member| member.admin != Admin::Leaving)
            .map(|member| &*member.backend.name),
    );
    // Of several that leave with one name the latest is shown: it comes last.
    let mut shown: Vec<&Member> = members
        .iter()
        .rev()
        .filter(|member| member.admin != Admin::Leaving || taken.insert(&member.backend.name))
        .collect();
    shown.reverse();
    shown.into_iter()
}

pub(super) fn backend(member: &Member, now: &Now) -> api::Backend {
    let backend = &member.backend;
    let totals = backend.totals();
    api::Backend {
        name: backend.name.to_string(),
        address: backend.address.to_string(),
        weight: member.weight,
        backup: member.backup,
        state: state(member),
        health: health(member, now),
        connections: api::BackendConnections {
            active: u64::from(totals.active),
            total: totals.connected,
            failed: totals.failed,
        },
        bytes: api::Bytes {
            to_backend: totals.bytes_to_backend,
            to_client: totals.bytes_to_client,
        },
        process: None,
        origin: match member.origin {
            Origin::Config => api::Origin::Config,
            Origin::Api => api::Origin::Api,
            Origin::Managed => api::Origin::Managed,
            Origin::Discovery => api::Origin::Discovery,
        },
    }
}

/// In one word: what the operator wants comes first.
pub(super) fn state(member: &Member) -> api::BackendState {
    match (member.admin, member.health) {
        (Admin::Draining | Admin::Leaving, _) => api::BackendState::Draining,
        (Admin::Maintenance, _) => api::BackendState::Maintenance,
        (Admin::Active, Health::Down) => api::BackendState::Down,
        (Admin::Active, Health::Up) if is_unknown(member) || member.ramp != Ramp::FULL => api::BackendState::Starting,
        (Admin::Active, Health::Up) => api::BackendState::Up,
    }
}

/// Whether it is to be checked and no check was good yet: the first bad ones don't take it down, and don't make it up either.
fn is_unknown(member: &Member) -> bool {
    member.backend.is_checked() && member.backend.checks.latency().is_none()
}

fn health(member: &Member, now: &Now) -> api::BackendHealth {
    let checks = &member.backend.checks;
    let status = match member.health {
        Health::Down => api::HealthStatus::Down,
        Health::Up if checks.latency().is_some() => api::HealthStatus::Up,
        Health::Up => api::HealthStatus::Unknown,
    };
    api::BackendHealth {
        status,
        since: (status != api::HealthStatus::Unknown).then(|| now.utc(member.health_since)),
        last_check: checks.last_at().map(|moment| now.utc(moment)),
        last_error: checks.last_error().map(|error| error.to_string()),
        latency_seconds: checks.latency().map(seconds),
    }
}

fn connections(totals: &ServiceTotals) -> api::ServiceConnections {
    let ended = |end: End| totals.ends.get(end as usize).copied().unwrap_or(0);
    api::ServiceConnections {
        active: totals.active(),
        total: totals.accepted,
        failed: ended(End::ConnectFailed).saturating_add(ended(End::NoBackend)),
        refused: ended(End::Refused),
    }
}

fn bytes(shown: &Shown) -> api::Bytes {
    let (to_backend, to_client) = shown.service.bytes();
    api::Bytes { to_backend, to_client }
}

fn sum(services: impl Iterator<Item = api::ServiceConnections>) -> api::ProcessConnections {
    services.fold(api::ProcessConnections::default(), |sum, service| {
        api::ProcessConnections {
            active: sum.active.saturating_add(service.active),
            total: sum.total.saturating_add(service.total),
            refused: sum.refused.saturating_add(service.refused),
        }
    })
}

pub(super) fn healthcheck(board: &Board) -> api::Healthcheck {
    let services: Vec<String> = board
        .services
        .load()
        .iter()
        .filter(|shown| shown.service.balancer().pool().eligible().is_empty())
        .map(|shown| shown.service.name.to_string())
        .collect();
    let status = match (board.is_draining(), services.is_empty()) {
        (true, _) => "draining",
        (false, false) => "no_backend_up",
        (false, true) => "ok",
    };
    api::Healthcheck {
        status: status.to_owned(),
        services,
    }
}

pub(super) fn sample(board: &Board) -> api::Sample {
    let now = Now::read();
    let services: Vec<api::ServiceSample> = board
        .services
        .load()
        .iter()
        .map(|shown| api::ServiceSample {
            name: shown.service.name.to_string(),
            connections: connections(&shown.service.counters.totals()),
            bytes: bytes(shown),
            backends: listed(shown.service.balancer().pool())
                .map(|member| {
                    let backend = backend(member, &now);
                    api::BackendSample {
                        name: backend.name,
                        state: backend.state,
                        connections: backend.connections,
                        bytes: backend.bytes,
                        latency_seconds: backend.health.latency_seconds,
                    }
                })
                .collect(),
        })
        .collect();
    api::Sample {
        time: now.text(),
        connections: sum(services.iter().map(|service| service.connections)),
        services,
    }
}

pub(super) fn connection(worker: WorkerId, session: LiveSession) -> api::Connection {
    api::Connection {
        id: id_of(worker, session.key),
        service: session.service.to_string(),
        client: session.client.to_string(),
        backend: session.backend.map(|name| name.to_string()),
        phase: match session.phase {
            PhaseName::AwaitingHeader => api::ConnectionPhase::AwaitingHeader,
            PhaseName::Connecting => api::ConnectionPhase::Connecting,
            PhaseName::Relaying => api::ConnectionPhase::Relaying,
            PhaseName::Resetting => api::ConnectionPhase::Resetting,
        },
        seconds: seconds(session.age),
        bytes_to_backend: session.bytes_to_backend,
        bytes_to_client: session.bytes_to_client,
    }
}

/// To the microsecond.
#[allow(clippy::cast_precision_loss, reason = "exact up to 285 years")]
fn seconds(span: Duration) -> f64 {
    span.as_micros() as f64 / 1e6
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    use crate::pool::Backend;
    use crate::types::{BackendAddr, BackendId};

    #[test]
    fn a_backend_is_up_once_a_check_has_said_so() {
        let address = BackendAddr(([127, 0, 0, 1], 9001).into());
        let mut member = Member::new(Arc::new(Backend::new(BackendId(0), "a", address, None, 3, 1)), 1, 1);
        let shown = |member: &Member| {
            let shown = backend(member, &Now::read());
            (shown.state, shown.health.status)
        };
        let unknown = (api::BackendState::Starting, api::HealthStatus::Unknown);
        assert_eq!(shown(&member), unknown);
        let checks = Arc::clone(&member.backend);
        checks.checks.note_inconclusive(Clock::now(), "no descriptor");
        assert_eq!(shown(&member), unknown);
        checks.checks.note_bad(Clock::now(), "connection refused");
        assert_eq!(shown(&member), unknown, "the first of three");
        checks.checks.note_good(Clock::now(), Duration::from_millis(1));
        assert_eq!(shown(&member), (api::BackendState::Up, api::HealthStatus::Up));
        member.health = Health::Down;
        assert_eq!(shown(&member), (api::BackendState::Down, api::HealthStatus::Down));
    }
}

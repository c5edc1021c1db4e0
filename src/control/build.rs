//! From checked configuration to running parts: settings, backends, and what the health thread is to watch.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::balance::{HashKey, LoadFactor, PolicyName};
use crate::config;
use crate::fence::{FenceSettings, Networks, Rate, SourceLimits};
use crate::health::{Check, Plan, Target};
use crate::pool::{Backend, Member};
use crate::proxy_protocol::{self, Version};
use crate::service::{ProxySettings, ServiceSettings, StickySettings};
use crate::session::SessionOptions;
use crate::sys::Clock;
use crate::types::{BackendAddr, BackendId, ServiceId};

/// How often a live session measures its backend, where the policy goes by that.
const LATENCY_EVERY: Duration = Duration::from_millis(250);

/// What a service is told; `seed` of its random choices.
pub(super) fn settings(service: &config::Service, seed: u64) -> ServiceSettings {
    let is_measured = service.balance == config::Balance::Fastest;
    ServiceSettings {
        options: SessionOptions {
            connect_timeout: service.connect_timeout,
            connect_retries: service.connect_retries,
            hedge_after: service.hedge_after,
            idle_timeout: service.idle_timeout,
            half_close_timeout: service.half_close_timeout,
            peer_timeout: service.peer_timeout,
            max_session: service.limits.max_session,
            latency_every: is_measured.then_some(LATENCY_EVERY),
            is_introduced: service.proxy_protocol.trusted.is_some(),
        },
        connections_max: service.connections_max,
        fence: fence(service),
        hash_key: match service.hash_key {
            config::HashKey::SourceIp => HashKey::SourceIp,
            config::HashKey::SourceAddress => HashKey::SourceAddress,
            config::HashKey::Connection => HashKey::Connection,
        },
        sticky: service.sticky.map(|sticky| StickySettings {
            ttl: sticky.ttl,
            size: sticky.size,
        }),
        proxy: ProxySettings {
            trusted: service
                .proxy_protocol
                .trusted
                .as_deref()
                .map(|trusted| Networks::new(trusted, &[])),
            send: service.proxy_protocol.send.map(version),
        },
        seed,
    }
}

fn fence(service: &config::Service) -> FenceSettings {
    FenceSettings {
        networks: Networks::new(&service.access.allow, &service.access.deny),
        limits: SourceLimits {
            connections_max: service.limits.per_source,
            rate: service.limits.rate_per_source.map(|rate| Rate {
                every: rate.every,
                burst: rate.burst,
            }),
        },
    }
}

const fn version(version: config::ProxyVersion) -> Version {
    match version {
        config::ProxyVersion::V1 => Version::V1,
        config::ProxyVersion::V2 => Version::V2,
    }
}

/// A backend as a member of its service's pool; `number` as in [`Member::number`].
pub(super) fn member(
    backend: &config::Backend,
    service: &config::Service,
    id: BackendId,
    number: u32,
    workers: u16,
) -> Member {
    let at_work = Arc::new(backend_at_work(backend, service, id, workers));
    Member {
        backup: backend.backup,
        health_since: Clock::now(),
        metrics: backend.metrics.clone().map(Arc::new),
        ..Member::new(at_work, number, backend.weight)
    }
}

/// What the health thread is to watch of it, if anything.
pub(super) fn target(service: &config::Service, id: ServiceId, member: &Member) -> Option<Target> {
    let mut address = member.backend.address.0;
    let opening = match service.proxy_protocol.send {
        // Another port is somebody else, who expects no header; HAProxy does the same.
        Some(send) if service.health.port.is_none() => proxy_protocol::probe(version(send)),
        _ => Vec::new(),
    };
    let plan = plan(&service.health, address, opening)?;
    address.set_port(service.health.port.unwrap_or(address.port()));
    Some(Target {
        service: id,
        backend: Arc::clone(&member.backend),
        address: BackendAddr(address),
        plan,
    })
}

fn backend_at_work(backend: &config::Backend, service: &config::Service, id: BackendId, workers: u16) -> Backend {
    let address = BackendAddr(backend.address);
    Backend::new(
        id,
        &backend.name,
        address,
        backend.connections_max,
        fall(service),
        workers,
    )
}

/// Failed connects in a row until traffic puts a backend down. Without checks nothing would bring it back, so traffic doesn't either.
pub(super) fn fall(service: &config::Service) -> u32 {
    if service.health.check == config::Check::Off {
        0
    } else {
        service.health.fall
    }
}

fn plan(health: &config::Health, backend: SocketAddr, opening: Vec<u8>) -> Option<Plan> {
    let check = match &health.check {
        config::Check::Off => return None,
        config::Check::Tcp => Check::Tcp,
        config::Check::Http { path, expect_status } => Check::http(path, &backend.to_string(), *expect_status),
        config::Check::Expect { send, expect } => Check::Expect {
            send: send.clone(),
            expect: expect.clone(),
        },
    };
    let config::Health {
        interval,
        timeout,
        rise,
        fall,
        ..
    } = *health;
    Some(Plan {
        opening,
        check,
        interval,
        timeout,
        rise,
        fall,
    })
}

/// The policy with its settings.
pub(super) fn policy(balance: config::Balance) -> PolicyName {
    let bound = |thousandths: Option<u32>| thousandths.map(|thousandths| LoadFactor { thousandths });
    match balance {
        config::Balance::RoundRobin => PolicyName::RoundRobin,
        config::Balance::LeastConnections => PolicyName::LeastConnections,
        config::Balance::RandomTwo => PolicyName::RandomTwo,
        config::Balance::Fastest => PolicyName::Fastest,
        config::Balance::Maglev {
            slots,
            load_thousandths,
        } => PolicyName::Maglev {
            slots,
            bound: bound(load_thousandths),
        },
        config::Balance::Ring {
            hash: config::RingHash::Xxh3 { virtual_nodes },
            load_thousandths,
        } => PolicyName::Ring {
            virtual_nodes,
            bound: bound(load_thousandths),
        },
        config::Balance::Ring {
            hash: config::RingHash::Quadratic { slots, virtual_nodes },
            load_thousandths,
        } => PolicyName::QuadraticRing {
            slots,
            virtual_nodes,
            bound: bound(load_thousandths),
        },
    }
}

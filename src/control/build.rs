//! From checked configuration to running parts: services with their pools, and what the health thread is to watch.

use std::sync::Arc;

use crate::balance::{Balancer, PolicyName};
use crate::config;
use crate::health::{Check, Plan, Target};
use crate::pool::{Admin, Backend, Health, Member, Pool};
use crate::service::Service;
use crate::session::SessionOptions;
use crate::types::{BackendAddr, BackendId, ServiceId};

/// All services, and every backend that is checked.
pub(super) struct Built {
    pub(super) services: Vec<Arc<Service>>,
    pub(super) targets: Vec<Target>,
}

pub(super) fn build(config: &config::Config, workers: u16) -> Built {
    let mut built = Built {
        services: Vec::new(),
        targets: Vec::new(),
    };
    let mut ids = 0_u32..;
    for (service, id) in config.services.iter().zip((0_u32..).map(ServiceId)) {
        let mut members = Vec::new();
        for backend in &service.backends {
            // The range has no end that a configuration could reach.
            let backend_id = BackendId(ids.next().unwrap_or(u32::MAX));
            let member = member(backend, service, backend_id, workers);
            if let Some(plan) = plan(&service.health, backend) {
                let mut address = backend.address;
                address.set_port(service.health.port.unwrap_or(address.port()));
                let address = BackendAddr(address);
                built.targets.push(Target {
                    service: id,
                    backend: Arc::clone(&member.backend),
                    address,
                    plan,
                });
            }
            members.push(member);
        }
        let balancer = Balancer::new(Pool::new(members), policy(service.balance));
        let options = SessionOptions {
            connect_timeout: service.connect_timeout,
            connect_retries: service.connect_retries,
            hedge_after: service.hedge_after,
            idle_timeout: service.idle_timeout,
            half_close_timeout: service.half_close_timeout,
        };
        built.services.push(Arc::new(Service::new(
            id,
            &service.name,
            options,
            service.connections_max,
            balancer,
        )));
    }
    built
}

fn member(backend: &config::Backend, service: &config::Service, id: BackendId, workers: u16) -> Member {
    // Without checks nothing would bring a backend back, so traffic doesn't put it down either.
    let fall = if service.health.check == config::Check::Off {
        0
    } else {
        service.health.fall
    };
    let address = BackendAddr(backend.address);
    Member {
        backend: Arc::new(Backend::new(
            id,
            &backend.name,
            address,
            backend.connections_max,
            fall,
            workers,
        )),
        weight: backend.weight,
        backup: backend.backup,
        health: Health::Up,
        admin: Admin::Active,
    }
}

fn plan(health: &config::Health, backend: &config::Backend) -> Option<Plan> {
    let check = match &health.check {
        config::Check::Off => return None,
        config::Check::Tcp => Check::Tcp,
        config::Check::Http { path, expect_status } => Check::http(path, &backend.address.to_string(), *expect_status),
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
        check,
        interval,
        timeout,
        rise,
        fall,
    })
}

pub(super) const fn policy(balance: config::Balance) -> PolicyName {
    match balance {
        config::Balance::RoundRobin => PolicyName::RoundRobin,
        config::Balance::LeastConnections => PolicyName::LeastConnections,
    }
}

//! All services as they are to run: from the file, and from what an old lb has learned, where one hands over.

use std::sync::Arc;

use super::build;
use super::command::Refusal;
use super::difference::Numbers;
use super::handover::{HandOver, Restored};
use super::steering::{Steering, check_fit};
use crate::balance::Balancer;
use crate::config::Config;
use crate::health::Target;
use crate::pool::Admin;
use crate::service::Service;
use crate::sys::Clock;
use crate::types::ServiceId;

/// The services.
pub(super) struct Assembled {
    pub(super) services: Vec<Arc<Service>>,
    /// What belongs to each, in the same order.
    pub(super) steering: Vec<Steering>,
    /// What the health thread is to watch.
    pub(super) targets: Vec<Target>,
    /// The id of the next backend.
    pub(super) next_backend: u32,
}

/// Puts them together.
///
/// # Errors
/// What the old lb had and what the file says now don't go together.
pub(super) fn assemble(config: &Config, workers: u16, handed: &HandOver) -> Result<Assembled, Refusal> {
    let mut assembled = Assembled {
        services: Vec::new(),
        steering: Vec::new(),
        targets: Vec::new(),
        next_backend: 0,
    };
    let mut numbers = Numbers {
        next_id: 0,
        next_number: 1,
        workers,
    };
    for (settings, id) in config.services.iter().zip((0_u32..).map(ServiceId)) {
        let restored = match handed.service(&settings.name) {
            Some(state) => state.restore(settings, &mut numbers),
            None => Restored::from_file(settings, &mut numbers),
        };
        let Restored {
            pool,
            words,
            next_number,
            provided,
            clients,
        } = restored;
        check_fit(settings, &pool)?;
        for word in words {
            log::info!("{}: {word}", settings.name);
        }
        let checked = pool
            .members()
            .iter()
            .filter(|member| member.admin != Admin::Maintenance);
        let targets = checked.filter_map(|member| build::target(settings, id, member));
        assembled.targets.extend(targets);
        let balancer = Balancer::new(pool, build::policy(settings.balance));
        let of_service = build::settings(settings, fastrand::u64(..));
        let service = Service::new(id, &settings.name, of_service, balancer);
        if let Some(clients) = clients {
            service.remember(&clients, Clock::now());
        }
        assembled.services.push(Arc::new(service));
        let mut steering = Steering::new(settings.clone());
        (steering.next_number, steering.provided) = (next_number, provided);
        assembled.steering.push(steering);
    }
    assembled.next_backend = numbers.next_id;
    Ok(assembled)
}

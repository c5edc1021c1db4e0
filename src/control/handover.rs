//! What an old lb hands to a new one at an upgrade: which socket is whose, and what it has learned. Values only; JSON between the two.
//!
//! Fields that one of them doesn't know are left out. What can't be understood ends the new one, and the old one goes on.

use std::collections::HashMap;
use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use super::difference::{Difference, Numbers};
use super::provide::Bringer;
use super::steering::Steering;
use crate::config;
use crate::pool::{Admin, Health, Member, Origin, Pool};
use crate::service::{Remembered, Service};
use crate::sys::{Clock, FileRules};
use crate::types::BackendId;

/// All of it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct HandOver {
    /// Whose the listening sockets are, in the order in which they are handed over.
    pub(super) listeners: Vec<ListenerState>,
    #[serde(default)]
    pub(super) services: Vec<ServiceState>,
    /// What other rooms hand over, by their names.
    #[serde(default)]
    pub(super) rooms: HashMap<String, serde_json::Value>,
    /// What the old lb gave up, and the new one with it, which is started inside; `None` = of an lb that knew nothing of it.
    #[serde(default)]
    pub(super) given_up: Option<GivenUp>,
}

/// What can't be had again.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct GivenUp {
    /// What may still be opened; `None` = everything.
    pub(super) files: Option<FileRules>,
    /// `[runtime] user` and `group`, as the file named them: within, nobody can be looked up.
    pub(super) user: Option<String>,
    pub(super) group: Option<String>,
}

/// A listening socket.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct ListenerState {
    pub(super) service: String,
    /// As in the file.
    pub(super) configured: SocketAddr,
}

/// A service.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct ServiceState {
    pub(super) name: String,
    /// What the file said of backends: what the new file says otherwise counts, and nothing else of it.
    file: Vec<config::Backend>,
    members: Vec<MemberState>,
    #[serde(default)]
    next_number: u32,
    /// What those said last who bring backends.
    #[serde(default)]
    provided: Vec<(Bringer, Vec<config::Backend>)>,
    /// Which client had which backend; those are places in `members`.
    #[serde(default)]
    clients: Option<Remembered>,
    /// Of `members`, in this process.
    #[serde(skip)]
    ids: Vec<BackendId>,
}

/// A backend.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct MemberState {
    backend: config::Backend,
    number: u32,
    origin: Origin,
    admin: Admin,
    is_up: bool,
    /// How long it takes to answer, in seconds; `None`: that was never measured.
    #[serde(default)]
    latency_seconds: Option<f32>,
}

/// A service's part of it, put to use.
pub(super) struct Restored {
    pub(super) pool: Pool,
    /// What the new file changes, in words.
    pub(super) words: Vec<String>,
    pub(super) next_number: u32,
    pub(super) provided: HashMap<Bringer, Vec<config::Backend>>,
    pub(super) clients: Option<Remembered>,
}

impl ServiceState {
    pub(super) fn of(service: &Service, steering: &Steering) -> Self {
        let balancer = service.balancer();
        let staying = balancer.pool().members().iter();
        let staying: Vec<&Member> = staying.filter(|member| member.admin != Admin::Leaving).collect();
        Self {
            name: service.name.to_string(),
            file: steering.settings.backends.clone(),
            members: staying.iter().map(|member| MemberState::of(member)).collect(),
            next_number: steering.next_number,
            provided: steering.provided.clone().into_iter().collect(),
            clients: None,
            ids: staying.iter().map(|member| member.backend.id).collect(),
        }
    }

    /// Which client had which backend. Takes its time where these are many.
    pub(super) fn add_clients(&mut self, service: &Service) {
        let places: HashMap<BackendId, u32> = self.ids.iter().copied().zip(0..).collect();
        self.clients = service.remembered(Clock::now(), |id| places.get(&id).copied());
    }

    /// The pool that follows from it and from the file as it is now: as if the old lb had reloaded it.
    pub(super) fn restore(&self, after: &config::Service, numbers: &mut Numbers) -> Restored {
        let before = config::Service {
            backends: self.file.clone(),
            ..after.clone()
        };
        // Who brings them isn't asked for any more: nobody would take them away again.
        let is_wanted = |origin: Origin| match origin {
            Origin::Managed => after.managed.is_some(),
            Origin::Discovery => after.discovery.is_some(),
            Origin::Config | Origin::Api => true,
        };
        let states = self.members.iter();
        let restored: Vec<(bool, Member)> = states
            .map(|state| (is_wanted(state.origin), state.member(after, numbers)))
            .collect();
        let ids: Vec<BackendId> = restored.iter().map(|(_, member)| member.backend.id).collect();
        let members: Vec<Member> = restored
            .into_iter()
            .filter_map(|(is_wanted, member)| is_wanted.then_some(member))
            .collect();
        let next_number = members.iter().map(|member| member.number.saturating_add(1)).max();
        numbers.next_number = self.next_number.max(next_number.unwrap_or(1));
        let difference = Difference::new(&before, after, &Pool::new(members), numbers);
        difference.apply_limits(after);
        let staying = difference.pool.members().iter();
        let staying = staying.filter(|member| member.admin != Admin::Leaving);
        Restored {
            pool: Pool::new(staying.cloned().collect()),
            words: difference.words,
            next_number: numbers.next_number,
            provided: self.provided.iter().cloned().collect(),
            clients: self.clients.as_ref().map(|clients| clients.renamed(&ids)),
        }
    }
}

impl MemberState {
    fn of(member: &Member) -> Self {
        let backend = &member.backend;
        Self {
            backend: config::Backend {
                name: backend.name.to_string(),
                address: backend.address.0,
                weight: member.weight,
                connections_max: backend.connections_max(),
                backup: member.backup,
                metrics: member.metrics.as_deref().cloned(),
            },
            number: member.number,
            origin: member.origin,
            admin: member.admin,
            is_up: member.health == Health::Up,
            latency_seconds: backend.latency.seconds(Clock::now()),
        }
    }

    fn member(&self, service: &config::Service, numbers: &mut Numbers) -> Member {
        let mut member = numbers.member(&self.backend, service);
        member.number = self.number;
        member.origin = self.origin;
        member.admin = self.admin;
        if !self.is_up && service.health.check != config::Check::Off {
            member.health = Health::Down;
        }
        if let Some(seconds) = self.latency_seconds {
            member.backend.latency.restore(Clock::now(), seconds);
        }
        member
    }
}

impl HandOver {
    /// What was learned of a service.
    pub(super) fn service(&self, name: &str) -> Option<&ServiceState> {
        self.services.iter().find(|service| service.name == name)
    }
}

impl Restored {
    /// Of a service that nothing was learned of: its part of the file.
    pub(super) fn from_file(settings: &config::Service, numbers: &mut Numbers) -> Self {
        numbers.next_number = 1;
        let members = settings
            .backends
            .iter()
            .map(|backend| numbers.member(backend, settings));
        Self {
            pool: Pool::new(members.collect()),
            words: Vec::new(),
            next_number: numbers.next_number,
            provided: HashMap::new(),
            clients: None,
        }
    }
}

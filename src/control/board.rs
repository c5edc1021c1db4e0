//! What a running balancer shows of itself: read by anybody, changed by nobody. Reading waits for no thread, but for live
//! connections, which each worker tells between two wakes.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use super::metrics::render_metrics;
use arc_swap::ArcSwap;

use super::provide::Bringer;
use super::view;
use crate::api;
use crate::config;
use crate::observe::{End, Found, ProcessCounters};
use crate::pool::{Admin, Health};
use crate::service::Service;
use crate::sys::Clock;
use crate::types::{HttpUrl, Moment, SessionKey, WorkerId};
use crate::worker::{LiveSession, Order, Reply, Wanted, WorkerHandle};

/// What has just happened.
#[derive(Clone, Debug)]
pub enum Event {
    /// A backend's state changed.
    Backend(api::BackendEvent),
    /// Another configuration is in force.
    Config(api::ConfigEvent),
}

/// Where the process behind a backend tells of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProcessPage {
    /// The service's name.
    pub service: Arc<str>,
    /// The backend's.
    pub backend: Arc<str>,
    /// The page.
    pub url: Arc<HttpUrl>,
    /// How often it is to be asked.
    pub every: Duration,
}

/// A service as it is shown.
#[derive(Debug)]
pub(super) struct Shown {
    pub(super) service: Arc<Service>,
    pub(super) listen: Vec<SocketAddr>,
    /// Its part of the file.
    pub(super) settings: config::Service,
}

/// Live sessions of one worker, as it told of them: the words are found by who reads them, not on the data path.
#[derive(Debug)]
pub struct Sessions(WorkerId, Vec<LiveSession>);

impl Sessions {
    /// As the API shows them.
    pub fn connections(self) -> impl Iterator<Item = api::Connection> {
        let Self(worker, sessions) = self;
        sessions
            .into_iter()
            .map(move |session| view::connection(worker, session))
    }
}

/// What a running balancer shows of itself.
pub struct Board {
    pub(super) services: ArcSwap<Vec<Shown>>,
    pub(super) started: Moment,
    pub(super) counters: Arc<ProcessCounters>,
    pub(super) workers: Vec<WorkerHandle>,
    pub(super) is_draining: AtomicBool,
    pub(super) watchers: ArcSwap<Vec<Watcher>>,
    /// By service.
    pub(super) discoveries: ArcSwap<HashMap<String, api::Discovery>>,
    /// Services that are gone from the file and have sessions still.
    pub(super) departing: ArcSwap<Vec<Arc<Service>>>,
    /// By service.
    pub(super) replicas: ArcSwap<HashMap<String, KeptReplicas>>,
    pub(super) drain_timeout_ms: AtomicU64,
}

/// What whoever keeps a service's replicas shows of them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct KeptReplicas {
    /// How many, and what each is doing.
    pub replicas: api::Replicas,
    /// What their processes use, by the name of the backend.
    pub processes: HashMap<String, api::Process>,
}

/// A backend that somebody brought while lb runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Brought {
    /// Where it listens.
    pub address: SocketAddr,
    /// Since when it is down; `None` = it isn't, or it is on its way out.
    pub down_since: Option<Moment>,
}

/// Whom an event is told.
pub(super) type Watcher = Arc<dyn Fn(&Event) + Send + Sync>;

impl Board {
    /// Everything.
    #[must_use]
    pub fn status(&self) -> api::Status {
        let mut status = view::status(self);
        for service in &mut status.services {
            self.add_replicas(service);
        }
        status
    }

    /// One service.
    #[must_use]
    pub fn service(&self, name: &str) -> Option<api::Service> {
        let services = self.services.load();
        let mut service =
            find(&services, name).map(|shown| view::service(shown, &self.discoveries.load(), &view::Now::read()))?;
        self.add_replicas(&mut service);
        Some(service)
    }

    /// What is known of its replicas.
    fn add_replicas(&self, service: &mut api::Service) {
        if let Some(kept) = self.replicas.load().get(&service.name) {
            service.replicas = Some(kept.replicas.clone());
            for backend in service.backends.iter_mut().filter(is_replica) {
                backend.process = kept.processes.get(&backend.name).copied();
            }
        }
    }

    /// Whoever keeps them shows them, by service.
    pub fn show_replicas(&self, replicas: HashMap<String, KeptReplicas>) {
        self.replicas.store(Arc::new(replicas));
    }

    /// The backends that `bringer` brought to the services of a name, those on their way out and those of a service that is gone from
    /// the file among them.
    #[must_use]
    pub fn brought(&self, service: &str, bringer: Bringer) -> Vec<Brought> {
        let (services, departing) = (self.services.load(), self.departing.load());
        let shown = services.iter().map(|shown| &shown.service);
        let named = shown.chain(departing.iter()).filter(|found| *found.name == *service);
        let mut brought = Vec::new();
        for service in named {
            let balancer = service.balancer();
            let members = balancer.pool().members().iter();
            brought.extend(
                members
                    .filter(|member| member.origin == bringer.origin())
                    .map(|member| {
                        let is_down = member.admin != Admin::Leaving && member.health == Health::Down;
                        Brought {
                            address: member.backend.address.0,
                            down_since: is_down.then_some(member.health_since),
                        }
                    }),
            );
        }
        brought
    }

    /// Live sessions of a service; 0 where there is none of that name.
    #[must_use]
    pub fn sessions(&self, service: &str) -> u32 {
        let services = self.services.load();
        find(&services, service).map_or(0, |shown| shown.service.limiter.active())
    }

    /// How long the sessions of a backend that is removed may live.
    #[must_use]
    pub fn drain_timeout(&self) -> Duration {
        Duration::from_millis(self.drain_timeout_ms.load(Relaxed))
    }

    pub(super) fn tell_drain_timeout(&self, span: Duration) {
        let span = u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
        self.drain_timeout_ms.store(span, Relaxed);
    }

    /// One backend; the outer `None`: no such service.
    #[must_use]
    pub fn backend(&self, service: &str, name: &str) -> Option<Option<api::Backend>> {
        let services = self.services.load();
        let shown = find(&services, service)?;
        let balancer = shown.service.balancer();
        let member = view::listed(balancer.pool()).find(|member| *member.backend.name == *name);
        let mut backend = member.map(|member| view::backend(member, &view::Now::read()));
        if let (Some(backend), Some(kept)) = (backend.as_mut().filter(is_replica), self.replicas.load().get(service)) {
            backend.process = kept.processes.get(name).copied();
        }
        Some(backend)
    }

    /// Whether a service has this name.
    #[must_use]
    pub fn has_service(&self, name: &str) -> bool {
        find(&self.services.load(), name).is_some()
    }

    /// Whether it takes connections and each service has a backend that is up.
    #[must_use]
    pub fn healthcheck(&self) -> api::Healthcheck {
        view::healthcheck(self)
    }

    /// The figures of this moment.
    #[must_use]
    pub fn sample(&self) -> api::Sample {
        view::sample(self)
    }

    /// Every metric, as Prometheus reads it (`observe::METRICS_CONTENT_TYPE`).
    #[must_use]
    pub fn metrics(&self) -> String {
        let services: Vec<_> = self
            .services
            .load()
            .iter()
            .map(|shown| Arc::clone(&shown.service))
            .collect();
        render_metrics(&services, &self.counters, self.workers.len())
    }

    /// Asks every worker for its live sessions; `reply` is called once for each, on its thread. `false`: no such service.
    pub fn connections(
        &self,
        service: Option<&str>,
        backend: Option<&str>,
        limit: usize,
        reply: impl Fn(Sessions) + Clone + Send + 'static,
    ) -> bool {
        let services = self.services.load();
        let service = match service.map(|name| find(&services, name)) {
            None => None,
            Some(Some(shown)) => Some(shown.service.id),
            Some(None) => return false,
        };
        for worker in &self.workers {
            let wanted = Wanted {
                service,
                backend: backend.map(ToOwned::to_owned),
                limit,
            };
            let (id, reply) = (worker.id, reply.clone());
            let tell = move |sessions: Vec<LiveSession>| reply(Sessions(id, sessions));
            worker.order(Order::Tell(wanted, Reply::new(tell)));
        }
        true
    }

    /// Ends a live session; `reply` is called on its worker's thread with whether it was there. `false`: no id can be this.
    pub fn end_connection(&self, id: &str, reply: impl FnOnce(bool) + Send + 'static) -> bool {
        let Some((worker, key)) = session_id(id) else {
            return false;
        };
        let Some(worker) = self.workers.iter().find(|handle| handle.id == worker) else {
            return false;
        };
        worker.order(Order::EndOne(key, End::EndedByOperator, Reply::new(reply)));
        true
    }

    /// Sees every event from now on, on the thread where it happens: it must be quick and may not block.
    pub fn watch(&self, watcher: impl Fn(&Event) + Send + Sync + 'static) {
        let watcher: Watcher = Arc::new(watcher);
        self.watchers.rcu(|before| {
            let mut watchers = Vec::clone(before);
            watchers.push(Arc::clone(&watcher));
            watchers
        });
    }

    /// What the file says of each service.
    #[must_use]
    pub fn settings(&self) -> Vec<config::Service> {
        let services = self.services.load();
        services.iter().map(|shown| shown.settings.clone()).collect()
    }

    /// How looking for a service's backends goes; `None`: nobody looks any more.
    pub fn show_discovery(&self, service: &str, discovery: Option<&api::Discovery>) {
        self.discoveries.rcu(|before| {
            let mut all = HashMap::clone(before);
            match discovery {
                Some(discovery) => drop(all.insert(service.to_owned(), discovery.clone())),
                None => drop(all.remove(service)),
            }
            all
        });
    }

    /// Somebody was asked for a service's backends.
    pub fn count_found(&self, service: &str, found: Found) {
        if let Some(shown) = find(&self.services.load(), service) {
            shown.service.counters.found(found);
        }
    }

    /// Shows these services from now on.
    pub(super) fn show(&self, services: Vec<Shown>) {
        self.services.store(Arc::new(services));
    }

    /// A backend's state changed; `None` = it is gone.
    pub(super) fn tell_backend(
        &self,
        service: &Service,
        backend: &str,
        state: Option<api::BackendState>,
        reason: &str,
    ) {
        self.tell(&Event::Backend(api::BackendEvent {
            time: view::Now::read().text(),
            service: service.name.to_string(),
            backend: backend.to_owned(),
            state,
            reason: reason.to_owned(),
        }));
    }

    pub(super) fn tell(&self, event: &Event) {
        for watcher in self.watchers.load().iter() {
            watcher(event);
        }
    }

    /// Counts of the process.
    #[must_use]
    pub const fn counters(&self) -> &Arc<ProcessCounters> {
        &self.counters
    }

    /// Where processes behind backends tell of themselves.
    #[must_use]
    pub fn process_pages(&self) -> Vec<ProcessPage> {
        let mut pages = Vec::new();
        for shown in self.services.load().iter() {
            for member in view::listed(shown.service.balancer().pool()) {
                if let Some(url) = &member.metrics {
                    pages.push(ProcessPage {
                        service: Arc::clone(&shown.service.name),
                        backend: Arc::clone(&member.backend.name),
                        url: Arc::clone(url),
                        every: shown.settings.health.interval,
                    });
                }
            }
        }
        pages
    }

    pub(super) fn uptime(&self) -> Duration {
        Clock::now().since(self.started)
    }

    /// Whether lb is stopping.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.is_draining.load(Relaxed)
    }
}

fn is_replica(backend: &&mut api::Backend) -> bool {
    backend.origin == api::Origin::Managed
}

fn find<'s>(services: &'s [Shown], name: &str) -> Option<&'s Shown> {
    services.iter().find(|shown| *shown.service.name == *name)
}

/// The id of a live session, outside: worker, slot and generation.
pub(super) fn id_of(worker: WorkerId, key: SessionKey) -> String {
    format!("{}-{}-{}", worker.0, key.index, key.generation)
}

fn session_id(text: &str) -> Option<(WorkerId, SessionKey)> {
    let mut parts = text.split('-');
    let (worker, index, generation) = (parts.next()?, parts.next()?, parts.next()?);
    if parts.next().is_some() {
        return None;
    }
    let key = SessionKey {
        index: index.parse().ok()?,
        generation: generation.parse().ok()?,
    };
    Some((WorkerId(worker.parse().ok()?), key))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn an_id_names_its_session(worker: u16, index: u32, generation: u32) {
            let key = SessionKey { index, generation };
            prop_assert_eq!(session_id(&id_of(WorkerId(worker), key)), Some((WorkerId(worker), key)));
        }

        #[test]
        fn any_text_is_an_id_or_none(text in "[0-9a-z+-]{0,40}") {
            if let Some((worker, key)) = session_id(&text) {
                prop_assert_eq!(session_id(&id_of(worker, key)), Some((worker, key)));
            }
        }
    }
}

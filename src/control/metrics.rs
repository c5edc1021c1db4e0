//! The page of metrics: every figure of a running balancer, read as it stands. Called for each scrape, by any thread.
//!
//! It only reads atomics and the snapshot of each pool; nothing on the data path waits for it. What would be a zero for every
//! backend and every word (an end, a reason, a histogram that nothing has fed) is left out: with a thousand backends that is half
//! of the page.

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use super::process::ProcessFacts;
use super::view::listed;
use crate::observe::metrics::{self, Metric};
use crate::observe::{
    END_COUNT, End, Exposed, Exposition, Histogram, ProcessCounters, RefusedReason, Samples, ServiceTotals, page,
};
use crate::pool::{Backend, Health, Member};
use crate::service::Service;
use crate::types::{BackendId, ConnectFailure};

/// The label of what belongs to no backend.
const NO_BACKEND: &str = "";
/// About what a backend takes of the page, with all its histograms.
const BACKEND_BYTES: usize = 4096;
/// And what there is only once.
const ONCE_BYTES: usize = 8192;

/// Everything there is to tell now, as Prometheus reads it (`METRICS_CONTENT_TYPE`).
#[must_use]
pub fn render_metrics(services: &[Arc<Service>], counters: &Arc<ProcessCounters>, workers: usize) -> String {
    let services: Vec<_> = services.iter().map(Read::new).collect();
    let backends = services.iter().map(|read| read.members.len()).sum::<usize>();
    let bytes = backends.saturating_mul(BACKEND_BYTES).saturating_add(ONCE_BYTES);
    let figures = Figures {
        services,
        counters: Arc::clone(counters),
        workers,
        process: ProcessFacts::read(),
    };
    page(figures, bytes)
}

/// A service at the moment of the scrape.
#[derive(Debug)]
struct Read {
    service: Arc<Service>,
    totals: ServiceTotals,
    members: Vec<Member>,
    /// Of sessions whose backend is shown no more.
    ends_elsewhere: [u64; END_COUNT],
}

impl Read {
    fn new(service: &Arc<Service>) -> Self {
        let balancer = service.balancer();
        let pool = balancer.pool();
        let members: Vec<Member> = listed(pool).cloned().collect();
        let shown: HashSet<BackendId> = members.iter().map(|member| member.backend.id).collect();
        let hidden = pool
            .members()
            .iter()
            .filter(|member| !shown.contains(&member.backend.id));
        let elsewhere = hidden.fold(*pool.retired(), |sum, member| sum.plus(&member.backend.totals()));
        Self {
            service: Arc::clone(service),
            totals: service.counters.totals(),
            members,
            ends_elsewhere: elsewhere.ends,
        }
    }

    fn name(&self) -> &str {
        &self.service.name
    }

    fn backends(&self) -> impl Iterator<Item = (&Member, &Backend)> {
        self.members.iter().map(|member| (member, &*member.backend))
    }
}

#[derive(Debug)]
struct Figures {
    services: Vec<Read>,
    counters: Arc<ProcessCounters>,
    workers: usize,
    process: Option<ProcessFacts>,
}

impl Exposed for Figures {
    fn expose(&self, page: &mut Exposition<'_>) -> fmt::Result {
        let version = [("version", env!("CARGO_PKG_VERSION"))];
        page.metric(metrics::BUILD_INFO)?.value(version, 1_u32)?;
        page.metric(metrics::WORKERS)?.value([], self.workers)?;
        self.connections(page)?;
        self.traffic(page)?;
        self.connects(page)?;
        self.backends(page)?;
        self.discovery(page)?;
        self.troubles(page)?;
        self.process.map_or(Ok(()), |process| expose_process(page, &process))
    }
}

impl Figures {
    fn connections(&self, page: &mut Exposition<'_>) -> fmt::Result {
        let mut samples = page.metric(metrics::CONNECTIONS)?;
        for read in &self.services {
            let mut tell = |backend: &str, ends: [u64; END_COUNT]| -> fmt::Result {
                for (end, count) in End::ALL.iter().zip(ends).filter(|(_, count)| *count > 0) {
                    let labels = [("service", read.name()), ("backend", backend), ("end", end.as_str())];
                    samples.value(labels, count)?;
                }
                Ok(())
            };
            let mut elsewhere = read.totals.ends_without_backend;
            for (sum, more) in elsewhere.iter_mut().zip(read.ends_elsewhere) {
                *sum = sum.saturating_add(more);
            }
            tell(NO_BACKEND, elsewhere)?;
            for (_, backend) in read.backends() {
                tell(&backend.name, backend.ends())?;
            }
        }
        let mut samples = page.metric(metrics::CONNECTIONS_ACTIVE)?;
        for read in &self.services {
            let mut waiting = read.totals.active();
            for (_, backend) in read.backends() {
                let active = backend.active();
                waiting = waiting.saturating_sub(u64::from(active));
                samples.value(of(read, backend), active)?;
            }
            samples.value([("service", read.name()), ("backend", NO_BACKEND)], waiting)?;
        }
        let mut samples = page.metric(metrics::CONNECTIONS_REFUSED)?;
        for read in &self.services {
            for (reason, count) in RefusedReason::ALL.into_iter().zip(read.totals.refused) {
                samples.value([("service", read.name()), ("reason", reason.as_str())], count)?;
            }
        }
        Ok(())
    }

    fn traffic(&self, page: &mut Exposition<'_>) -> fmt::Result {
        let mut samples = page.metric(metrics::BYTES)?;
        for read in &self.services {
            for (_, backend) in read.backends() {
                let totals = backend.totals();
                let ways = [
                    ("to_backend", totals.bytes_to_backend),
                    ("to_client", totals.bytes_to_client),
                ];
                for (direction, bytes) in ways {
                    let [service, backend] = of(read, backend);
                    samples.value([service, backend, ("direction", direction)], bytes)?;
                }
            }
        }
        self.histograms(page, metrics::CONNECTION, Backend::connection_seconds)
    }

    fn connects(&self, page: &mut Exposition<'_>) -> fmt::Result {
        self.histograms(page, metrics::CONNECT, Backend::connect_seconds)?;
        let mut samples = page.metric(metrics::CONNECT_FAILURES)?;
        for read in &self.services {
            for (_, backend) in read.backends() {
                let failures = ConnectFailure::ALL.iter().zip(backend.failures());
                for (reason, count) in failures.filter(|(_, count)| *count > 0) {
                    let [service, backend] = of(read, backend);
                    samples.value([service, backend, ("reason", reason.as_str())], count)?;
                }
            }
        }
        let mut samples = page.metric(metrics::CONNECT_RETRIES)?;
        for read in &self.services {
            samples.value([("service", read.name())], read.totals.redispatches)?;
        }
        Ok(())
    }

    fn backends(&self, page: &mut Exposition<'_>) -> fmt::Result {
        let mut samples = page.metric(metrics::BACKEND_UP)?;
        self.each(&mut samples, |member| u32::from(member.health == Health::Up))?;
        let mut samples = page.metric(metrics::BACKEND_WEIGHT)?;
        self.each(&mut samples, |member| u32::from(member.weight))?;
        let mut samples = page.metric(metrics::HEALTH_CHECKS)?;
        for read in &self.services {
            for (_, backend) in read.backends() {
                let totals = backend.checks.totals();
                let results = [
                    ("success", totals.good),
                    ("failure", totals.bad),
                    ("inconclusive", totals.inconclusive),
                ];
                for (result, count) in results.into_iter().filter(|(_, count)| *count > 0) {
                    let [service, backend] = of(read, backend);
                    samples.value([service, backend, ("result", result)], count)?;
                }
            }
        }
        self.histograms(page, metrics::HEALTH_CHECK, |backend| backend.checks.seconds())
    }

    fn discovery(&self, page: &mut Exposition<'_>) -> fmt::Result {
        let mut samples = page.metric(metrics::DISCOVERY_UPDATES)?;
        for read in &self.services {
            // Nothing of services that look for nobody.
            if read.service.counters.found_totals().all(|(_, count)| count == 0) {
                continue;
            }
            for (found, count) in read.service.counters.found_totals() {
                samples.value([("service", read.name()), ("result", found.as_str())], count)?;
            }
        }
        Ok(())
    }

    /// What of a running lb should be 0, but for reloads.
    fn troubles(&self, page: &mut Exposition<'_>) -> fmt::Result {
        let counters = &self.counters;
        let mut tell = |metric: Metric, label: &'static str, values: &[(&str, u64)]| {
            let mut samples = page.metric(metric)?;
            let mut values = values.iter();
            values.try_for_each(|(value, count)| samples.value([(label, *value)], *count))
        };
        let shortages = counters.accept_shortages.load(Relaxed);
        let aborted = counters.accept_aborted.load(Relaxed);
        let errors = [("shortage", shortages), ("aborted", aborted)];
        tell(metrics::ACCEPT_ERRORS, "reason", &errors)?;
        let lost = [
            ("log", counters.log_drops.count()),
            ("access", counters.access_log_drops.count()),
            ("history", counters.history_drops.count()),
        ];
        tell(metrics::LOG_LINES_DROPPED, "log", &lost)?;
        let succeeded = counters.reloads_succeeded.load(Relaxed);
        let failed = counters.reloads_failed.load(Relaxed);
        let reloads = [("success", succeeded), ("failure", failed)];
        tell(metrics::CONFIG_RELOADS, "result", &reloads)?;
        page.metric(metrics::FAULTS)?.value([], counters.panics.load(Relaxed))
    }

    /// A figure of each backend.
    fn each(&self, samples: &mut Samples<'_>, figure: impl Fn(&Member) -> u32) -> fmt::Result {
        for read in &self.services {
            for (member, backend) in read.backends() {
                samples.value(of(read, backend), figure(member))?;
            }
        }
        Ok(())
    }

    fn histograms<const BOUNDS: usize>(
        &self,
        page: &mut Exposition<'_>,
        metric: Metric,
        histogram: impl Fn(&Backend) -> &Histogram<BOUNDS>,
    ) -> fmt::Result {
        let mut samples = page.metric(metric)?;
        for read in &self.services {
            for (_, backend) in read.backends() {
                let histogram = histogram(backend);
                if histogram.count() > 0 {
                    samples.histogram(of(read, backend), histogram)?;
                }
            }
        }
        Ok(())
    }
}

/// The labels of a backend.
fn of<'a>(read: &'a Read, backend: &'a Backend) -> [(&'static str, &'a str); 2] {
    [("service", read.name()), ("backend", &backend.name)]
}

fn expose_process(page: &mut Exposition<'_>, process: &ProcessFacts) -> fmt::Result {
    page.metric(metrics::PROCESS_CPU)?.value([], process.cpu_seconds)?;
    page.metric(metrics::PROCESS_RESIDENT)?
        .value([], process.resident_bytes)?;
    page.metric(metrics::PROCESS_VIRTUAL)?
        .value([], process.virtual_bytes)?;
    page.metric(metrics::PROCESS_OPEN_FDS)?.value([], process.open_fds)?;
    page.metric(metrics::PROCESS_MAX_FDS)?.value([], process.fds_max)?;
    page.metric(metrics::PROCESS_START)?.value([], process.start_seconds)?;
    page.metric(metrics::PROCESS_THREADS)?.value([], process.threads)
}

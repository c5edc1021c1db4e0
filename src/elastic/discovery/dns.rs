//! Backends as records of a DNS name: A and AAAA, or SRV with ports, weights and priorities (RFC 2782). Asked again when the answer's TTL
//! is over.
//!
//! Who is asked: the one `server`, or those of /etc/resolv.conf; never /etc/hosts, and never a server that an answer names. An answer that
//! is cut short over UDP is asked for again over TCP.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::op::ResponseCode;
use hickory_resolver::proto::rr::rdata::SRV;
use hickory_resolver::proto::rr::{Name, RData, Record, RecordType};
use hickory_resolver::system_conf::read_system_conf;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::follow::{Tell, Word};
use super::rules::{back_off, name_of, scaled};
use super::{pass, web};
use crate::config::{self, DnsRecord, Listed, check_name};

/// Names of SRV records that are asked for at once.
const TARGETS_AT_ONCE: usize = 16;
/// The longest wait after failures, where the interval allows it.
const BACK_OFF_MAX: Duration = Duration::from_secs(30);

/// What to ask, and how.
#[derive(Clone, Copy)]
pub(super) struct Names<'a> {
    pub(super) name: &'a str,
    pub(super) record: DnsRecord,
    pub(super) server: Option<SocketAddr>,
    /// Bounds of the TTL.
    pub(super) interval: (Duration, Duration),
    /// For all questions of a look together.
    pub(super) timeout: Duration,
    /// More records aren't looked at.
    pub(super) backends_max: usize,
}

/// Tells what the name says, from the start and whenever its TTL is over.
pub(super) async fn follow(names: Names<'_>, questions: &Semaphore, tell: &Tell) -> Infallible {
    let (least, most) = names.interval;
    let mut failures = 0_u32;
    loop {
        let outcome = {
            let turn = questions.acquire().await; // never closed
            let outcome = web::in_time(names.timeout, names.look()).await;
            drop(turn);
            outcome
        };
        let (word, wait) = match outcome {
            Ok((listed, ttl)) => {
                failures = 0;
                (Word::Answer(listed), ttl.clamp(least, most))
            }
            Err(reason) => {
                failures = failures.saturating_add(1);
                let wait = back_off(failures, (least, BACK_OFF_MAX.min(most)));
                (Word::Failed(format!("{}: {reason}", names.name)), wait)
            }
        };
        drop(tell.send(word).await); // without a follower this ends with it
        pass(wait).await;
    }
}

impl Names<'_> {
    async fn look(&self) -> Result<(Vec<Listed>, Duration), String> {
        // A new one each time: /etc/resolv.conf may have changed, and nothing is remembered of servers that were away.
        let resolver = self.resolver()?;
        match self.record {
            DnsRecord::A { port } => addresses(&resolver, self.name, RecordType::A, port).await,
            DnsRecord::Aaaa { port } => addresses(&resolver, self.name, RecordType::AAAA, port).await,
            DnsRecord::Srv => self.services(&resolver).await,
        }
    }

    fn resolver(&self) -> Result<TokioResolver, String> {
        let (config, mut options) = match self.server {
            Some(server) => {
                let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()].map(|mut connection| {
                    connection.port = server.port();
                    connection
                });
                let server = NameServerConfig::new(server.ip(), true, connections.into());
                (
                    ResolverConfig::from_parts(None, Vec::new(), vec![server]),
                    ResolverOpts::default(),
                )
            }
            None => read_system_conf().map_err(|error| format!("/etc/resolv.conf: {error}"))?,
        };
        options.cache_size = 0;
        options.use_hosts_file = ResolveHosts::Never;
        options.case_randomization = false;
        // The whole look has its own limit; within it a lost datagram is asked for again.
        options.timeout = self.timeout.checked_div(2).unwrap_or(self.timeout);
        let builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
        builder.with_options(options).build().map_err(|error| error.to_string())
    }

    async fn services(&self, resolver: &TokioResolver) -> Result<(Vec<Listed>, Duration), String> {
        let lookup = resolver
            .lookup(self.name, RecordType::SRV)
            .await
            .map_err(|error| words(&error))?;
        let services = services_of(lookup.answers(), self.backends_max)?;
        let targets: BTreeSet<Name> = services.iter().map(|service| service.target.clone()).collect();
        let mut found = sent_along(lookup.additionals(), &targets);
        let mut ttl = ttl(lookup.answers().iter().chain(lookup.additionals()));
        let missing: Vec<Name> = targets.into_iter().filter(|name| !found.contains_key(name)).collect();
        for some in missing.chunks(TARGETS_AT_ONCE) {
            let mut asked = JoinSet::new();
            for name in some.iter().cloned() {
                let resolver = resolver.clone();
                asked.spawn_local(async move { (name.clone(), target(&resolver, name).await) });
            }
            while let Some(answered) = asked.join_next().await {
                let (name, ips) = answered.map_err(|error| error.to_string())?;
                let (ips, its) = ips.map_err(|reason| format!("{name}: {reason}"))?;
                ttl = ttl.min(its);
                found.insert(name, ips);
            }
        }
        Ok((listed(&services, &found), ttl))
    }
}

/// The SRV records of an answer.
fn services_of(answers: &[Record], most: usize) -> Result<Vec<&SRV>, String> {
    let services: Vec<&SRV> = answers
        .iter()
        .filter_map(|record| match &record.data {
            RData::SRV(service) => Some(service),
            _ => None,
        })
        .collect();
    if services.len() > most {
        let count = services.len();
        return Err(format!(
            "{count} records found, at most {most} are wanted (max_backends)"
        ));
    }
    if let [only] = services.as_slice()
        && only.target.is_root()
    {
        return Err("its record says that there is no such service (target \".\")".to_owned());
    }
    Ok(services)
}

/// The addresses of targets that most servers send along with an answer.
fn sent_along(additionals: &[Record], targets: &BTreeSet<Name>) -> BTreeMap<Name, BTreeSet<IpAddr>> {
    let mut found: BTreeMap<Name, BTreeSet<IpAddr>> = BTreeMap::new();
    for record in additionals {
        if let Some(ip) = ip(record).filter(|_| targets.contains(&record.name)) {
            found.entry(record.name.clone()).or_default().insert(ip);
        }
    }
    found
}

/// What follows from SRV records and the addresses of their targets: the lowest priority is used, others are kept as backups.
fn listed(services: &[&SRV], found: &BTreeMap<Name, BTreeSet<IpAddr>>) -> Vec<Listed> {
    let first = services.iter().map(|service| service.priority).min();
    let weights: Vec<u16> = services.iter().map(|service| service.weight).collect();
    let mut listed = Vec::new();
    for (service, weight) in services.iter().zip(scaled(&weights)) {
        let ips = found.get(&service.target).into_iter().flatten();
        let is_alone = ips.clone().count() == 1;
        for ip in ips {
            let address = SocketAddr::new(*ip, service.port);
            let name = format!("{}-{}", service.target.to_ascii().trim_end_matches('.'), service.port);
            let name = Some(name).filter(|name| is_alone && check_name(name).is_ok());
            listed.push(Listed {
                name: Some(name.unwrap_or_else(|| name_of(address))),
                address,
                weight,
                backup: Some(service.priority) != first,
            });
        }
    }
    listed
}

/// The addresses of an SRV record's target: those of IPv4, or else of IPv6, so that a machine with both isn't two backends.
async fn target(resolver: &TokioResolver, name: Name) -> Result<(BTreeSet<IpAddr>, Duration), String> {
    let mut outcome = resolver.lookup(name.clone(), RecordType::A).await;
    if outcome.as_ref().is_err_and(NetError::is_no_records_found) {
        outcome = resolver.lookup(name, RecordType::AAAA).await;
    }
    let lookup = outcome.map_err(|error| words(&error))?;
    let ips = lookup.answers().iter().filter_map(ip).collect();
    Ok((ips, ttl(lookup.answers())))
}

async fn addresses(
    resolver: &TokioResolver,
    name: &str,
    kind: RecordType,
    port: u16,
) -> Result<(Vec<Listed>, Duration), String> {
    let lookup = resolver.lookup(name, kind).await.map_err(|error| words(&error))?;
    Ok((listed_as(lookup.answers(), port), ttl(lookup.answers())))
}

fn listed_as(records: &[Record], port: u16) -> Vec<Listed> {
    let listed = records.iter().filter_map(ip).map(|ip| Listed {
        name: None,
        address: SocketAddr::new(ip, port),
        weight: 1,
        backup: false,
    });
    listed.collect()
}

/// For the fuzzer: an answer as a server sends it, of SRV records or of addresses.
#[cfg(fuzzing)]
pub(super) fn of_message(bytes: &[u8], backends_max: usize) -> Result<Vec<Listed>, String> {
    use hickory_resolver::proto::op::Message;
    let message = Message::from_vec(bytes).map_err(|error| config::one_line(&error.to_string()))?;
    let services = services_of(&message.answers, backends_max)?;
    if services.is_empty() {
        return Ok(listed_as(&message.answers, 80));
    }
    let targets = services.iter().map(|service| service.target.clone()).collect();
    Ok(listed(&services, &sent_along(&message.additionals, &targets)))
}

fn ip(record: &Record) -> Option<IpAddr> {
    match &record.data {
        RData::A(address) => Some(IpAddr::V4(address.0)),
        RData::AAAA(address) => Some(IpAddr::V6(address.0)),
        _ => None,
    }
}

/// How long all of them hold.
fn ttl<'r>(records: impl IntoIterator<Item = &'r Record>) -> Duration {
    let seconds = records.into_iter().map(|record| record.ttl).min();
    Duration::from_secs(u64::from(seconds.unwrap_or(0)))
}

fn words(error: &NetError) -> String {
    match error {
        NetError::Dns(DnsError::NoRecordsFound(none)) if none.response_code == ResponseCode::NXDomain => {
            "no such name (NXDOMAIN)".to_owned()
        }
        NetError::Dns(DnsError::NoRecordsFound(none)) if none.response_code == ResponseCode::NoError => {
            "the name has no such record".to_owned()
        }
        NetError::Dns(DnsError::NoRecordsFound(none)) => format!("the server answers {}", none.response_code),
        NetError::Timeout => "no answer in time".to_owned(),
        other => config::one_line(&other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn srv_records_become_backends_with_names_weights_and_backups() {
        let name = |text: &str| Name::from_ascii(text).unwrap();
        let one = SRV::new(10, 600, 80, name("one.test."));
        let two = SRV::new(10, 300, 81, name("two.test."));
        let spare = SRV::new(20, 0, 82, name("one.test."));
        let found = BTreeMap::from([
            (name("one.test."), BTreeSet::from([[10, 0, 0, 1].into()])),
            (
                name("two.test."),
                BTreeSet::from([[10, 0, 0, 2].into(), [10, 0, 0, 3].into()]),
            ),
        ]);
        let shown: Vec<String> = listed(&[&one, &two, &spare], &found)
            .iter()
            .map(|listed| {
                let name = listed.name.as_deref().unwrap();
                format!("{name} {} {} {}", listed.address, listed.weight, listed.backup)
            })
            .collect();
        assert_eq!(
            shown,
            [
                "one.test-80 10.0.0.1:80 256 false",
                "10.0.0.2-81 10.0.0.2:81 128 false",
                "10.0.0.3-81 10.0.0.3:81 128 false",
                "one.test-82 10.0.0.1:82 1 true",
            ]
        );
    }
}

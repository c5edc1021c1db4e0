//! What an `lb.toml` says, as plain values that hold only what is allowed.
//!
//! Made by the rest of `config`, read by every room that is told how to behave. Two files that mean the same compare equal,
//! which is how a reload knows that nothing changed.
//!
//! May not: hold a place in a text, or a value that still needs a check.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::fence::{Access, Limits};
use crate::types::HttpUrl;

/// A whole, valid `lb.toml`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// `[runtime]`.
    pub runtime: Runtime,
    /// `[log]`.
    pub log: Log,
    /// `[admin]`.
    pub admin: Admin,
    /// `[history]`; `None` = samples are kept in memory only.
    pub history: Option<History>,
    /// Every `[[service]]`, in the order of the file; at least one.
    pub services: Vec<Service>,
}

impl Config {
    /// Backends of all services.
    pub fn backends(&self) -> usize {
        self.services.iter().map(|service| service.backends.len()).sum()
    }

    /// Processes of all services that may run at once, those on their way out among them.
    pub fn replicas_max(&self) -> usize {
        let managed = self.services.iter().filter_map(|service| service.managed.as_ref());
        managed.map(Managed::processes_max).sum()
    }
}

/// `[runtime]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Runtime {
    /// Worker threads; `None` (0 in the file) = one per core. At most [`WORKERS_MAX`](super::WORKERS_MAX).
    pub workers: Option<u16>,
    /// Live sessions; `None` (0 in the file) = as many as the file-descriptor limit can carry.
    pub connections_max: Option<u32>,
    /// What lb may take of the machine's memory, in bytes; `None` (0 in the file) = what its control group allows, if that has a limit.
    pub memory_bytes_max: Option<u64>,
    /// How long a shutdown, or a removed backend, waits for its sessions.
    pub drain_timeout: Duration,
}

/// `[log]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// `level`.
    pub level: log::LevelFilter,
    /// `access`.
    pub access: AccessLog,
}

/// Where the access log goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AccessLog {
    /// Nowhere.
    Off,
    /// Standard error.
    Stderr,
    /// Appended to a file.
    File(PathBuf),
}

/// `[admin]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admin {
    /// `listen`.
    pub listen: AdminListen,
    /// Bearer tokens; `None` = everybody who can connect may do everything, which only loopback and a unix socket may allow.
    pub token_file: Option<PathBuf>,
    /// Names that a browser may know lb by, in lower case, besides `localhost` and its address.
    pub hosts: Vec<String>,
}

/// `[history]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct History {
    /// Where the files are; lb makes it.
    pub directory: PathBuf,
    /// How long a sample is kept.
    pub keep: Duration,
    /// Of all files together.
    pub bytes_max: u64,
}

/// Where the API, the metrics and the dashboard are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AdminListen {
    /// Nowhere.
    Off,
    /// There.
    Tcp(SocketAddr),
    /// A socket in the file system that its owner alone may use.
    Unix(PathBuf),
}

impl AdminListen {
    /// 127.0.0.1:8000.
    pub const DEFAULT: Self = Self::Tcp(SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 8000)));
}

/// One `[[service]]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// `[A-Za-z0-9._-]{1,64}`, unique.
    pub name: String,
    /// At least one address; none twice in the file. Port 0 = one the kernel chooses, and so may stand more than once.
    pub listen: Vec<SocketAddr>,
    /// The policy.
    pub balance: Balance,
    /// What the hashing policies know a client by.
    pub hash_key: HashKey,
    /// Whether a client keeps its backend; `None` = there is no `[service.sticky]`.
    pub sticky: Option<Sticky>,
    /// Who says whose a connection is, and who is told. All off where there is no `[service.proxy_protocol]`.
    pub proxy_protocol: ProxyProtocol,
    /// Live sessions of this service; `None` (0 in the file) = no limit of its own.
    pub connections_max: Option<u32>,
    /// How long one connect may take.
    pub connect_timeout: Duration,
    /// Other backends tried after the first; at most [`CONNECT_RETRIES_MAX`](super::CONNECT_RETRIES_MAX).
    pub connect_retries: u8,
    /// Silence after which a second backend is tried beside the first; `None` = "off".
    pub hedge_after: Option<Duration>,
    /// No byte either way for this long ends a session.
    pub idle_timeout: Duration,
    /// The same, once one side has finished.
    pub half_close_timeout: Duration,
    /// A peer that acknowledges nothing for so long is gone; `None` = "off".
    pub peer_timeout: Option<Duration>,
    /// `[service.access]`; both lists are empty where it isn't there.
    pub access: Access,
    /// `[service.limits]`.
    pub limits: Limits,
    /// `[service.health]`.
    pub health: Health,
    /// Where more backends are listed; `None` = there is no `[service.discovery]`.
    pub discovery: Option<Discovery>,
    /// Backends that lb keeps alive itself; `None` = there is no `[service.managed]`.
    pub managed: Option<Managed>,
    /// Every `[[service.backend]]`, in the order of the file; names unique.
    pub backends: Vec<Backend>,
}

/// `balance`, with the keys that go with each policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Balance {
    /// Smooth weighted round robin.
    RoundRobin,
    /// Fewest live connections for its weight.
    LeastConnections,
    /// The less loaded of two random ones.
    RandomTwo,
    /// The one of two random ones that answers sooner.
    Fastest,
    /// A hash ring.
    Ring {
        /// `hash`, with its keys.
        hash: RingHash,
        /// `load_factor` in thousandths, at least 1000; `None` (0 in the file) = unbounded.
        load_thousandths: Option<u32>,
    },
    /// A Maglev table.
    Maglev {
        /// A prime.
        slots: u32,
        /// As with a ring.
        load_thousandths: Option<u32>,
    },
}

impl Balance {
    /// The word in the file.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::RoundRobin => "round_robin",
            Self::LeastConnections => "least_connections",
            Self::RandomTwo => "random_two",
            Self::Fastest => "fastest",
            Self::Ring { .. } => "ring",
            Self::Maglev { .. } => "maglev",
        }
    }
}

/// `hash` of a ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RingHash {
    /// Many virtual nodes, in proportion to the weights.
    Xxh3 {
        /// Of the backend with the greatest weight; at least 1, and with all backends at most
        /// [`RING_POINTS_MAX`](super::RING_POINTS_MAX).
        virtual_nodes: u32,
    },
    /// Few slots, quadratic hashes.
    Quadratic {
        /// At least backends x virtual nodes.
        slots: u32,
        /// At least 1.
        virtual_nodes: u32,
    },
}

/// `hash_key`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HashKey {
    /// The client's address.
    SourceIp,
    /// The client's address and port.
    SourceAddress,
    /// A running number.
    Connection,
}

/// `[service.sticky]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sticky {
    /// A client that was silent for so long is forgotten; whole seconds.
    pub ttl: Duration,
    /// Clients remembered.
    pub size: u32,
}

/// `[service.proxy_protocol]`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProxyProtocol {
    /// Every connection begins with a header, and only peers in these networks may connect; `None` = `accept = false`.
    pub trusted: Option<Vec<IpNet>>,
    /// What backends are told of the client first; `None` = nothing.
    pub send: Option<ProxyVersion>,
}

/// Of the PROXY protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyVersion {
    /// A line of text.
    V1,
    /// Binary.
    V2,
}

/// `[service.health]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    /// What a probe does.
    pub check: Check,
    /// From the start of a probe to the start of the next, before jitter.
    pub interval: Duration,
    /// How long a probe may take.
    pub timeout: Duration,
    /// Checks in a row to go up; at least 1.
    pub rise: u32,
    /// Checks in a row to go down; at least 1.
    pub fall: u32,
    /// Another port than the backend's.
    pub port: Option<u16>,
    /// How long a backend that came up takes to get its whole weight; `None` = "off".
    pub slow_start: Option<Duration>,
}

/// What a probe does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Check {
    /// Nothing: the backend counts as up.
    Off,
    /// A connect that is answered.
    Tcp,
    /// `GET path`, HTTP/1.1, and the status that counts as healthy.
    Http {
        /// Starts with `/`; no space, no control character.
        path: String,
        /// 100 to 599.
        expect_status: u16,
    },
    /// Bytes to send (may be none), and the bytes the answer must start with (at least one, at most 4096).
    Expect {
        /// Sent as soon as the connection stands.
        send: Vec<u8>,
        /// What must come back first.
        expect: Vec<u8>,
    },
}

/// `[service.managed.scale]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scale {
    /// Replicas at least; from 1 on.
    pub min: u16,
    /// Replicas at most; at least `min`, at most [`REPLICAS_MAX`](super::REPLICAS_MAX).
    pub max: u16,
    /// Live connections that a replica is to have at most; from 1 on.
    pub target_connections: u32,
    /// How long the load must have been low before replicas go.
    pub cooldown: Duration,
    /// `predict` and `season`; `None` = "off".
    pub prediction: Option<Prediction>,
}

/// `predict`, with its `season`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prediction {
    /// How far ahead: what a replica takes to start, and some more.
    pub ahead: Duration,
    /// The length of the pattern; at least four times `ahead`.
    pub season: Duration,
}

/// `[service.managed]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Managed {
    /// What is started.
    pub program: Program,
    /// Where a replica may listen, each on a port of its own; never empty.
    pub ports: RangeInclusive<u16>,
    /// How many there are to be: at least 1, at most [`REPLICAS_MAX`](super::REPLICAS_MAX), and no more than ports.
    pub replicas: u16,
    /// From the end of one to its next start.
    pub restart_delay: Duration,
    /// One that runs and is down for so long is replaced; `None` = "off".
    pub replace_after: Option<Duration>,
    /// One that takes no connection so long after its start is started anew.
    pub start_timeout: Duration,
    /// From SIGTERM to SIGKILL.
    pub stop_timeout: Duration,
    /// How many there are to be by the load; `None` = as many as `replicas` says.
    pub scale: Option<Scale>,
}

impl Managed {
    /// Replicas there may be at most, as long as nobody asks for more by the API.
    #[must_use]
    pub fn replicas_max(&self) -> u16 {
        self.scale.map_or(self.replicas, |scale| scale.max.max(self.replicas))
    }

    /// Ports there are.
    #[must_use]
    pub fn ports_count(&self) -> usize {
        self.ports.len()
    }

    /// Processes that may run at once: each holds its port until it is gone.
    #[must_use]
    pub fn processes_max(&self) -> usize {
        self.ports_count()
            .min(super::REPLICAS_MAX.saturating_add(super::REPLICAS_LEAVING_MAX))
    }
}

/// A program as it is started; `{port}` and `{name}` stand for those of a replica.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Program {
    /// The program and its arguments; at least the program.
    pub command: Vec<String>,
    /// Set beside what lb itself has.
    pub env: BTreeMap<String, String>,
    /// `None` = lb's own.
    pub working_directory: Option<PathBuf>,
    /// A name or a number; `None` = lb's own.
    pub user: Option<String>,
}

/// A backend in a list that somebody else keeps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// `None` = it has none of its own.
    pub name: Option<String>,
    /// Where it listens; never port 0.
    pub address: SocketAddr,
    /// 0 to [`WEIGHT_MAX`](super::WEIGHT_MAX).
    pub weight: u16,
    /// Used only while no other backend is up.
    pub backup: bool,
}

/// `[service.discovery]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Discovery {
    /// Who is asked.
    pub source: DiscoverySource,
    /// How long one answer may take.
    pub timeout: Duration,
    /// An answer with fewer backends isn't followed; at least 1.
    pub backends_min: usize,
    /// Nor is one with more; at most [`BACKENDS_MAX`](super::BACKENDS_MAX).
    pub backends_max: usize,
    /// So often at most the backends change; at least 1.
    pub changes_per_second: u32,
    /// Where backends may be; `None` = anywhere but on this machine.
    pub allow: Option<Vec<IpNet>>,
}

/// Who knows the backends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DiscoverySource {
    /// A name of the DNS.
    Dns {
        /// In lower case, with a dot at its end.
        name: String,
        /// Which of its records.
        record: DnsRecord,
        /// Whom to ask; `None` = whom /etc/resolv.conf names.
        server: Option<SocketAddr>,
        /// It is asked again when the answer's TTL is over, but not sooner than this
        interval_min: Duration,
        /// and not later than this; at least the other.
        interval_max: Duration,
    },
    /// A file: JSON if its name ends so, else TOML.
    File {
        /// As in lb.toml.
        path: PathBuf,
    },
    /// A page of JSON.
    Http {
        /// The page.
        url: HttpUrl,
        /// From one look to the next.
        interval: Duration,
    },
    /// Keys of an etcd.
    Etcd {
        /// Its JSON gateway.
        address: SocketAddr,
        /// What the keys start with; not empty.
        prefix: String,
    },
}

impl DiscoverySource {
    /// The word in the file.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Dns { .. } => "dns",
            Self::File { .. } => "file",
            Self::Http { .. } => "http",
            Self::Etcd { .. } => "etcd",
        }
    }
}

/// Which records of a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DnsRecord {
    /// IPv4 addresses.
    A {
        /// Of every backend.
        port: u16,
    },
    /// IPv6 addresses.
    Aaaa {
        /// Of every backend.
        port: u16,
    },
    /// Names with ports, weights and priorities.
    Srv,
}

/// One `[[service.backend]]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Backend {
    /// `[A-Za-z0-9._-]{1,64}`, unique within the service.
    pub name: String,
    /// Where it listens; never port 0, and never a listen address of the same file.
    pub address: SocketAddr,
    /// 0 to [`WEIGHT_MAX`](super::WEIGHT_MAX); 0 = takes no new connection.
    pub weight: u16,
    /// Live sessions on it; `None` (0 in the file) = no limit.
    pub connections_max: Option<u32>,
    /// Used only while no other backend is up.
    pub backup: bool,
    /// Where its process tells of itself, as Prometheus text.
    pub metrics: Option<HttpUrl>,
}

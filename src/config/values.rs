//! What an `lb.toml` says, as plain values that hold only what is allowed.
//!
//! Made by the rest of `config`, read by every room that is told how to behave. Two files that mean the same compare equal,
//! which is how a reload knows that nothing changed.
//!
//! May not: hold a place in a text, or a value that still needs a check.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::path::PathBuf;
use std::time::Duration;

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
    /// Every `[[service]]`, in the order of the file; at least one.
    pub services: Vec<Service>,
}

impl Config {
    /// Backends of all services.
    pub fn backends(&self) -> usize {
        self.services.iter().map(|service| service.backends.len()).sum()
    }
}

/// `[runtime]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Runtime {
    /// Worker threads; `None` (0 in the file) = one per core. At most [`WORKERS_MAX`](super::WORKERS_MAX).
    pub workers: Option<u16>,
    /// Live sessions; `None` (0 in the file) = as many as the file-descriptor limit can carry.
    pub connections_max: Option<u32>,
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
    /// `[service.health]`.
    pub health: Health,
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

/// One `[[service.backend]]`.
#[derive(Clone, Debug, PartialEq, Eq)]
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

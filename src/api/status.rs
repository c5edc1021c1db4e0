//! What is: the process, its services, their backends.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::scaling::Scaling;

/// The process and everything in it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Status {
    /// Of lb.
    pub version: String,
    /// Its process id.
    pub pid: u32,
    /// Since it started.
    pub uptime_seconds: f64,
    /// What it is doing.
    pub state: ProcessState,
    /// Worker threads.
    pub workers: u16,
    /// Of all services.
    pub connections: ProcessConnections,
    /// In the order of the file.
    pub services: Vec<Service>,
}

/// What the process is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ProcessState {
    /// It takes connections.
    Running,
    /// It takes none any more, and waits for those it has.
    Draining,
}

/// Connections of the process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ProcessConnections {
    /// Live now.
    pub active: u64,
    /// Accepted since the start, those refused among them.
    pub total: u64,
    /// Turned away because a limit was reached.
    pub refused: u64,
}

/// A service.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Service {
    /// Its name.
    pub name: String,
    /// Where it listens.
    pub listen: Vec<String>,
    /// Its policy.
    pub balance: String,
    /// What came, and what became of it.
    pub connections: ServiceConnections,
    /// What was moved, for backends that are gone too.
    pub bytes: Bytes,
    /// In the order of the file, then as they were added.
    pub backends: Vec<Backend>,
    /// Where more of them are looked for, if anywhere.
    #[serde(default)]
    pub discovery: Option<Discovery>,
    /// The processes that lb keeps alive for it; left out where it keeps none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replicas: Option<Replicas>,
    /// What is otherwise than lb.toml says, in words: what the API changed since.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub differences: Vec<String>,
}

/// How looking for backends goes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Discovery {
    /// `dns`, `file`, `http` or `etcd`.
    pub kind: String,
    /// When there was an answer last that could be followed.
    pub last_success: Option<String>,
    /// What has been wrong since; `null` while all is well.
    pub last_error: Option<String>,
    /// How many were found last; they stay while something is wrong.
    pub backends: u64,
}

/// The processes that lb keeps alive for a service.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Replicas {
    /// How many there are to be.
    pub wanted: u32,
    /// How many take connections.
    pub running: u32,
    /// Those that are to be, in the order in which they came.
    pub replicas: Vec<Replica>,
    /// How their number follows the load; left out where it doesn't.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scaling: Option<Scaling>,
}

/// A process that lb keeps alive.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Replica {
    /// Its name, which is that of its backend.
    pub name: String,
    /// What it is doing.
    pub state: ReplicaState,
    /// Its process id; `null` while none runs.
    pub pid: Option<u32>,
    /// Where it listens; `null` while none runs.
    pub port: Option<u16>,
    /// How often it was started again since it came: it ended, hung, or was to be another program.
    pub restarts: u32,
}

/// What a replica is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ReplicaState {
    /// It takes connections.
    Running,
    /// It was started, and takes none yet.
    Starting,
    /// It ended, and is started again after its delay.
    Waiting,
}

/// Connections of a service.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ServiceConnections {
    /// Live now.
    pub active: u64,
    /// Accepted since the start, those refused among them.
    pub total: u64,
    /// Ended without a backend: none could take it, or none was reached.
    pub failed: u64,
    /// Turned away because a limit was reached.
    pub refused: u64,
}

/// Bytes moved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Bytes {
    /// From clients.
    pub to_backend: u64,
    /// To clients.
    pub to_client: u64,
}

/// A backend.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Backend {
    /// Its name, unique in its service.
    pub name: String,
    /// Where it listens.
    pub address: String,
    /// 0 = takes no new connection.
    pub weight: u16,
    /// Whether it is used only while no other backend is up.
    pub backup: bool,
    /// All in one word.
    pub state: BackendState,
    /// What the checks say.
    pub health: BackendHealth,
    /// Its connections.
    pub connections: BackendConnections,
    /// What was moved.
    pub bytes: Bytes,
    /// Of the program behind it, where `metrics` says how to ask it and it has answered.
    pub process: Option<Process>,
    /// Who brought it.
    pub origin: Origin,
}

/// A backend's state in one word: what the operator wants comes before what the checks say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum BackendState {
    /// Checks or traffic say it works.
    Up,
    /// They say it doesn't: it gets no new connection.
    Down,
    /// No new connection; the old ones live. On its way out if it was removed.
    Draining,
    /// Neither connections nor checks.
    Maintenance,
    /// In use already, but no check was good yet, or slow start still holds it back.
    Starting,
}

impl BackendState {
    /// The word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Down => "down",
            Self::Draining => "draining",
            Self::Maintenance => "maintenance",
            Self::Starting => "starting",
        }
    }
}

/// What the checks of a backend say.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct BackendHealth {
    /// The verdict.
    pub status: HealthStatus,
    /// Since when it stands.
    pub since: Option<String>,
    /// When the last check ended.
    pub last_check: Option<String>,
    /// What was wrong the last time that something was; kept while all is well again.
    pub last_error: Option<String>,
    /// How long the last check that succeeded took.
    pub latency_seconds: Option<f64>,
}

/// The verdict of the checks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum HealthStatus {
    /// It answers.
    Up,
    /// It doesn't.
    Down,
    /// Nobody knows: checks are off, or none was good yet.
    Unknown,
}

/// Connections of a backend.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct BackendConnections {
    /// Sessions that hold it now, those still connecting among them.
    pub active: u64,
    /// Connections made.
    pub total: u64,
    /// Connects that failed.
    pub failed: u64,
}

/// The program behind a backend.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Process {
    /// Since the last look; 100 = one core. `null` until there were two looks.
    pub cpu_percent: Option<f64>,
    /// Resident.
    pub memory_bytes: Option<u64>,
    /// Since it started.
    pub uptime_seconds: Option<f64>,
}

/// Who brought a backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// lb.toml.
    Config,
    /// The API, or the command line.
    Api,
    /// lb keeps it alive itself.
    Managed,
    /// It was found.
    Discovery,
}

/// `GET /healthcheck`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Healthcheck {
    /// `ok`, `draining`, or `no_backend_up`.
    pub status: String,
    /// The services without a backend that is up; left out where all have one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub services: Vec<String>,
}

/// A line of `GET /stats`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct FlatBackend {
    /// Its service.
    pub service: String,
    /// Its name.
    pub name: String,
    /// Where it listens.
    pub url: String,
    /// Whether it takes new connections, as far as anybody knows.
    pub up: bool,
    /// Connections made.
    pub requests: u64,
    /// Seconds, of the last good check.
    pub latency: Option<f64>,
    /// Percent of a core.
    pub cpu: Option<f64>,
    /// Bytes.
    pub ram: Option<u64>,
    /// Seconds.
    pub uptime: Option<f64>,
}

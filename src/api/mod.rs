//! The shapes of the admin API, both ways: what `control` and `admin` say, and what `cli` and `top` read.
//!
//! Plain data with serde's names, and the JSON schema of each for the API's description. Times are RFC 3339 in UTC, spans and
//! latencies seconds, sizes bytes. Unknown fields are an error in what is sent to lb, and no error in what it answers: a newer lb
//! may say more than an older command line knows.
//!
//! May not: decide anything, or import another room.

mod change;
mod events;
mod live;
mod scaling;
mod status;

pub use change::{
    Address, BackendChange, Name, NewBackend, Reloaded, ReplicaAnswer, ReplicaChange, ReplicaFailure, ReplicaList,
    Upgraded, WantedState, Weight,
};
pub use events::{
    BackendEvent, BackendSample, ConfigEvent, History, HistoryOfBackend, HistoryOfService, Sample, ServiceSample,
};
pub use live::{Connection, ConnectionPhase, Connections, Ended};
pub use scaling::{Prediction, Scaling};
pub use status::{
    Backend, BackendConnections, BackendHealth, BackendState, Bytes, Discovery, FlatBackend, HealthStatus, Healthcheck,
    Origin, Process, ProcessConnections, ProcessState, Replica, ReplicaState, Replicas, Service, ServiceConnections,
    Status,
};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What is said when something can't be done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Problem {
    /// What went wrong.
    pub error: ProblemDetail,
}

/// A problem, for programs and for people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ProblemDetail {
    /// A word that stays the same: `unknown_backend`.
    pub code: String,
    /// One line that a person can act on.
    pub message: String,
    /// Each problem for itself, where there are several.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub details: Vec<String>,
}

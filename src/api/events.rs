//! What happens: samples each two seconds, changes as they come, and the last half hour.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::status::{BackendConnections, BackendState, Bytes, ProcessConnections, ServiceConnections};

/// Event `sample`: all figures at one moment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Sample {
    /// When.
    pub time: String,
    /// Of the process.
    pub connections: ProcessConnections,
    /// Each service.
    pub services: Vec<ServiceSample>,
}

/// A service at one moment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ServiceSample {
    /// Its name.
    pub name: String,
    /// Its connections.
    pub connections: ServiceConnections,
    /// What it moved.
    pub bytes: Bytes,
    /// Its backends.
    pub backends: Vec<BackendSample>,
}

/// A backend at one moment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct BackendSample {
    /// Its name.
    pub name: String,
    /// Its state.
    pub state: BackendState,
    /// Its connections.
    pub connections: BackendConnections,
    /// What it moved.
    pub bytes: Bytes,
    /// Of the last good check.
    pub latency_seconds: Option<f64>,
}

/// Event `backend`: its state changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct BackendEvent {
    /// When.
    pub time: String,
    /// Its service.
    pub service: String,
    /// Its name.
    pub backend: String,
    /// Its state now; `null`: it is gone.
    pub state: Option<BackendState>,
    /// Why, in words.
    pub reason: String,
}

/// Event `config`: another configuration is in force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ConfigEvent {
    /// When.
    pub time: String,
    /// What changed, in words.
    pub changes: Vec<String>,
}

/// The last minutes, a column a figure: the samples that the events brought, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct History {
    /// From one sample to the next.
    pub interval_seconds: f64,
    /// When each sample was taken.
    pub times: Vec<String>,
    /// By name.
    pub services: BTreeMap<String, HistoryOfService>,
}

/// Of one service, as long as [`History::times`]; `null` where it wasn't there.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct HistoryOfService {
    /// Backends by name.
    pub backends: BTreeMap<String, HistoryOfBackend>,
}

/// Of one backend, as long as [`History::times`]; `null` where it wasn't there. A figure that falls began anew: another backend
/// has the name.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct HistoryOfBackend {
    /// Live connections.
    pub active: Vec<Option<u64>>,
    /// Connections made since it is there.
    pub total: Vec<Option<u64>>,
    /// Bytes from clients since it is there.
    pub to_backend: Vec<Option<u64>>,
    /// Bytes to clients since it is there.
    pub to_client: Vec<Option<u64>>,
    /// Whether it took new connections.
    pub up: Vec<Option<bool>>,
    /// Seconds, of the last good check.
    pub latency: Vec<Option<f64>>,
}

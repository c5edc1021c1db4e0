//! Live connections.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Some of those that live.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Connections {
    /// As many as were asked for, in no order.
    pub connections: Vec<Connection>,
    /// Whether there may be more than these.
    pub is_truncated: bool,
}

/// A client's connection.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Connection {
    /// Names it for as long as it lives, and no other afterwards.
    pub id: String,
    /// Its service.
    pub service: String,
    /// Who connected.
    pub client: String,
    /// Whom to; `null` while it is connecting.
    pub backend: Option<String>,
    /// How far it is.
    pub phase: ConnectionPhase,
    /// Since it was accepted.
    pub seconds: f64,
    /// From the client.
    pub bytes_to_backend: u64,
    /// To the client.
    pub bytes_to_client: u64,
}

/// How far a connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ConnectionPhase {
    /// The header that says whose it is hasn't come yet.
    AwaitingHeader,
    /// A backend is being reached.
    Connecting,
    /// Bytes move.
    Relaying,
    /// One side was reset, and the other still gets what is its.
    Resetting,
}

/// A connection was ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Ended {
    /// Which one.
    pub id: String,
    /// Its end, as the access log tells it.
    pub end: String,
}

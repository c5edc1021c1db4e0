//! lb's access log, read: one JSON line a finished connection.

use std::fs;
use std::path::Path;

use jiff::Timestamp;
use serde::de::Error;
use serde::{Deserialize, Deserializer};

use crate::common::Failure;

/// A connection that has ended.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Entry {
    /// When it ended, to the millisecond.
    #[serde(deserialize_with = "timestamp")]
    pub(crate) time: Timestamp,
    pub(crate) backend: Option<String>,
    /// From accept to end.
    pub(crate) seconds: f64,
    /// Other backends tried before this one.
    pub(crate) retries: usize,
    pub(crate) end: String,
}

fn timestamp<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Timestamp, D::Error> {
    String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
}

impl Entry {
    /// Whether lb found no backend for it.
    pub(crate) fn is_lost(&self) -> bool {
        ["connect_failed", "no_backend", "refused"].contains(&self.end.as_str())
    }

    /// Whether its backend has ended it, which no `tcp_server` does before the client.
    pub(crate) fn has_died(&self) -> bool {
        ["backend_reset", "backend_closed"].contains(&self.end.as_str())
    }
}

pub(crate) fn read(file: &Path) -> Result<Vec<Entry>, Failure> {
    let text = fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))?;
    // What follows the last newline is being written.
    let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
    let parse = |line| serde_json::from_str(line).map_err(|error| format!("access log: {error}: {line}").into());
    whole.lines().map(parse).collect()
}

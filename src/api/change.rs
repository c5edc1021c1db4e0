//! What may be asked for.

use schemars::JsonSchema;
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize};

/// A name, as in lb.toml.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Name(
    // Neither "." nor "..", which would vanish from the path of a URL.
    #[schemars(regex(
        pattern = r"^([A-Za-z0-9_-][A-Za-z0-9._-]{0,63}|\.[A-Za-z0-9_-][A-Za-z0-9._-]{0,62}|\.\.[A-Za-z0-9._-]{1,62})$"
    ))]
    pub String,
);

/// An IP address and a port, as in lb.toml.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Address(#[schemars(example = "127.0.0.1:9004")] pub String);

/// A weight, as in lb.toml.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Weight(
    #[serde(deserialize_with = "whole")]
    #[schemars(range(min = 0, max = 256))]
    pub u32,
);

/// A whole number; JSON Schema counts `3.0` among them.
fn whole<'de, D: Deserializer<'de>>(from: D) -> Result<u32, D::Error> {
    let number = f64::deserialize(from)?;
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "compared with what it was"
    )]
    let whole = number as u32;
    if f64::from(whole).to_bits() == number.to_bits() {
        Ok(whole)
    } else {
        Err(D::Error::custom(format!(
            "found {number}, wanted a whole number that isn't negative"
        )))
    }
}

/// A backend to be added.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewBackend {
    /// Unique in its service.
    pub name: Name,
    /// Where it listens.
    pub address: Address,
    /// 1 if it isn't said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight: Option<Weight>,
    /// No, if it isn't said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backup: Option<bool>,
}

/// What is to be changed of a backend; what isn't said stays.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BackendChange {
    /// The new weight.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight: Option<Weight>,
    /// The new state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<WantedState>,
}

/// What the operator wants of a backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum WantedState {
    /// In use.
    Active,
    /// No new connection; the old ones live.
    Draining,
    /// Neither connections nor checks.
    Maintenance,
}

/// Replicas to be added or removed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ReplicaChange {
    /// How many; from 1 to 256.
    #[serde(deserialize_with = "whole")]
    #[schemars(range(min = 1, max = 256))]
    pub n: u32,
    /// The names of some of them, at most `n`; lb chooses the others.
    #[serde(default)]
    pub hostnames: Vec<Name>,
}

/// The replicas that there are to be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ReplicaList {
    /// How many.
    #[serde(rename = "N")]
    pub n: u32,
    /// Their names.
    pub replicas: Vec<String>,
}

/// An answer about replicas.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ReplicaAnswer {
    /// The replicas.
    pub message: ReplicaList,
    /// `successful`.
    pub status: String,
}

/// Why replicas can't be told, added or removed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ReplicaFailure {
    /// `<Error>` and one line that a person can act on.
    pub message: String,
    /// `failure`.
    pub status: String,
}

/// What a reload changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Reloaded {
    /// In words; empty: the file says what it said before.
    pub changes: Vec<String>,
}

/// A new lb that has taken over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Upgraded {
    /// Its process id.
    pub pid: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_weight_is_a_whole_number_however_it_is_written() {
        let weight = |text: &str| serde_json::from_str::<Weight>(text).map(|weight| weight.0).ok();
        assert_eq!(
            ["3", "3.0", "3e0", "0"].map(weight),
            [Some(3), Some(3), Some(3), Some(0)]
        );
        assert_eq!(["-1", "1.5", "\"3\"", "1e300", "null"].map(weight), [None; 5]);
    }
}

//! How many replicas a service has, wants, and expects to want.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A service that scales by itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Scaling {
    /// Live connections that one replica is to have at most.
    pub target_connections: u32,
    /// Replicas it has at least.
    pub min: u16,
    /// And at most.
    pub max: u16,
    /// How many it wants now.
    pub wanted: u16,
    /// How many there are, those that are starting among them.
    pub running: u16,
    /// How many of those take connections.
    pub ready: u16,
    /// Live now.
    pub connections: u64,
    /// What is expected, and whether it counts.
    pub prediction: Prediction,
}

/// What is expected of the load, and whether it is acted on. Errors are mean absolute ones, in connections, of the last season.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "outlook", rename_all = "snake_case")]
pub enum Prediction {
    /// Not asked for.
    Off,
    /// Too little was seen yet.
    Learning {
        /// Seen so far.
        have_seconds: f64,
        /// What it takes.
        need_seconds: f64,
    },
    /// The forecasts so far weren't better than taking the load of the moment for that to come: they aren't used.
    NotBetter {
        /// Of the forecasts.
        own_error: f64,
        /// Of "the same as now".
        naive_error: f64,
    },
    /// The forecast raises the number of replicas ahead of time.
    Used {
        /// Which moment it is for.
        at: String,
        /// Live connections expected then.
        mean: f64,
        /// One forecast in ten was too high by more than down to here.
        lower: f64,
        /// One in ten too low by more than up to here.
        upper: f64,
        /// Of the forecasts.
        own_error: f64,
        /// Of "the same as now".
        naive_error: f64,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_outlook_is_a_word_beside_its_figures() {
        let told = |prediction: Prediction| serde_json::to_value(prediction).expect("JSON");
        assert_eq!(told(Prediction::Off), serde_json::json!({"outlook": "off"}));
        let errors = Prediction::NotBetter {
            own_error: 5.5,
            naive_error: 4.0,
        };
        let json = serde_json::json!({"outlook": "not_better", "own_error": 5.5, "naive_error": 4.0});
        assert_eq!(told(errors.clone()), json);
        assert_eq!(
            serde_json::from_value::<Prediction>(json).expect("a prediction"),
            errors
        );
    }
}

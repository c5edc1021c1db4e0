//! Replicas that follow a week of traffic, for A-7: lb's own scaling decides, and only the clock and the processes are simulated.

use std::collections::VecDeque;
use std::time::Duration;

use lb::config::{Prediction, Scale};
use lb::elastic::scale::forecast::{Errors, Forecaster, Outlook};
use lb::elastic::scale::wish::{Replicas, Wish};

use crate::traffic::{DAY_SECONDS, Traffic};

/// From a replica's order to its first connection.
pub(crate) const START_SECONDS: usize = 90;
/// Between two looks at the load.
pub(crate) const LOOK_SECONDS: usize = 2;
/// Live connections above which a replica has too many.
pub(crate) const TARGET: u32 = 100;
pub(crate) const MAX: u16 = 20;
pub(crate) const COOLDOWN: Duration = Duration::from_mins(5);
pub(crate) const PREDICTION: Prediction = Prediction {
    ahead: Duration::from_mins(3),
    season: Duration::from_hours(24),
};
/// Days before the measured ones.
pub(crate) const LEARNING_DAYS: usize = 3;

/// How the number is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// It is max.
    Fixed,
    /// From the load of the moment.
    Reactive,
    /// And from the upper end of the forecast, as lb does it.
    Predicting,
    /// And from the mean of the forecast instead.
    PredictingMean,
}

impl Way {
    pub(crate) const ALL: [Self; 4] = [Self::Fixed, Self::Reactive, Self::Predicting, Self::PredictingMean];

    pub(crate) const fn label(self) -> &'static str {
        match self {
            Self::Fixed => "fixed",
            Self::Reactive => "reactive",
            Self::Predicting => "predicting",
            Self::PredictingMean => "predicting, by the mean",
        }
    }

    pub(crate) const fn colour(self) -> &'static str {
        match self {
            Self::Fixed => "#868e96",
            Self::Reactive => "#e8590c",
            Self::Predicting => "#1971c2",
            Self::PredictingMean => "#22b8cf",
        }
    }

    fn expected(self, outlook: &Outlook) -> Option<u64> {
        match (self, outlook) {
            (Self::Predicting, outlook) => outlook.expected(),
            (Self::PredictingMean, Outlook::Use(forecast, _)) => Some(forecast.mean.ceil() as u64),
            _ => None,
        }
    }
}

/// How a week went, from the end of the learning days on.
#[derive(Default)]
pub(crate) struct Outcome {
    /// Connections that came while the ready replicas had more than the target each.
    pub(crate) above: f64,
    pub(crate) connections: f64,
    /// Of running ones, those starting too.
    pub(crate) replica_minutes: f64,
    /// Orders for more, and for fewer.
    pub(crate) changes: f64,
    /// Each minute of the whole week: ready replicas.
    pub(crate) ready: Vec<u16>,
}

impl Outcome {
    pub(crate) fn above_percent(&self) -> f64 {
        100.0 * self.above / self.connections.max(1.0)
    }
}

/// What lb expects at each look of the week.
pub(crate) fn outlooks(traffic: &Traffic) -> Vec<Outlook> {
    let mut forecaster = Forecaster::new(PREDICTION);
    let looks = traffic.live.iter().enumerate().step_by(LOOK_SECONDS);
    looks
        .map(|(second, live)| {
            forecaster.observe(Duration::from_secs(second as u64), u64::from(*live));
            forecaster.outlook()
        })
        .collect()
}

/// The back-test at the end of the week.
pub(crate) fn errors(outlooks: &[Outlook]) -> Option<Errors> {
    match outlooks.last()? {
        Outlook::Learning { .. } => None,
        Outlook::NotBetter(errors) | Outlook::Use(_, errors) => Some(*errors),
    }
}

/// In how many of the measured looks the forecast was in use.
pub(crate) fn used_percent(outlooks: &[Outlook]) -> f64 {
    let measured = outlooks.iter().skip(LEARNING_DAYS * DAY_SECONDS / LOOK_SECONDS);
    let (used, all) = measured.fold((0.0, 0.0), |(used, all), outlook| {
        (used + f64::from(matches!(outlook, Outlook::Use(..))), all + 1.0)
    });
    100.0 * used / all
}

/// Follows the traffic, with replicas for `target` connections each; what is above is always counted by [`TARGET`].
pub(crate) fn follow(traffic: &Traffic, outlooks: &[Outlook], way: Way, target: u32) -> Outcome {
    let mut wish = Wish::new(Scale {
        min: if way == Way::Fixed { MAX } else { 1 },
        max: MAX,
        target_connections: target,
        cooldown: COOLDOWN,
        prediction: Some(PREDICTION),
    });
    // When each was ordered, the oldest first; the first was there before.
    let mut replicas: VecDeque<Option<usize>> = VecDeque::from([None]);
    let mut outcome = Outcome::default();
    for (second, (arrived, live)) in traffic.arrived.iter().zip(&traffic.live).enumerate() {
        let is_measured = second >= LEARNING_DAYS * DAY_SECONDS;
        let is_ready =
            |ordered: &&Option<usize>| ordered.is_none_or(|ordered| second.saturating_sub(ordered) >= START_SECONDS);
        let running = replicas.len() as u16;
        let ready = replicas.iter().filter(is_ready).count() as u16;
        if is_measured {
            outcome.connections += f64::from(*arrived);
            if *live > u32::from(ready).saturating_mul(TARGET) {
                outcome.above += f64::from(*arrived);
            }
            outcome.replica_minutes += f64::from(running) / 60.0;
        }
        if second % 60 == 0 {
            outcome.ready.push(ready);
        }
        if second % LOOK_SECONDS != 0 {
            continue;
        }
        let expected = outlooks
            .get(second / LOOK_SECONDS)
            .and_then(|outlook| way.expected(outlook));
        let now = Duration::from_secs(second as u64);
        let wanted = wish.decide(now, u64::from(*live), Replicas { running, ready }, expected);
        outcome.changes += f64::from(is_measured && wanted != running);
        // The newest go first: they may still be starting.
        replicas.resize(usize::from(wanted), Some(second));
    }
    outcome
}

//! How many replicas a managed service is to have: its rules, what it has seen, and what it expects.
//!
//! [`Scaling`] is one service's: it is told the load every few seconds, and says how many replicas it wants. [`forecast`] learns the
//! pattern of the days and says how much it can be trusted; [`wish`] turns load and forecast into a number.
//! Called by the thread that keeps the replicas, and by experiment A-7, with simulated time.
//!
//! Everything here is pure: time is an argument, and nothing starts, stops or asks a process.
//! What one call may cost: [`forecast`] says; memory is bounded by the season's points, whatever the load.
//!
//! May not: read a clock, start a replica, panic over any load.

use std::time::Duration;

use crate::api;
use crate::config::Scale;

pub mod forecast;
pub mod wish;

use forecast::{Forecaster, Outlook};
use wish::{Replicas, Wish};

/// A service that scales by itself.
#[derive(Clone, Debug)]
pub struct Scaling {
    rules: Scale,
    wish: Wish,
    /// `None` = `predict = "off"`.
    forecaster: Option<Forecaster>,
    last: Option<Decision>,
}

/// What was decided, and from what.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Decision {
    /// How many replicas there are to be: what to hand to whoever keeps them.
    pub wanted: u16,
    /// As they were.
    pub replicas: Replicas,
    /// Live then.
    pub connections: u64,
    /// `None` = `predict = "off"`.
    pub outlook: Option<Outlook>,
}

impl Scaling {
    /// One that has seen nothing yet.
    #[must_use]
    pub fn new(rules: Scale) -> Self {
        Self {
            rules,
            wish: Wish::new(rules),
            forecaster: rules.prediction.map(Forecaster::new),
            last: None,
        }
    }

    /// The same with other rules, after a reload: what was learnt stays, if it is still what is asked for.
    #[must_use]
    pub fn with_rules(mut self, rules: Scale) -> Self {
        if self.rules.prediction != rules.prediction {
            self.forecaster = rules.prediction.map(Forecaster::new);
        }
        if self.rules != rules {
            self.wish = Wish::new(rules);
        }
        self.rules = rules;
        self
    }

    /// How often [`decide`](Self::decide) is to be called: at least once in a point of the forecast, and every two seconds.
    #[must_use]
    pub fn interval(&self) -> Duration {
        const OFTEN: Duration = Duration::from_secs(2);
        let half = self
            .forecaster
            .as_ref()
            .and_then(|forecaster| forecaster.step().checked_div(2));
        half.map_or(OFTEN, |half| half.min(OFTEN))
    }

    /// Takes in the load of a moment, and says how many replicas it and the time ahead need. `now` counts from any moment, the
    /// same at each call.
    pub fn decide(&mut self, now: Duration, connections: u64, replicas: Replicas) -> Decision {
        let outlook = self.forecaster.as_mut().map(|forecaster| {
            forecaster.observe(now, connections);
            forecaster.outlook()
        });
        let expected = outlook.and_then(Outlook::expected);
        let decision = Decision {
            wanted: self.wish.decide(now, connections, replicas, expected),
            replicas,
            connections,
            outlook,
        };
        self.last = Some(decision);
        decision
    }

    /// What the API tells of the last decision; `None` before the first. `time` says the wall clock's RFC 3339 of a moment of
    /// [`decide`](Self::decide)'s time.
    pub fn shown(&self, time: impl Fn(Duration) -> String) -> Option<api::Scaling> {
        let decision = self.last?;
        let prediction = match decision.outlook {
            None => api::Prediction::Off,
            Some(Outlook::Learning { have, need }) => api::Prediction::Learning {
                have_seconds: have.as_secs_f64(),
                need_seconds: need.as_secs_f64(),
            },
            Some(Outlook::NotBetter(errors)) => api::Prediction::NotBetter {
                own_error: errors.own,
                naive_error: errors.naive,
            },
            Some(Outlook::Use(forecast, errors)) => api::Prediction::Used {
                at: time(forecast.at),
                mean: forecast.mean,
                lower: forecast.lower,
                upper: forecast.upper,
                own_error: errors.own,
                naive_error: errors.naive,
            },
        };
        Some(api::Scaling {
            target_connections: self.rules.target_connections,
            min: self.rules.min,
            max: self.rules.max,
            wanted: decision.wanted,
            running: decision.replicas.running,
            ready: decision.replicas.ready,
            connections: decision.connections,
            prediction,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::f64::consts::TAU;

    use super::*;
    use crate::config::Prediction;

    const RULES: Scale = Scale {
        min: 1,
        max: 20,
        target_connections: 100,
        cooldown: Duration::from_secs(30),
        prediction: Some(Prediction {
            ahead: Duration::from_secs(60),
            season: Duration::from_mins(20),
        }),
    };

    fn load(now: Duration) -> u64 {
        (800.0 + 700.0 * (now.as_secs_f64() / 1200.0 * TAU).sin()) as u64
    }

    /// After so long, if every replica is there at once.
    fn follow(scaling: &mut Scaling, until: Duration) -> Decision {
        let mut replicas = Replicas { running: 1, ready: 1 };
        let mut now = Duration::ZERO;
        loop {
            let decision = scaling.decide(now, load(now), replicas);
            (replicas.running, replicas.ready) = (decision.wanted, decision.wanted);
            now += scaling.interval();
            if now > until {
                return decision;
            }
        }
    }

    #[test]
    fn what_is_to_come_is_wanted_before_it_comes() {
        let mut scaling = Scaling::new(RULES);
        // At the steepest, four seasons on.
        let decision = follow(&mut scaling, Duration::from_mins(80));
        let now = wish_of(load(Duration::from_mins(80)));
        let soon = wish_of(load(Duration::from_mins(81)));
        assert!(
            soon > now && decision.wanted >= soon,
            "{decision:?}: {now} now, {soon} in a minute"
        );
    }

    fn wish_of(load: u64) -> u16 {
        u16::try_from(load.div_ceil(100)).expect("few")
    }

    #[test]
    fn without_prediction_the_load_of_the_moment_counts() {
        let rules = Scale {
            prediction: None,
            ..RULES
        };
        let mut scaling = Scaling::new(rules);
        let decision = follow(&mut scaling, Duration::from_mins(80));
        assert_eq!(
            (decision.wanted, decision.outlook),
            (wish_of(decision.connections), None)
        );
        let shown = scaling.shown(|_| String::new()).expect("a decision");
        assert_eq!(shown.prediction, api::Prediction::Off);
    }

    #[test]
    fn a_reload_keeps_what_was_learnt_unless_something_else_is_to_be_learnt() {
        let mut scaling = Scaling::new(RULES);
        follow(&mut scaling, Duration::from_mins(80));
        let prediction = |scaling: &mut Scaling, rules: Scale| {
            let mut scaling = scaling.clone().with_rules(rules);
            scaling.decide(Duration::from_mins(81), 900, Replicas { running: 1, ready: 1 });
            scaling
                .shown(|at| format!("{} s", at.as_secs()))
                .expect("a decision")
                .prediction
        };
        let kept = prediction(&mut scaling, Scale { max: 30, ..RULES });
        assert!(
            matches!(&kept, api::Prediction::Used { at, .. } if at == "4920 s"),
            "{kept:?}"
        );
        let other = Prediction {
            ahead: Duration::from_secs(50),
            season: Duration::from_mins(20),
        };
        let anew = prediction(
            &mut scaling,
            Scale {
                prediction: Some(other),
                ..RULES
            },
        );
        assert!(matches!(anew, api::Prediction::Learning { .. }), "{anew:?}");
    }

    #[test]
    fn new_bounds_hold_at_the_next_look() {
        let mut scaling = Scaling::new(RULES);
        follow(&mut scaling, Duration::from_mins(10));
        let mut scaling = scaling.with_rules(Scale { max: 4, ..RULES });
        let decision = scaling.decide(Duration::from_mins(11), 1500, Replicas { running: 15, ready: 15 });
        assert_eq!(decision.wanted, 4);
    }
}

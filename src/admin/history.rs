//! The last half hour: what every sample said, a column a figure.
//!
//! Filled by the sampler, read by the API; on the admin thread alone. Bounded: with very many backends fewer minutes are kept.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use hyper::body::Bytes;

use crate::api;

/// From one sample to the next.
pub(super) const INTERVAL: Duration = Duration::from_secs(2);
/// What is kept: half an hour.
pub(super) const SPAN: Duration = Duration::from_mins(30);
/// Half an hour.
const SAMPLES_MAX: usize = 900;
/// Points of all backends together, 48 bytes each: 48 MB, which half an hour of 1,100 backends fills.
const POINTS_MAX: usize = 1_000_000;

/// Answers that are kept until the next sample.
const PAGES_MAX: usize = 8;

/// A backend at one sample.
#[derive(Clone, Copy, Debug)]
struct Point {
    /// Which sample.
    number: u64,
    total: u64,
    to_backend: u64,
    to_client: u64,
    active: u32,
    latency_seconds: Option<f32>,
    is_up: bool,
}

/// The samples.
#[derive(Debug, Default)]
pub(super) struct Samples {
    times: VecDeque<String>,
    /// The number of the first of them.
    first: u64,
    /// By service and backend.
    points: HashMap<(String, String), VecDeque<Point>>,
    points_count: usize,
    /// What was asked for since the last sample, as JSON: who asks again gets the same bytes.
    pages: HashMap<(Option<String>, usize), Bytes>,
}

impl Samples {
    /// One more; the oldest go.
    pub(super) fn add(&mut self, sample: &api::Sample) {
        self.pages.clear();
        let number = self.first.saturating_add(u64::try_from(self.times.len()).unwrap_or(0));
        self.times.push_back(sample.time.clone());
        for service in &sample.services {
            for backend in &service.backends {
                let key = (service.name.clone(), backend.name.clone());
                self.points.entry(key).or_default().push_back(point(number, backend));
                self.points_count = self.points_count.saturating_add(1);
            }
        }
        self.trim();
    }

    fn trim(&mut self) {
        while self.times.len() > SAMPLES_MAX || (self.points_count > POINTS_MAX && self.times.len() > 1) {
            self.drop_oldest();
        }
    }

    /// Those of a process before this one, in front of what there is: what isn't older than that is there already.
    pub(super) fn put_before(&mut self, before: &[api::Sample]) {
        let own = std::mem::take(self);
        for sample in before {
            if own.times.front().is_none_or(|first| sample.time < *first) {
                self.add(sample);
            }
        }
        let shift = self.first.saturating_add(u64::try_from(self.times.len()).unwrap_or(0));
        for time in own.times {
            self.times.push_back(time);
        }
        for (key, points) in own.points {
            let count = points.len();
            let moved = points.into_iter().map(|point| Point {
                number: point.number.saturating_sub(own.first).saturating_add(shift),
                ..point
            });
            self.points.entry(key).or_default().extend(moved);
            self.points_count = self.points_count.saturating_add(count);
        }
        self.trim();
    }

    fn drop_oldest(&mut self) {
        let Self {
            times,
            first,
            points,
            points_count,
            ..
        } = self;
        times.pop_front();
        *first = first.saturating_add(1);
        points.retain(|_, points| {
            while points.front().is_some_and(|point| point.number < *first) {
                points.pop_front();
                *points_count = points_count.saturating_sub(1);
            }
            !points.is_empty()
        });
    }

    /// The last so many samples as JSON, made once for everybody who asks between two samples: of thousands of backends it is megabytes.
    pub(super) fn page(&mut self, count: usize, service: Option<&str>) -> serde_json::Result<Bytes> {
        let key = (service.map(ToOwned::to_owned), count);
        if let Some(page) = self.pages.get(&key) {
            return Ok(page.clone());
        }
        let page = Bytes::from(serde_json::to_vec(&self.last(count, service))?);
        if self.pages.len() >= PAGES_MAX {
            self.pages.clear();
        }
        self.pages.insert(key, page.clone());
        Ok(page)
    }

    /// The last so many samples, of one service or of all.
    fn last(&self, count: usize, service: Option<&str>) -> api::History {
        let skipped = self.times.len().saturating_sub(count);
        let first = self.first.saturating_add(u64::try_from(skipped).unwrap_or(0));
        let length = self.times.len().saturating_sub(skipped);
        let mut history = api::History {
            interval_seconds: INTERVAL.as_secs_f64(),
            times: self.times.iter().skip(skipped).cloned().collect(),
            ..api::History::default()
        };
        for ((of_service, backend), points) in &self.points {
            if service.is_some_and(|service| service != of_service) {
                continue;
            }
            let mut places: Vec<Option<&Point>> = vec![None; length];
            for point in points {
                let place = point
                    .number
                    .checked_sub(first)
                    .and_then(|place| usize::try_from(place).ok());
                if let Some(place) = place.and_then(|place| places.get_mut(place)) {
                    *place = Some(point);
                }
            }
            if places.iter().all(Option::is_none) {
                continue;
            }
            let columns = history.services.entry(of_service.clone()).or_default();
            columns.backends.insert(backend.clone(), self::columns(&places));
        }
        history
    }
}

fn point(number: u64, backend: &api::BackendSample) -> Point {
    #[allow(clippy::cast_possible_truncation, reason = "a latency to seven digits")]
    let latency_seconds = backend.latency_seconds.map(|seconds| seconds as f32);
    Point {
        number,
        total: backend.connections.total,
        to_backend: backend.bytes.to_backend,
        to_client: backend.bytes.to_client,
        active: u32::try_from(backend.connections.active).unwrap_or(u32::MAX),
        latency_seconds,
        is_up: matches!(backend.state, api::BackendState::Up | api::BackendState::Starting),
    }
}

fn columns(points: &[Option<&Point>]) -> api::HistoryOfBackend {
    fn column<T>(points: &[Option<&Point>], figure: impl Fn(&Point) -> Option<T>) -> Vec<Option<T>> {
        points.iter().map(|point| point.and_then(&figure)).collect()
    }
    api::HistoryOfBackend {
        active: column(points, |point| Some(u64::from(point.active))),
        total: column(points, |point| Some(point.total)),
        to_backend: column(points, |point| Some(point.to_backend)),
        to_client: column(points, |point| Some(point.to_client)),
        up: column(points, |point| Some(point.is_up)),
        latency: column(points, |point| point.latency_seconds.map(micros)),
    }
}

/// As a decimal that says no more than it knows.
fn micros(seconds: f32) -> f64 {
    (f64::from(seconds) * 1e6).round() / 1e6
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(number: u64, names: &[&str]) -> api::Sample {
        let backends = names.iter().map(|name| api::BackendSample {
            name: (*name).to_owned(),
            state: api::BackendState::Up,
            connections: api::BackendConnections {
                active: 1,
                total: number,
                failed: 0,
            },
            bytes: api::Bytes::default(),
            latency_seconds: Some(0.000_25),
        });
        api::Sample {
            time: format!("t{number}"),
            connections: api::ProcessConnections::default(),
            services: vec![api::ServiceSample {
                name: "echo".to_owned(),
                connections: api::ServiceConnections::default(),
                bytes: api::Bytes::default(),
                backends: backends.collect(),
            }],
        }
    }

    #[test]
    fn each_backend_has_a_place_for_every_sample() {
        let mut samples = Samples::default();
        samples.add(&sample(0, &["a"]));
        samples.add(&sample(1, &["a", "b"]));
        samples.add(&sample(2, &["b"]));
        let history = samples.last(900, Some("echo"));
        assert_eq!(history.times, ["t0", "t1", "t2"]);
        let backends = &history.services["echo"].backends;
        assert_eq!(backends["a"].total, [Some(0), Some(1), None]);
        assert_eq!(backends["b"].total, [None, Some(1), Some(2)]);
        assert_eq!(backends["b"].latency[1], Some(0.000_25));
        assert_eq!(samples.last(1, None).services["echo"].backends.len(), 1);
        assert!(samples.last(900, Some("other")).services.is_empty());
    }

    #[test]
    fn the_oldest_go_and_with_them_who_is_no_more() {
        let mut samples = Samples::default();
        samples.add(&sample(0, &["gone"]));
        for number in 1..=901 {
            samples.add(&sample(number, &["a"]));
        }
        let history = samples.last(usize::MAX, None);
        assert_eq!((history.times.len(), history.times[0].as_str()), (900, "t2"));
        assert_eq!(history.services["echo"].backends.keys().collect::<Vec<_>>(), ["a"]);
        assert_eq!(history.services["echo"].backends["a"].total[0], Some(2));
        assert_eq!(samples.points_count, 900);
    }

    #[test]
    fn samples_of_a_process_before_stand_in_front() {
        let times = |samples: &Samples| samples.times.iter().cloned().collect::<Vec<_>>();
        let mut samples = Samples::default();
        samples.add(&sample(5, &["a", "b"]));
        samples.add(&sample(6, &["a", "b"]));
        // What both have counts once, and who is gone is there as long as its samples.
        samples.put_before(&[sample(3, &["a", "gone"]), sample(4, &["a"]), sample(5, &["a"])]);
        samples.add(&sample(7, &["a"]));
        assert_eq!(times(&samples), ["t3", "t4", "t5", "t6", "t7"]);
        let history = samples.last(10, None);
        let backends = &history.services["echo"].backends;
        let total = |name: &str| backends[name].total.clone();
        assert_eq!(total("a"), [Some(3), Some(4), Some(5), Some(6), Some(7)]);
        assert_eq!(total("b"), [None, None, Some(5), Some(6), None]);
        assert_eq!(total("gone"), [Some(3), None, None, None, None]);
        assert_eq!(samples.points_count, 8);
    }
}

//! Who does what, when: the run's options cut into one share for each thread, and the planned times of an open loop.
//! Pure: no socket, no clock.

use super::options::LoadOptions;
use std::time::{Duration, Instant};

/// What one thread is to do.
#[derive(Clone, Debug)]
pub(super) struct Share {
    /// Connections at a time.
    pub(super) lanes: usize,
    /// Connections in all; those beyond `lanes` are opened as others end.
    pub(super) connections: u64,
    /// The number of the first of them, unique in the run.
    pub(super) first_number: u64,
    /// Requests of each.
    pub(super) requests: u64,
    /// When requests are due, in an open loop.
    pub(super) schedule: Option<Schedule>,
}

/// When the requests of an open loop are due: evenly, from its start on, however late earlier ones are.
#[derive(Clone, Debug)]
pub(super) struct Schedule {
    per_second: f64,
    offset_seconds: f64,
    total: Option<u64>,
    duration: Option<Duration>,
    taken: u64,
}

impl Schedule {
    /// When the next request is due, counted from `start`; nothing when all are taken.
    pub(super) fn next_due(&self, start: Instant) -> Option<Instant> {
        if self.total.is_some_and(|total| self.taken >= total) {
            return None;
        }
        let seconds = self.offset_seconds + self.taken as f64 / self.per_second;
        let after = Duration::try_from_secs_f64(seconds).ok()?;
        if self.duration.is_some_and(|duration| after >= duration) {
            return None;
        }
        start.checked_add(after)
    }

    /// Takes the next request.
    pub(super) fn take(&mut self) {
        self.taken = self.taken.saturating_add(1);
    }
}

/// Cuts a run into shares: connections and lanes as evenly as they divide, the rate in proportion.
pub(super) fn shares(options: &LoadOptions, threads: usize) -> Vec<Share> {
    let counts = |total: u64, index: usize| {
        let threads = threads.max(1) as u64;
        let more = u64::from((index as u64) < total.checked_rem(threads).unwrap_or_default());
        total.checked_div(threads).unwrap_or_default().saturating_add(more)
    };
    let lanes_total = options.concurrency as u64;
    // Against the clock, every lane keeps its one connection until the end.
    let (connections_total, requests) = match options.duration {
        Some(_) => (lanes_total, u64::MAX),
        None => (options.connections, options.requests),
    };
    let mut first_number = 0_u64;
    (0..threads)
        .map(|index| {
            let connections = counts(connections_total, index);
            let part = connections as f64 / connections_total.max(1) as f64;
            let share = Share {
                lanes: usize::try_from(counts(lanes_total, index)).unwrap_or(usize::MAX),
                connections,
                first_number,
                requests,
                schedule: options.rate.map(|rate| Schedule {
                    per_second: rate * part,
                    offset_seconds: index as f64 / rate,
                    total: match options.duration {
                        Some(_) => None,
                        None => Some(connections.saturating_mul(requests)),
                    },
                    duration: options.duration,
                    taken: 0,
                }),
            };
            first_number = first_number.saturating_add(connections);
            share
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options() -> LoadOptions {
        LoadOptions {
            connections: 7,
            requests: 10,
            concurrency: 5,
            ..LoadOptions::new(([127, 0, 0, 1], 9).into())
        }
    }

    #[test]
    fn the_shares_add_up_and_number_every_connection_once() {
        let shares = shares(&options(), 3);
        assert_eq!(shares.iter().map(|share| share.lanes).sum::<usize>(), 5);
        let mut next = 0;
        for share in shares {
            assert_eq!(share.first_number, next);
            next += share.connections;
        }
        assert_eq!(next, 7);
    }

    #[test]
    fn an_open_loop_plans_the_rate_over_all_threads_and_every_request() {
        let options = LoadOptions {
            rate: Some(1000.0),
            ..options()
        };
        let start = Instant::now();
        let mut dues = Vec::new();
        for mut schedule in shares(&options, 3).into_iter().filter_map(|share| share.schedule) {
            while let Some(due) = schedule.next_due(start) {
                dues.push(due);
                schedule.take();
            }
        }
        assert_eq!(dues.len(), 70);
        let last = dues.into_iter().max().unwrap().duration_since(start);
        assert!(
            last > Duration::from_millis(65) && last < Duration::from_millis(75),
            "{last:?}"
        );
    }

    #[test]
    fn against_the_clock_an_open_loop_ends_with_it() {
        let options = LoadOptions {
            rate: Some(100.0),
            duration: Some(Duration::from_secs(1)),
            ..options()
        };
        let mut schedule = shares(&options, 1)[0].schedule.clone().unwrap();
        let mut count = 0;
        while schedule.next_due(Instant::now()).is_some() {
            schedule.take();
            count += 1;
        }
        assert_eq!(count, 100);
    }
}

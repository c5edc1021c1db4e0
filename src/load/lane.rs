//! A lane: one place in the window of connections at a time, and what comes next on it.
//!
//! This file has the decisions (request answered, connection closed, something failed: what now), `worker` the event
//! loop that calls them. A failed request costs its connection; the lane's next request opens another.

use super::connection::Connection;
use super::failure::FailureKind;
use super::payload::Payload;
use super::worker::Worker;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// Rest after a failed connect in a run against the clock, which would otherwise spin on a dead target.
const CONNECT_BACK_OFF: Duration = Duration::from_millis(50);

/// What a lane is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LaneState {
    /// Nothing is left for it.
    Vacant,
    /// Its next request is to be begun in its turn.
    Start,
    /// Its next request is to be begun when its timer says.
    Resting,
    /// Connecting ahead of the first request of an open loop.
    Opening,
    /// A request is under way, its connect included.
    Request,
    /// Waits for a request to be due, connected or not.
    Idle,
    /// Done; stays connected until all lanes are.
    Held,
    /// Our FIN is sent.
    Closing,
}

/// One place in the window.
pub(super) struct Lane {
    pub(super) connection: Option<Connection>,
    pub(super) state: LaneState,
    /// The connection's number in the run.
    number: u64,
    /// Requests begun under this number.
    begun: u64,
    /// Requests left for this number.
    left: u64,
    /// When the request's time began to count.
    started: Instant,
    /// When bytes last moved, or the connect began.
    pub(super) progress: Instant,
}

impl Lane {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            connection: None,
            state: LaneState::Vacant,
            number: 0,
            begun: 0,
            left: 0,
            started: now,
            progress: now,
        }
    }

    pub(super) fn is_connecting(&self) -> bool {
        self.connection.as_ref().is_none_or(Connection::is_connecting)
    }
}

impl Worker<'_> {
    /// Gives the lane the next connection's number and begins with it; without one the lane is done for good.
    pub(super) fn renew(&mut self, index: usize) {
        let may_go_on = self.share.connections > 0 && !self.is_time_over() && !self.is_schedule_over();
        let (number, requests) = (self.share.first_number, self.share.requests);
        let Some(lane) = self.lanes.get_mut(index) else {
            return;
        };
        if !may_go_on {
            lane.state = LaneState::Vacant;
            self.vacant = self.vacant.saturating_add(1);
            return;
        }
        self.share.connections = self.share.connections.saturating_sub(1);
        self.share.first_number = number.saturating_add(1);
        lane.number = number;
        lane.begun = 0;
        lane.left = requests;
        if self.share.schedule.is_some() && !self.options.new_connection {
            lane.state = LaneState::Opening;
            self.opening = self.opening.saturating_add(1);
            self.open(index);
        } else {
            self.next(index);
        }
    }

    /// Begins the lane's next request, waits for one to be due, or ends the lane's connection.
    pub(super) fn next(&mut self, index: usize) {
        let is_over = self.is_time_over();
        let is_open_loop = self.share.schedule.is_some();
        let has_more = !self.is_schedule_over();
        let Some(lane) = self.lanes.get_mut(index) else {
            return;
        };
        if is_open_loop && lane.left > 0 && has_more {
            lane.state = LaneState::Idle;
            self.idle.push_back(index);
        } else if !is_open_loop && lane.left > 0 && !is_over {
            self.begin(index, Instant::now());
        } else {
            self.retire(index);
        }
    }

    /// Begins a request whose time counts from `started`.
    pub(super) fn begin(&mut self, index: usize, started: Instant) {
        let Some(lane) = self.lanes.get_mut(index) else {
            return;
        };
        lane.state = LaneState::Request;
        lane.left = lane.left.saturating_sub(1);
        lane.started = started;
        lane.progress = started.max(self.now);
        self.recorder.start(started);
        if lane.connection.is_some() {
            self.exchange(index);
        } else {
            self.open(index);
        }
    }

    fn exchange(&mut self, index: usize) {
        let Some(lane) = self.lanes.get_mut(index) else {
            return;
        };
        let payload = Payload::new(u64::from(self.options.seed), lane.number, lane.begun);
        lane.begun = lane.begun.saturating_add(1);
        if let Some(connection) = &mut lane.connection {
            connection.begin(payload, self.options.sizes());
        }
    }

    pub(super) fn on_connected(&mut self, index: usize) {
        self.shared.count_open();
        self.recorder.opened = self.recorder.opened.saturating_add(1);
        let Some(lane) = self.lanes.get_mut(index) else {
            return;
        };
        match lane.state {
            LaneState::Opening => {
                self.opening = self.opening.saturating_sub(1);
                self.next(index);
            }
            _ => {
                // In a closed loop on lasting connections a request's time is its own; else the connect belongs to it.
                if self.share.schedule.is_none() && !self.options.new_connection {
                    lane.started = Instant::now();
                }
                self.exchange(index);
            }
        }
    }

    pub(super) fn on_answered(&mut self, index: usize) {
        let Some(lane) = self.lanes.get_mut(index) else {
            return;
        };
        self.recorder.answer(lane.started, Instant::now());
        self.shared.requests_done.fetch_add(1, Ordering::Relaxed);
        if self.options.new_connection {
            self.finish(index);
        } else {
            self.next(index);
        }
    }

    pub(super) fn on_closed(&mut self, index: usize) {
        self.drop_connection(index);
        if self.options.new_connection {
            self.next(index);
        } else {
            self.renew(index);
        }
    }

    /// Counts a failure, drops the connection and sees to it that the lane goes on in its next turn.
    pub(super) fn on_failed(&mut self, index: usize, kind: FailureKind) {
        let now = Instant::now();
        let Some(lane) = self.lanes.get_mut(index) else {
            return;
        };
        let was_connecting = lane.is_connecting();
        match lane.state {
            LaneState::Request => {
                self.recorder.fail_request(kind, now);
                self.shared.requests_done.fetch_add(1, Ordering::Relaxed);
                if was_connecting && self.options.duration.is_some() {
                    lane.state = LaneState::Resting;
                    self.set_timer(index, CONNECT_BACK_OFF);
                } else {
                    lane.state = LaneState::Start;
                    self.again.push(index);
                }
            }
            LaneState::Opening => {
                // A connection that can't be opened costs the request that is due next.
                self.recorder.fail_request(kind, now);
                self.shared.requests_done.fetch_add(1, Ordering::Relaxed);
                lane.left = lane.left.saturating_sub(1);
                if let Some(schedule) = &mut self.share.schedule {
                    schedule.take();
                }
                self.opening = self.opening.saturating_sub(1);
                lane.state = LaneState::Start;
                self.again.push(index);
            }
            LaneState::Idle => self.recorder.fail(kind, now),
            LaneState::Held | LaneState::Closing => {
                self.recorder.fail(kind, now);
                self.on_closed(index);
                return;
            }
            LaneState::Vacant | LaneState::Start | LaneState::Resting => {}
        }
        self.drop_connection(index);
    }

    /// Ends a lane's connection: its requests are done, or the time is over.
    pub(super) fn retire(&mut self, index: usize) {
        let is_connected = self.lanes.get(index).is_some_and(|lane| lane.connection.is_some());
        self.shared.finish_lane();
        if is_connected && self.shared.is_holding() {
            self.set_state(index, LaneState::Held);
        } else if is_connected {
            self.finish(index);
        } else {
            self.renew(index);
        }
    }

    /// Sends our FIN; the other's is awaited.
    pub(super) fn finish(&mut self, index: usize) {
        let now = self.now;
        let Some(lane) = self.lanes.get_mut(index) else {
            return;
        };
        lane.state = LaneState::Closing;
        lane.progress = now;
        let finished = lane.connection.as_mut().map(Connection::finish);
        if let Some(Err(kind)) = finished {
            self.on_failed(index, kind);
        }
    }

    fn set_state(&mut self, index: usize, state: LaneState) {
        if let Some(lane) = self.lanes.get_mut(index) {
            lane.state = state;
        }
    }

    fn drop_connection(&mut self, index: usize) {
        let connection = self.lanes.get_mut(index).and_then(|lane| lane.connection.take());
        if connection.is_some_and(|connection| !connection.is_connecting()) {
            self.shared.count_closed();
        }
    }
}

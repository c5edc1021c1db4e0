//! One thread of the client: an edge-triggered event loop over its lanes.
//!
//! Started by `run`; `lane` has the decisions. It must never block but in `poll`, and never recurse from one lane's
//! failure into the next attempt: those wait for their turn in `again`.

use super::alarm::Alarm;
use super::connection::{Bench, Connection, Step};
use super::failure::FailureKind;
use super::lane::{Lane, LaneState};
use super::options::LoadOptions;
use super::plan::{Schedule, Share};
use super::ports::Ports;
use super::shared::Shared;
use super::stats::Recorder;
use mio::{Events, Interest, Poll, Token};
use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::io;
use std::time::{Duration, Instant};

/// The token of the waker; lanes have their index.
pub(super) const WAKE: Token = Token(usize::MAX);

/// The token of the alarm of an open loop.
const ALARM: Token = Token(usize::MAX - 1);

/// Events taken from the kernel at once.
const EVENTS_MAX: usize = 1024;

/// Steps of one lane before the others get their turn.
const STEPS_MAX: usize = 16;

/// How long a lane waits for a local port to get free before it tries again.
const PORT_RETRY: Duration = Duration::from_millis(20);

/// Timeouts are looked for this many times within the shorter of them, so that none is late by more than a tenth.
const SWEEPS_PER_TIMEOUT: u32 = 10;

/// One thread's state.
pub(super) struct Worker<'a> {
    pub(super) options: &'a LoadOptions,
    pub(super) shared: &'a Shared,
    pub(super) share: Share,
    pub(super) lanes: Vec<Lane>,
    /// Lanes that are done for good.
    pub(super) vacant: usize,
    /// Lanes that connect ahead of an open loop, which starts when none is left.
    pub(super) opening: usize,
    /// Lanes that wait for a request to be due, first come first served.
    pub(super) idle: VecDeque<usize>,
    /// Lanes that go on without an event.
    pub(super) again: Vec<usize>,
    pub(super) recorder: Recorder,
    /// The time of the current round.
    pub(super) now: Instant,
    started: Instant,
    /// When the schedule began to run.
    loop_start: Option<Instant>,
    timers: BinaryHeap<Reverse<(Instant, usize)>>,
    poll: Poll,
    alarm: Option<Alarm>,
    ports: Ports,
    bench: Bench,
}

impl<'a> Worker<'a> {
    /// `ports` and `share` are this thread's own.
    pub(super) fn new(
        options: &'a LoadOptions,
        shared: &'a Shared,
        share: Share,
        poll: Poll,
        ports: Ports,
    ) -> io::Result<Self> {
        let now = Instant::now();
        let alarm = match share.schedule {
            Some(_) => Some(Alarm::new(poll.registry(), ALARM)?),
            None => None,
        };
        Ok(Self {
            options,
            shared,
            lanes: (0..share.lanes).map(|_| Lane::new(now)).collect(),
            share,
            vacant: 0,
            opening: 0,
            idle: VecDeque::new(),
            again: Vec::new(),
            recorder: Recorder::new(shared.started),
            now,
            started: now,
            loop_start: None,
            timers: BinaryHeap::new(),
            poll,
            alarm,
            ports,
            bench: Bench::new(),
        })
    }

    /// Does its share, or what it can until told to stop.
    ///
    /// # Errors
    /// When the event loop itself fails, which would be a bug of this file.
    pub(super) fn run(mut self) -> io::Result<Recorder> {
        let mut events = Events::with_capacity(EVENTS_MAX);
        for index in 0..self.lanes.len() {
            self.renew(index);
        }
        let sweep_every = self
            .options
            .timeout
            .min(self.options.connect_timeout)
            .checked_div(SWEEPS_PER_TIMEOUT)
            .unwrap_or_default()
            .clamp(Duration::from_millis(1), Duration::from_millis(500));
        let mut next_sweep = after(self.now, sweep_every);
        while self.vacant < self.lanes.len() && !self.shared.stop.is_asked() {
            let timeout = self.prepare_wait(next_sweep)?;
            if let Err(error) = self.poll.poll(&mut events, timeout) {
                if error.kind() == io::ErrorKind::Interrupted {
                    continue;
                }
                return Err(error);
            }
            self.now = Instant::now();
            for event in &events {
                let index = event.token().0;
                let connection = self.lanes.get_mut(index).and_then(|lane| lane.connection.as_mut());
                if let Some(connection) = connection {
                    connection.note(event);
                    self.advance(index);
                }
            }
            self.run_timers();
            if self.now >= next_sweep {
                self.fail_timed_out();
                next_sweep = after(self.now, sweep_every);
            }
            self.begin_due();
            for index in std::mem::take(&mut self.again) {
                self.start_if_waiting(index);
                self.advance(index);
            }
            self.let_go();
        }
        self.recorder.verified_bytes = self.bench.verified_bytes;
        Ok(self.recorder)
    }

    fn prepare_wait(&mut self, next_sweep: Instant) -> io::Result<Option<Duration>> {
        if !self.again.is_empty() {
            return Ok(Some(Duration::ZERO));
        }
        let due = match self.idle.is_empty() {
            true => None,
            false => self.next_due(),
        };
        if let (Some(alarm), Some(due)) = (&mut self.alarm, due) {
            alarm.set(due)?;
        }
        let timer = self.timers.peek().map(|Reverse((at, _))| *at);
        let until = timer.into_iter().chain([next_sweep]).min();
        Ok(until.map(|at| at.saturating_duration_since(Instant::now())))
    }

    /// Moves a lane on until it has to wait.
    fn advance(&mut self, index: usize) {
        for _ in 0..STEPS_MAX {
            let Some(lane) = self.lanes.get_mut(index) else {
                return;
            };
            let Some(connection) = &mut lane.connection else {
                return;
            };
            let step = connection.drive(&mut self.bench);
            if connection.take_moved() {
                lane.progress = self.now;
            }
            match step {
                Ok(Step::Wait) => return,
                Ok(Step::Again) => break,
                Ok(Step::Connected) => self.on_connected(index),
                Ok(Step::Answered) => self.on_answered(index),
                Ok(Step::Closed) => self.on_closed(index),
                Err(kind) => {
                    self.on_failed(index, kind);
                    return;
                }
            }
        }
        self.again.push(index);
    }

    fn start_if_waiting(&mut self, index: usize) {
        if self.lanes.get(index).is_some_and(|lane| lane.state == LaneState::Start) {
            self.next(index);
        }
    }

    /// Begins the lane's connect.
    pub(super) fn open(&mut self, index: usize) {
        let stream = match self.ports.connect() {
            Ok(Some(stream)) => stream,
            Ok(None) => {
                self.set_timer(index, PORT_RETRY);
                return;
            }
            Err(error) => {
                self.on_failed(index, FailureKind::of_connect(&error));
                return;
            }
        };
        let mut connection = Connection::new(stream);
        let interest = Interest::READABLE | Interest::WRITABLE;
        let registered = self
            .poll
            .registry()
            .register(connection.stream_mut(), Token(index), interest);
        if let Err(error) = registered {
            self.on_failed(index, FailureKind::of_connect(&error));
        } else if let Some(lane) = self.lanes.get_mut(index) {
            lane.connection = Some(connection);
        }
    }

    pub(super) fn set_timer(&mut self, index: usize, delay: Duration) {
        self.timers.push(Reverse((after(self.now, delay), index)));
    }

    fn run_timers(&mut self) {
        while let Some(Reverse((at, index))) = self.timers.peek().copied() {
            if at > self.now {
                return;
            }
            self.timers.pop();
            let waiting = self.lanes.get(index).filter(|lane| lane.connection.is_none());
            match waiting.map(|lane| lane.state) {
                Some(LaneState::Request | LaneState::Opening) => self.open(index),
                Some(LaneState::Resting) => self.next(index),
                _ => {}
            }
        }
    }

    fn fail_timed_out(&mut self) {
        for index in 0..self.lanes.len() {
            let Some(lane) = self.lanes.get(index) else {
                return;
            };
            if !matches!(lane.state, LaneState::Request | LaneState::Opening | LaneState::Closing) {
                continue;
            }
            let (limit, kind) = match &lane.connection {
                None => (self.options.connect_timeout, FailureKind::NO_LOCAL_PORT),
                Some(connection) if connection.is_connecting() => {
                    (self.options.connect_timeout, FailureKind::ConnectTimeout)
                }
                Some(_) => (self.options.timeout, FailureKind::Timeout),
            };
            if self.now.saturating_duration_since(lane.progress) >= limit {
                self.on_failed(index, kind);
            }
        }
    }

    /// Gives the requests that are due to idle lanes; those that find none stay due, and their time counts.
    fn begin_due(&mut self) {
        if self.share.schedule.is_none() {
            return;
        }
        if self.loop_start.is_none() && self.opening == 0 {
            self.loop_start = Some(self.now);
        }
        while let Some(due) = self.next_due().filter(|due| *due <= self.now) {
            let Some(index) = self.take_idle() else {
                return;
            };
            if let Some(schedule) = &mut self.share.schedule {
                schedule.take();
            }
            self.begin(index, due);
            self.again.push(index);
        }
        if self.is_schedule_over() {
            while let Some(index) = self.take_idle() {
                self.retire(index);
            }
        }
    }

    fn take_idle(&mut self) -> Option<usize> {
        while let Some(index) = self.idle.pop_front() {
            if self.lanes.get(index).is_some_and(|lane| lane.state == LaneState::Idle) {
                return Some(index);
            }
        }
        None
    }

    fn next_due(&self) -> Option<Instant> {
        self.share.schedule.as_ref()?.next_due(self.loop_start?)
    }

    pub(super) fn is_schedule_over(&self) -> bool {
        let start = self.loop_start.unwrap_or(self.now);
        let next = |schedule: &Schedule| schedule.next_due(start).is_none();
        self.share.schedule.as_ref().is_some_and(next)
    }

    /// Whether a closed loop against the clock is to end.
    pub(super) fn is_time_over(&self) -> bool {
        let over = |duration| self.now.saturating_duration_since(self.started) >= duration;
        self.share.schedule.is_none() && self.options.duration.is_some_and(over)
    }

    /// Once every lane of every thread has finished, the held connections end.
    fn let_go(&mut self) {
        if !self.options.holds_all() || self.shared.is_holding() {
            return;
        }
        for index in 0..self.lanes.len() {
            if self.lanes.get(index).is_some_and(|lane| lane.state == LaneState::Held) {
                self.finish(index);
            }
        }
    }
}

fn after(now: Instant, delay: Duration) -> Instant {
    now.checked_add(delay).unwrap_or(now)
}

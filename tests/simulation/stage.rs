//! One session on the simulated kernel, called as the worker calls it: events that were polled, turns, timers; judged after each call.

use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;

use lb::observe::End;
use lb::session::{Session, Step};
use lb::types::{Lane, Moment, Readiness, Side};

use super::kernel::{Buffers, CLIENT, Fd, Id, Kernel, Link};
use super::model;
use super::world::{Shared, SimSocket, SimWorld};

/// Calls in a row that may bring nothing.
const IDLE_CALLS_MAX: u32 = 3;

#[derive(Debug)]
pub(crate) struct Stage {
    pub(crate) world: SimWorld,
    pub(crate) kernel: Shared,
    pub(crate) session: Option<Session<SimWorld>>,
    /// Events that `epoll_wait` has given and the session has not seen.
    pub(crate) fetched: VecDeque<(Lane, Readiness)>,
    /// The session asked to go on.
    pub(crate) is_queued: bool,
    /// Events that it took without acting on them: it moves much at a time.
    pub(crate) deferred: u64,
    pub(crate) end: Option<End>,
    /// Since when everything a dead side sent has reached the other's kernel.
    pub(crate) delivered_since: Option<Moment>,
    idle_calls: u32,
}

impl Stage {
    /// A client was accepted, and its session starts.
    pub(crate) fn start(world: SimWorld, client: Buffers) -> Self {
        Self::start_after(world, client, |_| {})
    }

    /// A client was accepted that has done something by then, and its session starts.
    pub(crate) fn start_after(mut world: SimWorld, client: Buffers, before: impl FnOnce(&mut Kernel)) -> Self {
        let kernel = Rc::clone(&world.kernel);
        let id = kernel
            .borrow_mut()
            .open(Side::Client, Lane::CLIENT, None, Link::Up, client);
        assert_eq!(id, CLIENT);
        before(&mut kernel.borrow_mut());
        kernel.borrow_mut().trace(|| "start".to_owned());
        let (session, step) = Session::start(SimSocket::new(&kernel, id), &mut world);
        let mut stage = Self {
            world,
            kernel,
            session: Some(session),
            fetched: VecDeque::new(),
            is_queued: false,
            deferred: 0,
            end: None,
            delivered_since: None,
            idle_calls: 0,
        };
        stage.after(step);
        stage
    }

    pub(crate) fn now(&self) -> Moment {
        self.kernel.borrow().now
    }

    pub(crate) fn deadline(&self) -> Moment {
        self.session
            .as_ref()
            .map_or(Moment::NEVER, |session| session.deadline(&self.world.options))
    }

    pub(crate) fn advance(&self, span: Duration) {
        let mut kernel = self.kernel.borrow_mut();
        kernel.now = kernel.now.plus(span);
    }

    /// `epoll_wait` gives what a socket has.
    pub(crate) fn poll(&mut self, id: Id) -> bool {
        let mut kernel = self.kernel.borrow_mut();
        let polled = kernel.poll(id);
        let lane = kernel.sockets[id].lane;
        if let Some(ready) = polled {
            self.fetched.push_back((lane, ready));
        }
        polled.is_some()
    }

    /// The session sees a fetched event.
    pub(crate) fn handle(&mut self, place: usize) {
        let Some((lane, ready)) = self.fetched.remove(place) else {
            return;
        };
        self.event(lane, ready);
    }

    pub(crate) fn event(&mut self, lane: Lane, ready: Readiness) {
        {
            let mut kernel = self.kernel.borrow_mut();
            kernel.call += 1;
            kernel.trace(|| format!("event {lane:?} {ready:?}"));
            let told = kernel
                .sockets
                .iter()
                .position(|socket| socket.lane == lane && socket.fd == Fd::Open);
            if let Some(id) = told {
                kernel.sockets[id].is_refused &= !ready.writable;
                kernel.sockets[id].is_exhausted &= !ready.readable;
            }
            if ready.broken
                && let Some(id) = told
                && (id == CLIENT || kernel.winner == Some(id))
            {
                kernel.told_broken(id);
            }
        }
        // As a worker does: a session that moves much is called for its turn.
        if self
            .session
            .as_mut()
            .is_some_and(|session| session.defer_event(lane, ready))
        {
            self.is_queued = true;
            self.deferred += 1;
        } else {
            self.call(|session, world| session.on_event(lane, ready, world));
        }
    }

    /// It asked to go on, or its time has come.
    pub(crate) fn turn(&mut self) {
        let was_due = !std::mem::take(&mut self.is_queued);
        {
            let mut kernel = self.kernel.borrow_mut();
            kernel.call += 1;
            kernel.trace(|| "turn".to_owned());
        }
        self.call(Session::on_turn);
        let (now, deadline) = (self.now(), self.deadline());
        if was_due && self.session.is_some() && !self.is_queued && deadline <= now {
            self.note_idle("a timer that is due again at once");
        }
    }

    fn call(&mut self, with: impl FnOnce(&mut Session<SimWorld>, &mut SimWorld) -> Step) {
        {
            let mut kernel = self.kernel.borrow_mut();
            kernel.operations = 0;
            kernel.progress = 0;
        }
        let was_short = std::mem::take(&mut self.kernel.borrow_mut().was_short_of_memory);
        if let Some(session) = &mut self.session {
            let step = with(session, &mut self.world);
            {
                let mut kernel = self.kernel.borrow_mut();
                // A call that touched nothing left it waiting for memory as it was.
                kernel.was_short_of_memory |= was_short && kernel.operations == 0;
            }
            self.after(step);
        }
    }

    fn after(&mut self, step: Step) {
        let progress = self.kernel.borrow().progress;
        if progress > 0 {
            self.idle_calls = 0;
        }
        self.kernel.borrow_mut().trace(|| format!("  = {step:?}"));
        match step {
            Step::Ended(end) => return self.finish(end),
            Step::Again => {
                self.is_queued = true;
                if progress == 0 {
                    self.note_idle("asks to go on without getting on");
                }
            }
            Step::Rest => {}
        }
        if self.deadline() == Moment::NEVER {
            self.kernel
                .borrow_mut()
                .violate("a live session without a timer".to_owned());
        }
        model::check_live(self);
    }

    fn note_idle(&mut self, what: &str) {
        self.idle_calls += 1;
        if self.idle_calls > IDLE_CALLS_MAX {
            let mut kernel = self.kernel.borrow_mut();
            kernel.violate(format!("spins: {what}"));
        }
    }

    fn finish(&mut self, end: End) {
        if let Some(before) = self.end {
            let mut kernel = self.kernel.borrow_mut();
            kernel.violate(format!("ends a second time, as {end} after {before}"));
        }
        self.end = Some(end);
        self.is_queued = false;
        if self.deadline() != Moment::NEVER {
            self.kernel.borrow_mut().violate("over, but with a timer".to_owned());
        }
        model::check_end(self, end);
        if let Some(session) = &mut self.session {
            let again = session.on_turn(&mut self.world);
            if again != Step::Rest {
                self.kernel.borrow_mut().violate(format!("over, and yet {again:?}"));
            }
        }
        self.session = None;
        model::check_given_back(self);
    }

    /// What was held to be wrong so far.
    pub(crate) fn violations(&self) -> Vec<String> {
        self.kernel.borrow().violations.clone()
    }
}

//! The health thread: when each backend is probed, and what its verdict comes to.

use std::cell::RefCell;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap, VecDeque};
use std::io;
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender};

use super::check::Plan;
use super::probe::{Finding, Probe};
use super::schedule;
use super::streak::Streak;
use crate::observe::{ProcessCounters, Seldom, supervise};
use crate::pool::{Backend, Health, TrafficFailure};
use crate::sys::{self, AllowedCalls, Clock, Doorbell, LocalPorts, LoopThread, Poller, Stop};
use crate::types::{BackendAddr, BackendId, Handshake, Moment, ServiceId};

/// The token of the wake-up.
const WAKE_TOKEN: u64 = u64::MAX;

/// A backend to probe.
#[derive(Clone, Debug)]
pub struct Target {
    /// Whose it is.
    pub service: ServiceId,
    /// The backend.
    pub backend: Arc<Backend>,
    /// Where its probes go: its own address, or another port.
    pub address: BackendAddr,
    /// How it is checked.
    pub plan: Plan,
}

/// A verdict that changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Of which service.
    pub service: ServiceId,
    /// Which backend.
    pub backend: BackendId,
    /// In which row of its checks; see [`Backend::check_row`].
    pub row: u32,
    /// What it is now.
    pub health: Health,
    /// Why, in words: "connection refused by 127.0.0.1:9002, 3 checks in a row".
    pub reason: String,
}

/// What `control` may ask of the health thread.
#[derive(Debug)]
pub enum Order {
    /// A backend to check from now on, as if it were up until a verdict changes that; or, of one that is checked already, another way
    /// to check it: what was found so far stands.
    Watch(Target),
    /// One less.
    Forget(BackendId),
}

/// What the health thread works with.
#[derive(Debug)]
pub struct Prober {
    /// The backends; orders change them, so that a new life of the loop knows them too.
    pub targets: RefCell<BTreeMap<BackendId, Target>>,
    /// What `control` asks.
    pub orders: Receiver<Order>,
    /// Probes under way at once; each holds a descriptor.
    pub probes_max: usize,
    /// What workers tell.
    pub failures: Receiver<TrafficFailure>,
    /// By which they wake the thread.
    pub doorbell: Arc<Doorbell>,
    /// Where changes go.
    pub changes: Sender<Change>,
    /// Counts of the process.
    pub counters: Arc<ProcessCounters>,
    /// Of the jitter.
    pub seed: u64,
    /// The system calls that it may make.
    pub calls: AllowedCalls,
}

impl Prober {
    /// Starts the thread.
    ///
    /// # Errors
    /// No descriptor, or no thread, is left.
    pub fn spawn(self) -> io::Result<LoopThread> {
        let mut first = Some(Poller::open()?);
        LoopThread::spawn("health", Arc::clone(&self.doorbell), move |stop| {
            self.calls.enforce_or_tell("health");
            supervise("health", &self.counters, || {
                let is_first = first.is_some();
                let poller = first.take().map_or_else(Poller::open, Ok)?;
                let mut turn = Loop::new(&self, poller)?;
                if !is_first {
                    turn.tell_all_up();
                }
                turn.run(stop);
                io::Result::Ok(())
            });
        })
    }
}

/// One backend and where its checks stand.
struct Watched {
    target: Target,
    /// Which row of checks this is; see [`Backend::check_row`].
    row: u32,
    streak: Streak,
    probe: Option<Probe>,
    /// When that, or the last one, began.
    began: Moment,
    /// Tells this probe from the ones before it.
    generation: u32,
    /// Its place in time, around which its probes fall.
    place: Moment,
    /// The valid timer.
    armed: Moment,
}

/// One life of the thread. A panic costs what the streaks had counted: backends count as up again until they fail.
struct Loop<'a> {
    prober: &'a Prober,
    poller: Poller,
    watched: HashMap<BackendId, Watched>,
    timers: BinaryHeap<Reverse<(Moment, BackendId)>>,
    /// Due, but too many probes are under way.
    waiting_up: VecDeque<BackendId>,
    waiting_down: VecDeque<BackendId>,
    under_way: usize,
    ports: LocalPorts,
    random: fastrand::Rng,
    now: Moment,
    warnings: Seldom,
}

impl<'a> Loop<'a> {
    fn new(prober: &'a Prober, poller: Poller) -> io::Result<Self> {
        poller.add_readable(prober.doorbell.waker(), WAKE_TOKEN, false)?;
        let now = Clock::now();
        let mut turn = Self {
            prober,
            poller,
            watched: HashMap::new(),
            timers: BinaryHeap::new(),
            waiting_up: VecDeque::new(),
            waiting_down: VecDeque::new(),
            under_way: 0,
            ports: LocalPorts::read(0),
            random: fastrand::Rng::with_seed(prober.seed),
            now,
            warnings: Seldom::default(),
        };
        let targets = prober.targets.borrow();
        let count = u32::try_from(targets.len()).unwrap_or(u32::MAX);
        for (target, place) in targets.values().zip(0_u32..) {
            let offset = schedule::first(place, count, target.plan.interval);
            turn.watch(target.clone(), now.plus(offset), None);
        }
        drop(targets);
        Ok(turn)
    }

    /// After a fault: what the last life had found is lost, and everybody must know the same.
    fn tell_all_up(&self) {
        for target in self.prober.targets.borrow().values() {
            let reason = "the checks start again".to_owned();
            let change = Change {
                service: target.service,
                backend: target.backend.id,
                row: target.backend.check_row(),
                health: Health::Up,
                reason,
            };
            tell(&self.prober.changes, change);
        }
    }

    fn run(&mut self, stop: &Stop) {
        loop {
            self.wait();
            self.now = Clock::now();
            for number in 0..self.poller.count() {
                if let Some(event) = self.poller.event(number)
                    && event.token != WAKE_TOKEN
                {
                    self.on_event(event);
                }
            }
            if stop.is_asked() {
                return;
            }
            while let Ok(order) = self.prober.orders.try_recv() {
                self.obey(order);
            }
            while let Ok(failure) = self.prober.failures.try_recv() {
                self.on_traffic(failure);
            }
            while let Some(Reverse((at, id))) = self.timers.peek().copied()
                && at <= self.now
            {
                self.timers.pop();
                self.on_timer(at, id);
            }
            while self.under_way < self.prober.probes_max
                && let Some(id) = self.waiting_up.pop_front().or_else(|| self.waiting_down.pop_front())
            {
                self.begin(id);
            }
        }
    }

    fn wait(&mut self) {
        self.prober.doorbell.announce();
        let timeout = if self.prober.failures.is_empty() && self.prober.orders.is_empty() {
            self.timers.peek().map(|Reverse((at, _))| at.since(Clock::now()))
        } else {
            Some(Duration::ZERO)
        };
        if let Err(error) = self.poller.wait(timeout) {
            log::error!("health: waiting for events: {error}");
        }
        self.prober.doorbell.over();
    }

    /// The first probe is due at `first`; `known` is what was found of it before.
    fn watch(&mut self, target: Target, first: Moment, known: Option<Watched>) {
        let id = target.backend.id;
        let (streak, generation) = known.map_or((Streak::new(), 0), |known| (known.streak, known.generation));
        let watched = Watched {
            row: target.backend.check_row(),
            target,
            streak,
            probe: None,
            began: self.now,
            generation,
            place: first,
            armed: Moment::NEVER,
        };
        self.watched.insert(id, watched);
        self.arm(id, first);
    }

    fn obey(&mut self, order: Order) {
        match order {
            Order::Watch(target) => {
                self.prober
                    .targets
                    .borrow_mut()
                    .insert(target.backend.id, target.clone());
                let known = self.watched.remove(&target.backend.id);
                if known.as_ref().is_some_and(|known| known.probe.is_some()) {
                    self.under_way = self.under_way.saturating_sub(1);
                }
                self.watch(target, self.now, known);
            }
            Order::Forget(id) => {
                self.prober.targets.borrow_mut().remove(&id);
                if self.watched.remove(&id).is_some_and(|watched| watched.probe.is_some()) {
                    self.under_way = self.under_way.saturating_sub(1);
                }
            }
        }
    }

    fn arm(&mut self, id: BackendId, at: Moment) {
        if let Some(watched) = self.watched.get_mut(&id) {
            watched.armed = at;
            self.timers.push(Reverse((at, id)));
        }
    }

    fn on_timer(&mut self, at: Moment, id: BackendId) {
        let Some(watched) = self.watched.get_mut(&id).filter(|watched| watched.armed == at) else {
            return;
        };
        match &watched.probe {
            Some(probe) => {
                let finding = probe.on_deadline();
                self.conclude(id, finding);
            }
            None if self.under_way >= self.prober.probes_max => {
                watched.armed = Moment::NEVER;
                // Those that may be in use go first: a thousand dead ones must not hide that one more dies.
                match watched.streak.health() {
                    Health::Up => self.waiting_up.push_back(id),
                    Health::Down => self.waiting_down.push_back(id),
                }
            }
            None => self.begin(id),
        }
    }

    /// Starts a probe.
    fn begin(&mut self, id: BackendId) {
        let Some(watched) = self.watched.get_mut(&id).filter(|watched| watched.probe.is_none()) else {
            return;
        };
        watched.generation = watched.generation.wrapping_add(1);
        watched.began = self.now;
        let address = watched.target.address;
        let token = (u64::from(watched.generation) << 32) | u64::from(id.0);
        let opened = sys::begin_connect(address.0, Handshake::Plain, &mut self.ports)
            .and_then(|socket| self.poller.add(&socket, token).map(|()| socket));
        match opened {
            Ok(socket) => {
                let deadline = self.now.plus(watched.target.plan.timeout);
                watched.probe = Some(Probe::new(socket, address));
                self.under_way = self.under_way.saturating_add(1);
                self.arm(id, deadline);
            }
            Err(error) => {
                let finding = Probe::judge_failure(sys::connect_failure(&error), address);
                self.conclude(id, finding);
            }
        }
    }

    #[allow(
        clippy::cast_possible_truncation,
        reason = "the two halves of the token are cut out as they were put in"
    )]
    fn on_event(&mut self, event: sys::Event) {
        let (generation, id) = ((event.token >> 32) as u32, BackendId(event.token as u32));
        let Some(watched) = self
            .watched
            .get_mut(&id)
            .filter(|watched| watched.generation == generation)
        else {
            return;
        };
        let Some(probe) = &mut watched.probe else { return };
        if let Some(finding) = probe.on_event(event.ready, &watched.target.plan) {
            self.conclude(id, finding);
        }
    }

    /// A probe is over: its verdict, and when the next one is due.
    fn conclude(&mut self, id: BackendId, finding: Finding) {
        let Some(watched) = self.watched.get_mut(&id) else {
            return;
        };
        if watched.probe.take().is_some() {
            self.under_way = self.under_way.saturating_sub(1);
        }
        let plan = &watched.target.plan;
        let checks = &watched.target.backend.checks;
        let is_first_good = checks.latency().is_none() && matches!(finding, Finding::Good);
        let found = match finding {
            Finding::Good => {
                checks.note_good(self.now, self.now.since(watched.began));
                Some((Health::Up, format!("{} answers", watched.target.address)))
            }
            Finding::Bad(words) => {
                checks.note_bad(self.now, &words);
                Some((Health::Down, words))
            }
            Finding::Inconclusive(words) => {
                checks.note_inconclusive(self.now, &words);
                if self.warnings.is_due(self.now) {
                    log::warn!(
                        "a check of {} says nothing about it: {words}",
                        watched.target.backend.name
                    );
                }
                None
            }
        };
        if let Some((health, words)) = found {
            log::trace!("check of {}: {words}", watched.target.backend.name);
            let verdict = watched.streak.note(health, plan.rise, plan.fall);
            if verdict.is_some() && health == Health::Up {
                watched.target.backend.forget_failures();
            }
            let reason = match verdict {
                Some(in_a_row) => Some(format!("{words}, {} in a row", count(in_a_row, "check"))),
                // It was trusted, and now it is known.
                None if is_first_good && watched.streak.health() == Health::Up => Some(words),
                None => None,
            };
            if let Some(reason) = reason {
                let change = Change {
                    service: watched.target.service,
                    backend: id,
                    row: watched.row,
                    health,
                    reason,
                };
                tell(&self.prober.changes, change);
            }
        }
        let next = self.next_start(id);
        self.arm(id, next);
    }

    /// When the next probe of a backend is due.
    fn next_start(&mut self, id: BackendId) -> Moment {
        let Some(watched) = self.watched.get_mut(&id) else {
            return Moment::NEVER;
        };
        let (place, due) = schedule::next(
            watched.place,
            self.now,
            watched.streak,
            watched.target.plan.interval,
            self.random.f64(),
        );
        watched.place = place;
        due
    }

    /// Traffic has seen enough connects fail: the backend is down before the next probe.
    fn on_traffic(
        &mut self,
        TrafficFailure {
            backend,
            failure,
            in_a_row,
        }: TrafficFailure,
    ) {
        let Some(watched) = self.watched.get_mut(&backend) else {
            return;
        };
        if in_a_row < watched.target.plan.fall || !watched.streak.force(Health::Down) {
            return;
        }
        let words = failure.words(watched.target.backend.address);
        watched.target.backend.checks.note_error(&words);
        let change = Change {
            service: watched.target.service,
            backend,
            row: watched.row,
            health: Health::Down,
            reason: format!("{words}, {} in a row", count(in_a_row, "connect")),
        };
        tell(&self.prober.changes, change);
        if watched.probe.is_none() {
            let next = self.next_start(backend);
            self.arm(backend, next);
        }
    }
}

fn tell(changes: &Sender<Change>, change: Change) {
    if changes.send(change).is_err() {
        log::debug!("nobody listens to health changes any more");
    }
}

fn count(number: u32, what: &str) -> String {
    if number == 1 {
        format!("1 {what}")
    } else {
        format!("{number} {what}s")
    }
}

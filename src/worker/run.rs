//! The loop: wait, events, arrivals, timers, turns; and what is done when a session ends.

use std::collections::VecDeque;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::thread::JoinHandle;

use crossbeam_channel::Sender;

use super::caller::Caller;
use super::pipes::Pipes;
use super::real::{Real, RealSocket, SCRATCH_BYTES};
use super::shared::{Arrival, LiveSession, Mailbox, Order, Ticket, Wanted, WorkerHandle};
use super::slab::Slab;
use super::timers::Timers;
use crate::observe::{AccessLog, End, ProcessCounters, Seldom, SessionRecord, supervise};
use crate::pool::{Limiter, TrafficFailure};
use crate::service::Service;
use crate::session::{Session, Step};
use crate::sys::{self, AllowedCalls, Clock, Doorbell, LocalPorts, Poller};
use crate::types::{ClientAddr, Lane, Moment, Readiness, SessionKey, Token, WorkerId};

/// The token of the wake-up; no session's, since the generation and index would have to be all ones.
const WAKE_TOKEN: u64 = u64::MAX;
/// Arrivals taken in one wake, so that a flood of new ones doesn't starve the old.
const ARRIVALS_PER_WAKE: usize = 128;

/// Bytes that turns may move in one wake before the kernel is asked for news again: about a millisecond, the longest that a session
/// which moves little waits for those that move much.
const TURN_BYTES_PER_WAKE: u64 = 1 << 20;

/// What every worker is given.
#[derive(Clone, Debug)]
pub struct Context {
    /// The access log.
    pub access_log: AccessLog,
    /// Counts of the process.
    pub counters: Arc<ProcessCounters>,
    /// Where failed connects are told.
    pub failures: Sender<TrafficFailure>,
    /// Who reads them.
    pub prober: Arc<Doorbell>,
    /// Who fills the inboxes.
    pub acceptor: Arc<Doorbell>,
    /// Any service; a worker learns of the others as their connections arrive.
    pub service: Arc<Service>,
    /// Pipes a worker may have open.
    pub pipes_max: u32,
    /// Rival connects a worker may have under way.
    pub races_max: u32,
    /// The system calls that it may make.
    pub calls: AllowedCalls,
}

/// Starts a worker.
///
/// # Errors
/// No descriptor, or no thread, is left.
pub fn spawn(id: WorkerId, context: Context) -> io::Result<(WorkerHandle, JoinHandle<()>)> {
    let (handle, mailbox) = WorkerHandle::new(id, Arc::clone(&context.acceptor))?;
    let name = format!("worker-{}", id.0);
    // The first loop is opened here, so that a start that can't work says so.
    let mut first = Some(Worker::open(id, &context, &mailbox)?);
    let thread = std::thread::Builder::new().name(name.clone()).spawn(move || {
        // It doesn't wait until somebody who has more to do is through, as the admin thread with an answer.
        if let Err(error) = sys::run_in_short_slices() {
            log::debug!("{name}: a shorter slice: {error}");
        }
        context.calls.enforce_or_tell(&name);
        supervise(&name, &context.counters, || {
            let mut worker = first.take().map_or_else(|| Worker::open(id, &context, &mailbox), Ok)?;
            worker.run(&mailbox);
            io::Result::Ok(())
        });
    })?;
    Ok((handle, thread))
}

/// One session and what belongs to it.
#[derive(Debug)]
struct Slot {
    session: Session<Real>,
    ticket: Ticket,
    client: Caller,
    /// The valid entry among the timers.
    armed: Moment,
    /// Whether it stands in the queue of those that want to go on.
    is_queued: bool,
}

impl Slot {
    /// Whether it isn't in the queue already.
    fn enter_queue(&mut self) -> bool {
        !std::mem::replace(&mut self.is_queued, true)
    }
}

struct Worker {
    world: Real,
    slots: Slab<Slot>,
    timers: Timers,
    /// Who gets a turn in this wake, and who in the next.
    turns: VecDeque<SessionKey>,
    next_turns: VecDeque<SessionKey>,
    access_log: AccessLog,
    counters: Arc<ProcessCounters>,
}

impl Worker {
    fn open(id: WorkerId, context: &Context, mailbox: &Mailbox) -> io::Result<Self> {
        let poller = Poller::open()?;
        poller.add_readable(mailbox.doorbell.waker(), WAKE_TOKEN, false)?;
        let world = Real {
            worker: id,
            poller,
            scratch: vec![0; SCRATCH_BYTES].into_boxed_slice(),
            pipes: Pipes::new(Arc::new(Limiter::new(Some(context.pipes_max)))),
            ports: LocalPorts::read(id.0.wrapping_mul(7919)),
            races: Arc::new(Limiter::new(Some(context.races_max))),
            failures: context.failures.clone(),
            prober: Arc::clone(&context.prober),
            now: Clock::now(),
            moved_bytes: 0,
            key: SessionKey {
                index: 0,
                generation: 0,
            },
            client: ClientAddr(SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0))),
            introduced: None,
            source: None,
            warnings: Seldom::default(),
            service: Arc::clone(&context.service),
        };
        Ok(Self {
            world,
            // A key that was told in an earlier life is nobody's in this one.
            slots: Slab::new(mailbox.begin_life()),
            timers: Timers::default(),
            turns: VecDeque::new(),
            next_turns: VecDeque::new(),
            access_log: context.access_log.clone(),
            counters: Arc::clone(&context.counters),
        })
    }

    fn run(&mut self, mailbox: &Mailbox) {
        while !(mailbox.is_finishing.get() && self.slots.count() == 0 && mailbox.is_empty()) {
            self.wait(mailbox);
            self.world.now = Clock::now();
            self.world.moved_bytes = 0;
            self.turns.append(&mut self.next_turns);
            for number in 0..self.world.poller.count() {
                if let Some(event) = self.world.poller.event(number)
                    && event.token != WAKE_TOKEN
                {
                    self.on_event(Token::from_bits(event.token), event.ready);
                }
            }
            self.take_arrivals(mailbox);
            while let Some((at, key)) = self.timers.take_due(self.world.now) {
                self.on_timer(at, key);
            }
            self.take_turns();
            while let Ok(order) = mailbox.orders.try_recv() {
                // To tell of thousands takes a while: one who asks a wake.
                let is_long = matches!(order, Order::Tell(..));
                self.obey(order, mailbox);
                if is_long {
                    break;
                }
            }
        }
    }

    /// News of a session that moves little is acted on at once; one that moves much is queued for its turn.
    fn on_event(&mut self, Token { key, lane }: Token, ready: Readiness) {
        let Some(slot) = self.slots.get_mut(key) else { return };
        if slot.session.defer_event(lane, ready) {
            self.queue(key);
        } else {
            self.call(key, |session, world| session.on_event(lane, ready, world));
        }
    }

    fn queue(&mut self, key: SessionKey) {
        if self.slots.get_mut(key).is_some_and(Slot::enter_queue) {
            self.turns.push_back(key);
        }
    }

    fn take_turns(&mut self) {
        for _ in 0..self.turns.len() {
            if self.world.moved_bytes >= TURN_BYTES_PER_WAKE {
                return;
            }
            if let Some(key) = self.turns.pop_front() {
                if let Some(slot) = self.slots.get_mut(key) {
                    slot.is_queued = false;
                }
                self.call(key, Session::on_turn);
            }
        }
    }

    fn wait(&mut self, mailbox: &Mailbox) {
        mailbox.doorbell.announce();
        let has_turns = !self.turns.is_empty() || !self.next_turns.is_empty();
        let timeout = if !has_turns && mailbox.is_empty() {
            self.timers.next().map(|at| at.since(Clock::now()))
        } else {
            Some(std::time::Duration::ZERO)
        };
        let waited = self.world.poller.wait(timeout);
        mailbox.doorbell.over();
        if let Err(error) = waited {
            log::error!("worker-{}: waiting for events: {error}", self.world.worker.0);
        }
    }

    fn take_arrivals(&mut self, mailbox: &Mailbox) {
        let mut taken = 0_usize;
        while taken < ARRIVALS_PER_WAKE
            && let Some(arrival) = mailbox.take()
        {
            taken = taken.saturating_add(1);
            match mailbox.all_end.get() {
                None => self.adopt(arrival),
                Some(end) => turn_away(arrival, end),
            }
        }
        if taken > 0 {
            mailbox.tell_room();
        }
    }

    /// Makes an arrival a session.
    fn adopt(&mut self, arrival: Arrival) {
        let Arrival {
            socket: socket_fd,
            client,
            mut ticket,
        } = arrival;
        let Some(key) = self.slots.reserve() else {
            return turn_away(
                Arrival {
                    socket: socket_fd,
                    client,
                    ticket,
                },
                End::Refused,
            );
        };
        let registered = self.world.poller.add(
            &socket_fd,
            Token {
                key,
                lane: Lane::CLIENT,
            }
            .to_bits(),
        );
        let socket = RealSocket::new(socket_fd);
        if let Err(error) = registered {
            log::warn!("{}: {client} refused: can't be watched: {error}", ticket.service.name);
            ticket.end = End::Refused;
            return;
        }
        self.world.enter(key, client, &ticket.service);
        let world = &mut self.world;
        let started = catch_unwind(AssertUnwindSafe(|| Session::start(socket, world)));
        let Ok((session, step)) = started else {
            self.note_panic();
            return;
        };
        self.slots.fill(
            key,
            Slot {
                session,
                ticket,
                client: Caller::Direct(client),
                armed: Moment::NEVER,
                is_queued: false,
            },
        );
        self.after(key, step);
    }

    /// Calls a session, if it still lives. A panic costs that session, and no other.
    fn call(&mut self, key: SessionKey, with: impl FnOnce(&mut Session<Real>, &mut Real) -> Step) {
        let Some(slot) = self.slots.get_mut(key) else { return };
        self.world.enter(key, slot.client.client(), &slot.ticket.service);
        let world = &mut self.world;
        let outcome = catch_unwind(AssertUnwindSafe(|| with(&mut slot.session, world)));
        if let Some(client) = self.world.introduced.take() {
            slot.client.introduce(client);
        }
        if let Some(source) = self.world.source.take() {
            slot.ticket.note_source(source);
        }
        match outcome {
            Ok(step) => self.after(key, step),
            Err(_) => {
                drop(self.slots.remove(key));
                self.note_panic();
            }
        }
    }

    fn note_panic(&self) {
        self.counters.panics.fetch_add(1, Relaxed);
        log::error!(
            "worker-{}: a fault of lb ended one session; the others go on",
            self.world.worker.0
        );
    }

    fn after(&mut self, key: SessionKey, step: Step) {
        match step {
            Step::Ended(end) => return self.finish(key, end),
            Step::Again if self.slots.get_mut(key).is_some_and(Slot::enter_queue) => self.next_turns.push_back(key),
            Step::Again => {}
            Step::Rest => {}
        }
        let Some(slot) = self.slots.get_mut(key) else { return };
        let deadline = slot.session.deadline(&slot.ticket.service.options);
        debug_assert!(deadline < Moment::NEVER, "every live session has a timer");
        if deadline < slot.armed {
            slot.armed = deadline;
            self.timers.enter(deadline, key);
        }
    }

    fn on_timer(&mut self, at: Moment, key: SessionKey) {
        let Some(slot) = self.slots.get_mut(key) else { return };
        if slot.armed != at {
            return;
        }
        slot.armed = Moment::NEVER;
        let deadline = slot.session.deadline(&slot.ticket.service.options);
        if deadline > self.world.now {
            slot.armed = deadline;
            self.timers.enter(deadline, key);
        } else {
            self.call(key, Session::on_turn);
        }
    }

    /// Takes a session out, tells of it, and gives back everything it held.
    fn finish(&mut self, key: SessionKey, end: End) {
        let Some(Slot {
            session,
            mut ticket,
            client: caller,
            ..
        }) = self.slots.remove(key)
        else {
            return;
        };
        let client = caller.client();
        let backend = session.backend().map(|guard| guard.backend());
        let tally = session.tally();
        let lasted = self.world.now.since(tally.started);
        match backend {
            Some(backend) => ticket.end_with(end, backend, lasted),
            None => ticket.end = end,
        }
        log::debug!(
            "{}: {client} -> {} ended: {end}",
            ticket.service.name,
            backend.map_or("no backend", |b| &b.name)
        );
        if self.access_log.is_on() {
            self.access_log.record(SessionRecord {
                service: Arc::clone(&ticket.service.name),
                client,
                proxied_by: caller.proxied_by(),
                backend: backend.map(|backend| Arc::clone(&backend.name)),
                connect: tally.connect,
                duration: lasted,
                bytes_to_backend: tally.bytes_to_backend,
                bytes_to_client: tally.bytes_to_client,
                retries: tally.retries,
                end,
            });
        }
        drop((session, ticket));
        if self.slots.count() == 0 {
            self.world.pipes.close_free();
        }
        let slots = &mut self.slots;
        self.timers.tidy(slots.count(), |at, key| {
            slots.get_mut(key).is_some_and(|slot| slot.armed == at)
        });
    }

    fn tell(&self, wanted: &Wanted) -> Vec<LiveSession> {
        let mut found = Vec::new();
        for (key, slot) in self.slots.iter() {
            let service = &slot.ticket.service;
            let backend = slot.session.backend().map(|guard| &guard.backend().name);
            let is_wanted = wanted.service.is_none_or(|id| id == service.id)
                && wanted
                    .backend
                    .as_deref()
                    .is_none_or(|name| backend.is_some_and(|backend| **backend == *name));
            if !is_wanted {
                continue;
            }
            let tally = slot.session.tally();
            found.push(LiveSession {
                key,
                service: Arc::clone(&service.name),
                client: slot.client.client(),
                backend: backend.map(Arc::clone),
                phase: slot.session.phase_name(),
                age: self.world.now.since(tally.started),
                bytes_to_backend: tally.bytes_to_backend,
                bytes_to_client: tally.bytes_to_client,
            });
            if found.len() >= wanted.limit {
                break;
            }
        }
        found
    }

    fn obey(&mut self, order: Order, mailbox: &Mailbox) {
        match order {
            Order::Finish => mailbox.is_finishing.set(true),
            #[cfg(test)]
            Order::Panic => panic!("injected"),
            Order::EndAll(end) => {
                mailbox.all_end.set(Some(end)); // what arrives from now on too
                for key in self.slots.keys() {
                    self.finish(key, end);
                }
            }
            Order::EndOn(backends, end) => {
                for key in self.slots.keys() {
                    let on = |slot: &mut Slot| slot.session.backend().map(|guard| guard.backend().id);
                    if self
                        .slots
                        .get_mut(key)
                        .and_then(on)
                        .is_some_and(|id| backends.contains(&id))
                    {
                        self.finish(key, end);
                    }
                }
            }
            Order::EndOne(key, end, reply) => {
                let is_there = self.slots.get_mut(key).is_some();
                self.finish(key, end);
                reply.send(is_there);
            }
            Order::Tell(wanted, reply) => reply.send(self.tell(&wanted)),
        }
    }
}

/// Ends an arrival before it is a session: its client is reset, its ticket says why.
fn turn_away(Arrival { socket, mut ticket, .. }: Arrival, end: End) {
    ticket.end = end;
    drop(RealSocket::new(socket));
}

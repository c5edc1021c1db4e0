//! The loop of the thread `replicas`: hears keepers, `control` and whoever asks, and does what the time brings.

use std::collections::{HashMap, HashSet};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, unbounded};
use rustix::process::{Pid, WaitOptions, waitpid};

use super::instance::{Instance, State};
use super::kept::Kept;
use super::passing;
use super::scale;
use super::slot::Turn;
use super::{Surroundings, figures};
use crate::config;
use crate::control::{Answer, Bringer, Command, Luggage, Outcome, Refusal, RefusalKind, ReplicaRequest};
use crate::keeper::{self, Heard, Report};
use crate::sys::{Clock, Poller, Stop};
use crate::types::Moment;

/// The doorbell in the epoll set; keepers count from 1.
const DOORBELL: u64 = 0;
/// Processes started before others get their turn.
const STARTS_A_TURN: usize = 8;
/// Reports heard of one keeper before others get their turn.
const REPORTS_A_TURN: usize = 64;
/// How often it is looked what the processes use.
const FIGURES_EVERY: Duration = Duration::from_secs(2);
/// Between two looks whether a keeper that closed its socket can be reaped.
const REAP_AGAIN: Duration = Duration::from_millis(10);
/// Whoever isn't gone so long after it should have been killed hangs in the kernel.
const STOP_SLACK: Duration = Duration::from_secs(5);

/// What is asked by whoever started the thread.
pub(super) enum Order {
    Pause(Sender<io::Result<Luggage>>),
    Resume,
    /// Dropped when nothing is left.
    Stop(Sender<()>),
}

/// What `control` says to the backends of a service.
type AnswerOf = (String, Outcome);

/// All replicas, and what outlives a life of the loop.
pub(super) struct Room {
    around: Surroundings,
    orders: Receiver<Order>,
    /// Whether the file may say something else.
    is_news: Arc<AtomicBool>,
    /// In the order of the file.
    services: Vec<Kept>,
    answers: (Sender<AnswerOf>, Receiver<AnswerOf>),
    next_token: u64,
    /// Another lb handed over: its backends may be in the pool.
    is_heir: bool,
    is_paused: bool,
    stopping: Option<(Sender<()>, Moment)>,
    /// Keepers that have ended, if they are children.
    ended: Vec<Pid>,
    figures_at: Moment,
    is_shown: bool,
    buffer: Vec<u8>,
}

impl Room {
    pub(super) fn new(
        around: Surroundings,
        orders: Receiver<Order>,
        is_news: Arc<AtomicBool>,
        inherited: Option<Luggage>,
    ) -> Self {
        let (now, mut next_token) = (Clock::now(), 0);
        let is_heir = inherited.is_some();
        let adopted = inherited.map(|inherited| passing::adopt(inherited, now, &mut next_token));
        let mut services = match adopted {
            None => Vec::new(),
            Some(Ok(services)) => services,
            Some(Err(error)) => {
                log::error!("replicas of the lb before this can't be taken over, and are started anew: {error}");
                Vec::new()
            }
        };
        services.iter_mut().for_each(Kept::tell_anew);
        Self {
            around,
            orders,
            is_news,
            services,
            answers: unbounded(),
            next_token: next_token.saturating_add(1),
            is_heir,
            is_paused: false,
            stopping: None,
            ended: Vec::new(),
            figures_at: now,
            is_shown: false,
            buffer: Vec::new(),
        }
    }

    /// One life of the loop; the first finds it opened.
    pub(super) fn run(&mut self, stop: &Stop, opened: Option<Poller>) -> io::Result<()> {
        let mut poller = match opened {
            Some(poller) => poller,
            None => self.open()?,
        };
        loop {
            if stop.is_asked() {
                return Ok(());
            }
            let was_paused = self.is_paused;
            self.take_orders();
            if self.is_paused != was_paused {
                poller = self.open()?; // without the keepers, or with them again
            }
            let now = Clock::now();
            self.take_requests(now);
            let next = if self.is_paused { Moment::NEVER } else { self.turn(now) };
            if !self.is_paused {
                self.register(&poller);
            }
            let is_over = self.stopping.as_ref().is_some_and(|(_, give_up)| now >= *give_up);
            if self.stopping.is_some() && (is_over || self.services.iter().all(|kept| kept.instances().count() == 0)) {
                self.stopping = None;
            }
            let timeout = (next != Moment::NEVER).then(|| next.since(Clock::now()));
            poller.wait(timeout)?;
            for number in 0..poller.count() {
                match poller.event(number) {
                    Some(event) if event.token != DOORBELL && !self.is_paused => self.hear(event.token),
                    _ => {}
                }
            }
        }
    }

    /// An epoll set that nobody is in yet but the doorbell.
    ///
    /// # Errors
    /// No descriptor is left.
    pub(super) fn open(&mut self) -> io::Result<Poller> {
        let poller = Poller::open()?;
        poller.add_readable(self.around.requests.doorbell.waker(), DOORBELL, false)?;
        for instance in self.services.iter_mut().flat_map(Kept::instances_mut) {
            instance.is_registered = false;
        }
        Ok(poller)
    }

    fn register(&mut self, poller: &Poller) {
        for instance in self.services.iter_mut().flat_map(Kept::instances_mut) {
            if !instance.is_registered {
                match poller.add_readable(&instance.socket, instance.token, true) {
                    Ok(()) => instance.is_registered = true,
                    Err(error) => log::error!("{}: can't hear its keeper: {error}", instance.name),
                }
            }
        }
    }

    fn take_orders(&mut self) {
        while let Ok(order) = self.orders.try_recv() {
            match order {
                Order::Pause(reply) => {
                    self.is_paused = true;
                    let passed = passing::pack(&self.services, self.around.board.drain_timeout(), Clock::now());
                    // Nobody waits any more: then resume follows.
                    drop(reply.send(passed));
                }
                Order::Resume => self.is_paused = false,
                // Another lb has them.
                Order::Stop(done) if self.is_paused => drop(done),
                Order::Stop(done) => {
                    let now = Clock::now();
                    let managed = self.services.iter().filter_map(Kept::managed);
                    let grace = managed.map(|managed| managed.stop_timeout).max().unwrap_or_default();
                    let count: usize = self.services.iter().map(|kept| kept.instances().count()).sum();
                    if count > 0 {
                        log::info!("stopping {count} replicas");
                    }
                    self.services.iter_mut().for_each(|kept| kept.stop(now));
                    self.stopping = Some((done, now.plus(grace).plus(STOP_SLACK)));
                }
            }
        }
    }

    fn take_requests(&mut self, now: Moment) {
        while let Ok(request) = self.around.requests.requests.try_recv() {
            let ReplicaRequest { service, order, reply } = request;
            let outcome = if self.is_paused {
                Err(Refusal::under_way())
            } else if self.stopping.is_some() || self.around.board.is_draining() {
                Err(Refusal::stopping())
            } else {
                self.follow_news(now);
                let found = self.find(service.as_deref());
                found.and_then(|kept| scale::carry_out(kept, order, now))
            };
            self.is_shown = false;
            reply(outcome);
        }
    }

    fn find(&mut self, service: Option<&str>) -> Result<&mut Kept, Refusal> {
        let unknown = |message: String| Refusal::new(RefusalKind::UnknownService, message);
        let is_there = service.is_none_or(|name| self.around.board.has_service(name));
        let mut with_section = self.services.iter_mut().filter(|kept| kept.settings.is_some());
        match service {
            None => with_section
                .next()
                .ok_or_else(|| unknown("no service has [service.managed]".to_owned())),
            Some(name) => with_section.find(|kept| kept.name == name).ok_or_else(|| {
                let name = name.escape_debug();
                unknown(if is_there {
                    format!("{name} has no [service.managed]")
                } else {
                    format!("no service is named \"{name}\"")
                })
            }),
        }
    }

    /// Follows the file, if it says something else.
    fn follow_news(&mut self, now: Moment) {
        if self.stopping.is_some() || !self.is_news.swap(false, Relaxed) {
            return;
        }
        self.is_shown = false;
        let settings: Vec<config::Service> = self.around.board.settings();
        let mut before = std::mem::take(&mut self.services);
        for service in &settings {
            let found = before.iter().position(|kept| kept.name == service.name);
            let kept = found.map(|place| before.remove(place));
            if kept.is_some() || service.managed.is_some() {
                let is_heir = self.is_heir;
                self.services.push(kept.unwrap_or_else(|| {
                    let mut kept = Kept::new(&service.name);
                    if is_heir {
                        kept.tell_anew();
                    }
                    kept
                }));
            }
        }
        self.services.append(&mut before);
        for kept in &mut self.services {
            let of_file = settings.iter().find(|service| service.name == kept.name);
            kept.follow(of_file, &self.around.board, now);
        }
    }

    /// Does what there is to do; when there is something again.
    fn turn(&mut self, now: Moment) -> Moment {
        self.follow_news(now);
        self.take_answers(now);
        let instances = self.services.iter().flat_map(Kept::instances);
        let mut ports_used: HashSet<u16> = instances.map(|instance| instance.port).collect();
        let of_file = self.services.iter().filter_map(|kept| kept.settings.as_ref());
        ports_used.extend(of_file.flat_map(|settings| &settings.backends).filter_map(|backend| {
            let ip = backend.address.ip();
            ip.is_loopback().then_some(backend.address.port())
        }));
        let mut turn = Turn {
            now,
            keeper: &self.around.keeper,
            is_halted: self.stopping.is_some() || self.around.board.is_draining(),
            starts_left: STARTS_A_TURN,
            ports_used,
            next_token: self.next_token,
            is_news: false,
            next: self.stopping.as_ref().map_or(Moment::NEVER, |(_, give_up)| *give_up),
        };
        let mut asked = Vec::new();
        for kept in &mut self.services {
            kept.advance(&self.around.board, &mut turn);
            if let Some(backends) = kept.ask(&mut turn) {
                asked.push((kept.name.clone(), backends));
            }
        }
        let (mut next, is_news) = (turn.next, turn.is_news);
        self.next_token = turn.next_token;
        for (service, backends) in asked {
            self.provide(service, backends);
        }
        self.services.retain(|kept| !kept.is_gone());
        next = next.min(self.look_at_figures(now));
        if is_news || !self.is_shown {
            self.show();
        }
        if self.reap() {
            next
        } else {
            next.min(now.plus(REAP_AGAIN))
        }
    }

    fn provide(&self, service: String, backends: Vec<config::Backend>) {
        let (answers, doorbell) = (self.answers.0.clone(), Arc::clone(&self.around.requests.doorbell));
        let of = service.clone();
        let command = Command::Provide {
            service,
            bringer: Bringer::Managed,
            backends,
        };
        self.around.commander.ask(command, move |outcome| {
            if answers.send((of, outcome)).is_ok() {
                doorbell.waker().wake();
            }
        });
    }

    fn take_answers(&mut self, now: Moment) {
        while let Ok((service, outcome)) = self.answers.1.try_recv() {
            let Some(kept) = self.services.iter_mut().find(|kept| kept.name == service) else {
                continue;
            };
            match &outcome {
                Ok(Answer::Provided(provided)) => kept.answered(Ok(&provided.refused), now),
                Ok(_) => kept.answered(Err("an answer to another question"), now),
                Err(refusal) => kept.answered(Err(&refusal.message), now),
            }
        }
    }

    /// When it is to be looked again.
    fn look_at_figures(&mut self, now: Moment) -> Moment {
        let mut running = self.services.iter_mut().flat_map(Kept::instances_mut).peekable();
        if running.peek().is_none() {
            return Moment::NEVER;
        }
        if now >= self.figures_at {
            for instance in running {
                if let Some(pid) = instance.pid {
                    figures::Meter::look(&mut instance.meter, pid, now);
                }
            }
            (self.figures_at, self.is_shown) = (now.plus(FIGURES_EVERY), false);
        }
        self.figures_at
    }

    fn show(&mut self) {
        let with_section = self.services.iter().filter(|kept| kept.settings.is_some());
        let shown = with_section
            .map(|kept| (kept.name.clone(), kept.shown()))
            .collect::<HashMap<_, _>>();
        self.around.board.show_replicas(shown);
        self.is_shown = true;
    }

    /// Whether no keeper is left that has ended.
    fn reap(&mut self) -> bool {
        // An error: it is no child of this process, but of the one that handed it over, or was.
        self.ended
            .retain(|keeper| matches!(waitpid(Some(*keeper), WaitOptions::NOHANG), Ok(None)));
        self.ended.is_empty()
    }

    /// What a keeper says.
    fn hear(&mut self, token: u64) {
        for _ in 0..REPORTS_A_TURN {
            let mut services = self.services.iter_mut();
            let found = services.find_map(|kept| {
                let service = kept.name.clone();
                let instance = kept.instances_mut().find(|instance| instance.token == token)?;
                Some((service, instance))
            });
            let Some((service, instance)) = found else {
                return;
            };
            match keeper::hear(&instance.socket, &mut self.buffer) {
                Ok(Heard::Message(report)) => {
                    if let Some(how) = note(&service, instance, report) {
                        self.is_shown = false;
                        self.note_end(token, &how);
                    }
                }
                Ok(Heard::Nothing) => return,
                Ok(Heard::End) => return self.forget(token),
                Err(error) => {
                    log::error!("{service}: {}: its keeper can't be understood: {error}", instance.name);
                    instance.kill_keeper();
                    return self.forget(token);
                }
            }
        }
    }

    fn note_end(&mut self, token: u64, how: &str) {
        let now = Clock::now();
        for kept in &mut self.services {
            if kept.instances().any(|instance| instance.token == token) {
                kept.note_end(token, how, now);
            }
        }
    }

    /// A keeper is gone.
    fn forget(&mut self, token: u64) {
        self.is_shown = false;
        let instance = self
            .services
            .iter()
            .flat_map(Kept::instances)
            .find(|instance| instance.token == token);
        if instance.is_some_and(|instance| instance.state != State::Ended) {
            self.note_end(token, "lost its keeper");
            let lost = self.services.iter_mut().find_map(|kept| kept.forget(token));
            if let Some(Instance {
                pid: Some(pid),
                birth: Some(birth),
                keeper,
                name,
                ..
            }) = lost
            {
                let count = keeper::kill_session(pid, birth);
                log::error!("{name}: its keeper ended before it; {count} processes are killed");
                self.ended.extend(i32::try_from(keeper).ok().and_then(Pid::from_raw));
            }
            return;
        }
        let gone = self.services.iter_mut().find_map(|kept| kept.forget(token));
        let keeper = gone.and_then(|instance| i32::try_from(instance.keeper).ok());
        self.ended.extend(keeper.and_then(Pid::from_raw));
    }
}

/// Takes in a report; how the process ended, if it says so.
fn note(service: &str, instance: &mut Instance, report: Report) -> Option<String> {
    let name = &instance.name;
    match report {
        Report::Started { pid } => {
            (instance.pid, instance.birth) = (Some(pid), keeper::session_of(pid));
            instance.meter.look(pid, Clock::now());
            log::info!("{service}: {name} started, pid {pid}, port {}", instance.port);
            None
        }
        Report::Line { text } => {
            log::info!("{service}: {name} | {text}");
            None
        }
        Report::Lost { lines } => {
            log::warn!("{service}: {name} | {lines} lines are left out: it wrote faster than they are logged");
            None
        }
        Report::Failed { message } => Some(format!("isn't running: {message}")),
        Report::Exited { code, signal } => Some(match (code, signal) {
            (Some(code), _) => format!("ended with exit code {code}"),
            (None, Some(signal)) => format!("was ended by signal {signal}"),
            (None, None) => "ended".to_owned(),
        }),
    }
}

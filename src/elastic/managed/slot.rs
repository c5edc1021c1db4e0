//! One replica that is to be: the process that is it now, the one that is to become it, and when the next is started.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use super::instance::{self, Instance, State};
use crate::api;
use crate::config;
use crate::types::Moment;

/// A process that lived so long was well: what comes after it starts as the first did.
const LONG_LIFE: Duration = Duration::from_secs(10);
/// The longest pause before a program that dies again and again is started once more, unless `restart_delay` is longer.
const PAUSE_MAX: Duration = Duration::from_mins(1);
/// What is doubled at each short life where `restart_delay` is less.
const PAUSE_MIN: Duration = Duration::from_millis(100);
/// Until it is looked again for a free port, or tried again to start a keeper.
const TRY_AGAIN: Duration = Duration::from_secs(1);

/// A replica that is to be.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) name: String,
    pub(super) current: Option<Instance>,
    /// Takes its place once it takes connections.
    pub(super) successor: Option<Instance>,
    /// No process is started before.
    pub(super) start_at: Moment,
    /// In a row.
    pub(super) short_lives: u32,
    pub(super) restarts: u32,
    pub(super) last_port: Option<u16>,
    /// Whether that it has no port was said.
    is_wanting: bool,
}

/// What a turn works with, for all services.
pub(super) struct Turn<'r> {
    pub(super) now: Moment,
    pub(super) keeper: &'r Path,
    /// Nothing is started any more.
    pub(super) is_halted: bool,
    /// Processes may still be started in this turn: each takes a millisecond, and others wait.
    pub(super) starts_left: usize,
    pub(super) ports_used: HashSet<u16>,
    pub(super) next_token: u64,
    /// Whether anything is otherwise than it was shown.
    pub(super) is_news: bool,
    /// When there is something to do next.
    pub(super) next: Moment,
}

impl Turn<'_> {
    pub(super) fn wake_at(&mut self, moment: Moment) {
        self.next = self.next.min(moment);
    }
}

/// What a turn works with, for one service.
pub(super) struct OfService<'r> {
    pub(super) name: &'r str,
    pub(super) settings: &'r config::Managed,
    /// Its processes, those on their way out among them.
    pub(super) running: usize,
    pub(super) leaving: &'r mut Vec<Instance>,
    /// Since when backends are down.
    pub(super) down: HashMap<SocketAddr, Moment>,
    /// Whether a successor is on its way: one at a time.
    pub(super) is_rolling: bool,
    /// Replicas that take connections.
    pub(super) ready: usize,
    /// Where the search for a port goes on.
    pub(super) cursor: &'r mut u16,
}

impl Slot {
    pub(super) const fn new(name: String, now: Moment) -> Self {
        Self {
            name,
            current: None,
            successor: None,
            start_at: now,
            short_lives: 0,
            restarts: 0,
            last_port: None,
            is_wanting: false,
        }
    }

    /// Both of its processes.
    pub(super) fn instances(&self) -> impl Iterator<Item = &Instance> {
        self.current.iter().chain(&self.successor)
    }

    pub(super) fn instances_mut(&mut self) -> impl Iterator<Item = &mut Instance> {
        self.current.iter_mut().chain(&mut self.successor)
    }

    /// The process that takes connections for it.
    pub(super) fn ready(&self) -> Option<&Instance> {
        self.current.as_ref().filter(|instance| instance.state == State::Ready)
    }

    pub(super) fn shown(&self) -> api::Replica {
        api::Replica {
            name: self.name.clone(),
            state: match &self.current {
                None => api::ReplicaState::Waiting,
                Some(instance) if instance.state == State::Ready => api::ReplicaState::Running,
                Some(_) => api::ReplicaState::Starting,
            },
            pid: self.current.as_ref().and_then(|instance| instance.pid),
            port: self.current.as_ref().map(|instance| instance.port),
            restarts: self.restarts,
        }
    }

    /// Does what the time brings.
    pub(super) fn advance(&mut self, of: &mut OfService<'_>, turn: &mut Turn<'_>) {
        self.advance_current(of, turn);
        self.advance_successor(of, turn);
        if self.current.is_none() && self.successor.is_none() && !turn.is_halted {
            self.current = self.start(of, turn);
        }
    }

    fn advance_current(&mut self, of: &mut OfService<'_>, turn: &mut Turn<'_>) {
        let now = turn.now;
        let Some(current) = &mut self.current else {
            return;
        };
        match current.state {
            State::Starting { .. } if !is_outdated(current, of.settings) => {
                if look(current, of, turn) == Look::Late {
                    self.replace_late(of, turn);
                }
            }
            State::Ready => {
                let down_since = of.down.get(&current.address()).copied();
                if let (Some(since), Some(patience)) = (down_since, of.settings.replace_after) {
                    let due = since.plus(patience);
                    turn.wake_at(due);
                    if now >= due && !turn.is_halted {
                        log::warn!(
                            "{}: {} is down for {} and its process lives: it is replaced",
                            of.name,
                            self.name,
                            humantime::format_duration(patience)
                        );
                        self.retire(of, turn);
                    }
                } else if is_outdated(current, of.settings) && !turn.is_halted {
                    self.roll(of, turn);
                }
            }
            _ => {
                // It never served, and what it runs isn't wanted any more.
                if let Some(mut instance) = self.current.take() {
                    instance.stop(of.settings.stop_timeout, now);
                    of.leaving.push(instance);
                    (self.start_at, self.short_lives) = (now, 0);
                    turn.is_news = true;
                }
            }
        }
    }

    fn advance_successor(&mut self, of: &mut OfService<'_>, turn: &mut Turn<'_>) {
        let Some(successor) = &mut self.successor else {
            return;
        };
        if is_outdated(successor, of.settings) || look(successor, of, turn) == Look::Late {
            let is_late = !is_outdated(successor, of.settings);
            if let Some(mut successor) = self.successor.take() {
                successor.stop(of.settings.stop_timeout, turn.now);
                of.leaving.push(successor);
            }
            if is_late {
                self.note_end(of, turn.now, Duration::ZERO, "takes no connection within start_timeout");
            }
        } else if successor.state == State::Ready {
            self.retire(of, turn);
            self.current = self.successor.take();
            self.short_lives = 0;
            turn.is_news = true;
        }
    }

    /// It runs something else than is wanted: another takes its place, once it is ready.
    fn roll(&mut self, of: &mut OfService<'_>, turn: &mut Turn<'_>) {
        if self.successor.is_some() || of.is_rolling {
            return;
        }
        if turn.now < self.start_at {
            turn.wake_at(self.start_at);
            return;
        }
        of.is_rolling = true;
        let is_crowded = !has_room(of, turn);
        if is_crowded && of.ready > 1 {
            // No port for two of them: the others serve meanwhile.
            self.retire(of, turn);
            of.ready = of.ready.saturating_sub(1);
            return;
        }
        self.successor = self.start(of, turn);
    }

    /// The process that serves goes: no new sessions, and it is stopped when the old ones have ended.
    pub(super) fn retire(&mut self, of: &mut OfService<'_>, turn: &mut Turn<'_>) {
        if let Some(mut instance) = self.current.take() {
            instance.drain(turn.now);
            of.leaving.push(instance);
            self.restarts = self.restarts.saturating_add(1);
            (self.start_at, turn.is_news) = (turn.now, true);
        }
    }

    fn replace_late(&mut self, of: &mut OfService<'_>, turn: &mut Turn<'_>) {
        if let Some(mut instance) = self.current.take() {
            instance.stop(of.settings.stop_timeout, turn.now);
            of.leaving.push(instance);
            turn.is_news = true;
        }
        self.restarts = self.restarts.saturating_add(1);
        self.note_end(of, turn.now, Duration::ZERO, "takes no connection within start_timeout");
    }

    /// A process has ended that wasn't asked to, `how`: tells when the next is started.
    pub(super) fn note_end(&mut self, of: &OfService<'_>, now: Moment, lived: Duration, how: &str) {
        let delay = of.settings.restart_delay;
        self.short_lives = if lived >= LONG_LIFE {
            0
        } else {
            self.short_lives.saturating_add(1)
        };
        let doubled = 2_u32.saturating_pow(self.short_lives.saturating_sub(1).min(16));
        let pause = if self.short_lives <= 1 {
            delay
        } else {
            delay.max(PAUSE_MIN).saturating_mul(doubled).min(PAUSE_MAX.max(delay))
        };
        self.start_at = now.plus(pause);
        log::warn!(
            "{}: {} {how}; it is started again in {}",
            of.name,
            self.name,
            humantime::format_duration(pause)
        );
    }

    /// Starts a process on a free port, if it is time.
    fn start(&mut self, of: &mut OfService<'_>, turn: &mut Turn<'_>) -> Option<Instance> {
        let now = turn.now;
        if now < self.start_at {
            turn.wake_at(self.start_at);
            return None;
        }
        if turn.starts_left == 0 {
            turn.wake_at(now);
            return None;
        }
        let Some(port) = self.free_port(of, turn) else {
            if !std::mem::replace(&mut self.is_wanting, true) {
                let (first, last) = (of.settings.ports.start(), of.settings.ports.end());
                log::warn!("{}: no port from {first} to {last} is free for {}", of.name, self.name);
            }
            self.start_at = now.plus(TRY_AGAIN);
            turn.wake_at(self.start_at);
            return None;
        };
        turn.starts_left = turn.starts_left.saturating_sub(1);
        match Instance::start(turn.keeper, (of.name, &self.name), port, &of.settings.program, now) {
            Ok(mut instance) => {
                instance.token = turn.next_token;
                turn.next_token = turn.next_token.saturating_add(1);
                turn.ports_used.insert(port);
                of.running = of.running.saturating_add(1);
                turn.wake_at(now);
                (self.last_port, self.is_wanting, turn.is_news) = (Some(port), false, true);
                Some(instance)
            }
            Err(error) => {
                log::error!("{}: {} can't be started: {error}", of.name, self.name);
                self.start_at = now.plus(TRY_AGAIN);
                turn.wake_at(self.start_at);
                None
            }
        }
    }

    /// The one it had, unless it may be the reason why it died; else the next that nobody has.
    fn free_port(&self, of: &mut OfService<'_>, turn: &Turn<'_>) -> Option<u16> {
        if !has_room(of, turn) {
            return None;
        }
        let ports = &of.settings.ports;
        let is_free = |port: &u16| ports.contains(port) && !turn.ports_used.contains(port) && instance::is_free(*port);
        let before = self.last_port.filter(|_| self.short_lives == 0);
        if let Some(port) = before.filter(is_free) {
            return Some(port);
        }
        let from = if ports.contains(of.cursor) {
            *of.cursor
        } else {
            *ports.start()
        };
        let found = (from..=*ports.end()).chain(*ports.start()..from).find(is_free)?;
        *of.cursor = found.checked_add(1).unwrap_or(*ports.start());
        Some(found)
    }
}

/// Whether a port may be free, and one more process may run.
fn has_room(of: &OfService<'_>, turn: &Turn<'_>) -> bool {
    let held = |port: &u16| turn.ports_used.contains(port);
    let free = of.settings.ports.clone().filter(|port| !held(port)).take(1).count();
    free > 0 && of.running < of.settings.processes_max()
}

/// Whether it isn't what the settings say.
fn is_outdated(instance: &Instance, settings: &config::Managed) -> bool {
    instance.program != settings.program || !settings.ports.contains(&instance.port)
}

#[derive(PartialEq, Eq)]
enum Look {
    /// It is well, or there is time.
    Well,
    /// It takes no connection, and should.
    Late,
}

/// Looks whether one that is starting is ready.
fn look(instance: &mut Instance, of: &mut OfService<'_>, turn: &mut Turn<'_>) -> Look {
    let State::Starting { look_at } = instance.state else {
        return Look::Well;
    };
    let now = turn.now;
    if now < look_at {
        turn.wake_at(look_at);
        return Look::Well;
    }
    if instance.pid.is_some() && instance::takes_connections(instance.port) {
        instance.state = State::Ready;
        of.ready = of.ready.saturating_add(1);
        turn.is_news = true;
        log::info!(
            "{}: {} takes connections on port {}",
            of.name,
            instance.name,
            instance.port
        );
        return Look::Well;
    }
    if now.since(instance.started) >= of.settings.start_timeout {
        return Look::Late;
    }
    let look_at = instance.next_look(now);
    instance.state = State::Starting { look_at };
    turn.wake_at(look_at);
    Look::Well
}

//! One service's replicas: those that are to be, those on their way out, and what `control` was told of them.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::time::Duration;

use super::instance::{Instance, State};
use super::slot::{OfService, Slot, Turn};
use crate::api;
use crate::config;
use crate::control::{Board, Bringer, Brought, KeptReplicas};
use crate::elastic::scale::Scaling;
use crate::elastic::scale::wish::Replicas;
use crate::sys::Clock;
use crate::types::Moment;

/// How often it is looked whether a replica on its way out has lost its last session.
const DRAIN_LOOK: Duration = Duration::from_millis(50);
/// A keeper that isn't gone so long after it should have killed all is killed itself.
const KEEPER_MAX: Duration = Duration::from_secs(12);
/// Until backends that `control` refused are offered again.
const ASK_AGAIN: Duration = Duration::from_secs(2);

/// One service's replicas.
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) name: String,
    /// `None`: the section is gone; whoever is left is on the way out.
    pub(super) settings: Option<config::Service>,
    /// What the file said last; the API may have said something else since.
    pub(super) file_replicas: Option<u16>,
    pub(super) slots: Vec<Slot>,
    pub(super) leaving: Vec<Instance>,
    /// What `control` has; `None`: nobody knows.
    in_force: Option<Vec<config::Backend>>,
    /// What it is asked for.
    asked: Option<Vec<config::Backend>>,
    ask_at: Moment,
    last_refusal: String,
    cursor: u16,
    was_complete: bool,
    /// How their number follows the load, where it does.
    scaling: Option<Scaling>,
    scale_at: Moment,
}

impl Kept {
    pub(super) fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            settings: None,
            file_replicas: None,
            slots: Vec::new(),
            leaving: Vec::new(),
            in_force: Some(Vec::new()),
            asked: None,
            ask_at: Moment::START,
            last_refusal: String::new(),
            cursor: 0,
            was_complete: false,
            scaling: None,
            scale_at: Moment::START,
        }
    }

    /// Nobody knows what `control` has of it: it is told anew.
    pub(super) fn tell_anew(&mut self) {
        (self.in_force, self.asked) = (None, None);
    }

    /// Its part of the section.
    pub(super) fn managed(&self) -> Option<&config::Managed> {
        self.settings.as_ref()?.managed.as_ref()
    }

    pub(super) fn instances(&self) -> impl Iterator<Item = &Instance> {
        self.slots.iter().flat_map(Slot::instances).chain(&self.leaving)
    }

    pub(super) fn instances_mut(&mut self) -> impl Iterator<Item = &mut Instance> {
        self.slots
            .iter_mut()
            .flat_map(Slot::instances_mut)
            .chain(&mut self.leaving)
    }

    /// Whether nothing of it is left.
    pub(super) fn is_gone(&self) -> bool {
        self.settings.is_none() && self.leaving.is_empty() && self.slots.is_empty() && self.asked.is_none()
    }

    /// Follows the file, which may not have the service or the section any more.
    pub(super) fn follow(&mut self, settings: Option<&config::Service>, board: &Board, now: Moment) {
        let settings = settings.filter(|settings| settings.managed.is_some());
        let replicas = settings.and_then(|settings| Some(settings.managed.as_ref()?.replicas));
        self.settings = settings.cloned();
        let rules = settings.and_then(|settings| settings.managed.as_ref()?.scale);
        self.scaling = rules.map(|rules| match self.scaling.take() {
            Some(scaling) => scaling.with_rules(rules),
            None => Scaling::new(rules),
        });
        match replicas {
            None => self.remove(usize::MAX, &[], now),
            Some(count) if self.file_replicas != Some(count) => self.set_count(usize::from(count), now),
            Some(_) => {}
        }
        if let Some(settings) = self.managed() {
            // What the API wanted may be more than there are ports now.
            let most = settings.ports_count();
            if self.slots.len() > most {
                self.set_count(most, now);
            }
        }
        self.file_replicas = replicas;
        // The service may have gone and come again: then its pool has none of ours.
        let has: HashSet<SocketAddr> = self.brought(board).iter().map(|brought| brought.address).collect();
        let in_force = self.in_force.iter().flatten();
        if in_force.into_iter().any(|backend| !has.contains(&backend.address)) {
            self.in_force = None;
        }
    }

    fn brought(&self, board: &Board) -> Vec<Brought> {
        board.brought(&self.name, Bringer::Managed)
    }

    /// So many are to be, whoever they are.
    pub(super) fn set_count(&mut self, count: usize, now: Moment) {
        let more = count.saturating_sub(self.slots.len());
        self.add(more, &[], now);
        self.remove(self.slots.len().saturating_sub(count), &[], now);
    }

    /// So many more, these among them.
    pub(super) fn add(&mut self, count: usize, names: &[String], now: Moment) {
        for place in 0..count {
            let name = names.get(place).cloned().unwrap_or_else(|| self.free_name(names));
            self.slots.push(Slot::new(name, now));
        }
        self.was_complete = false;
    }

    /// So many less, these among them; of the others who serves least: those that don't run, then the latest.
    pub(super) fn remove(&mut self, count: usize, names: &[String], now: Moment) {
        for place in 0..count.min(self.slots.len()) {
            let named = names
                .get(place)
                .and_then(|name| self.slots.iter().position(|slot| slot.name == *name));
            let is_named_later = |slot: &Slot| names.iter().skip(place).any(|name| *name == slot.name);
            let idle = || {
                self.slots
                    .iter()
                    .rposition(|slot| slot.ready().is_none() && !is_named_later(slot))
            };
            let last = || self.slots.iter().rposition(|slot| !is_named_later(slot));
            let Some(found) = named.or_else(idle).or_else(last) else {
                return;
            };
            let Slot { current, successor, .. } = self.slots.remove(found);
            for mut instance in current.into_iter().chain(successor) {
                instance.drain(now);
                self.leaving.push(instance);
            }
        }
    }

    /// Another name than all that are taken.
    fn free_name(&self, reserved: &[String]) -> String {
        let of_file = self
            .settings
            .iter()
            .flat_map(|settings| &settings.backends)
            .map(|backend| &backend.name);
        let taken: HashSet<&String> = self
            .slots
            .iter()
            .map(|slot| &slot.name)
            .chain(of_file)
            .chain(reserved)
            .collect();
        // Room for the number within the 64 bytes of a name.
        let stem: String = self.name.chars().take(58).collect();
        let mut names = (1..=u32::MAX).map(|number| format!("{stem}-{number}"));
        names.find(|name| !taken.contains(name)).unwrap_or_default()
    }

    pub(super) fn names(&self) -> Vec<String> {
        self.slots.iter().map(|slot| slot.name.clone()).collect()
    }

    /// Follows the load, where that is wanted.
    fn follow_load(&mut self, board: &Board, turn: &mut Turn<'_>) {
        let Some(scaling) = self.scaling.as_mut().filter(|_| !turn.is_halted) else {
            return;
        };
        if turn.now >= self.scale_at {
            let narrow = |count: usize| u16::try_from(count).unwrap_or(u16::MAX);
            let replicas = Replicas {
                running: narrow(self.slots.len()),
                ready: narrow(self.slots.iter().filter(|slot| slot.ready().is_some()).count()),
            };
            let connections = u64::from(board.sessions(&self.name));
            let wanted = scaling
                .decide(turn.now.since(Moment::START), connections, replicas)
                .wanted;
            self.scale_at = turn.now.plus(scaling.interval());
            // An old lb's sessions aren't counted here: nobody goes because of few before they have ended.
            let others_until = self
                .slots
                .iter()
                .flat_map(Slot::instances)
                .map(|instance| instance.others_until)
                .max();
            let is_sure = wanted > replicas.running || others_until.is_none_or(|until| turn.now >= until);
            if wanted != replicas.running && is_sure {
                let before = replicas.running;
                log::info!(
                    "{}: replicas wanted: {wanted} instead of {before}, live connections: {connections}",
                    self.name
                );
                self.set_count(usize::from(wanted), turn.now);
            }
            turn.is_news = true;
        }
        turn.wake_at(self.scale_at);
    }

    /// Does what the time brings.
    pub(super) fn advance(&mut self, board: &Board, turn: &mut Turn<'_>) {
        self.follow_load(board, turn);
        let brought = self.brought(board);
        let running = self.instances().count();
        if let Some(settings) = self.settings.as_ref().and_then(|settings| settings.managed.as_ref()) {
            let down = brought
                .iter()
                .filter_map(|brought| Some((brought.address, brought.down_since?)));
            let mut of = OfService {
                name: &self.name,
                settings,
                running,
                leaving: &mut self.leaving,
                down: down.collect(),
                is_rolling: self.slots.iter().any(|slot| slot.successor.is_some()),
                ready: self.slots.iter().filter(|slot| slot.ready().is_some()).count(),
                cursor: &mut self.cursor,
            };
            for slot in &mut self.slots {
                slot.advance(&mut of, turn);
            }
        }
        self.see_off(&brought, turn);
        self.tell_complete();
    }

    /// Stops those on their way out that have no sessions any more.
    fn see_off(&mut self, brought: &[Brought], turn: &mut Turn<'_>) {
        let now = turn.now;
        let grace = self
            .managed()
            .map_or(Duration::from_secs(10), |managed| managed.stop_timeout);
        let is_settled = self.asked.is_none();
        let in_force: HashSet<SocketAddr> = self.in_force.iter().flatten().map(|backend| backend.address).collect();
        for instance in &mut self.leaving {
            match instance.state {
                State::Draining { not_before } => {
                    let address = instance.address();
                    let has_sessions =
                        in_force.contains(&address) || brought.iter().any(|brought| brought.address == address);
                    if is_settled && now >= not_before && !has_sessions {
                        instance.stop(grace, now);
                        turn.wake_at(now);
                    } else {
                        turn.wake_at(now.plus(DRAIN_LOOK));
                    }
                }
                State::Stopping { kill_at } => {
                    let due = kill_at.plus(KEEPER_MAX);
                    if now >= due {
                        log::error!("{}: {} doesn't end; its keeper is killed", self.name, instance.name);
                        instance.kill_keeper();
                    }
                    turn.wake_at(due.max(now.plus(KEEPER_MAX)));
                }
                _ => {}
            }
        }
    }

    fn tell_complete(&mut self) {
        let running = self.slots.iter().filter(|slot| slot.ready().is_some()).count();
        let is_complete = running > 0 && running == self.slots.len();
        if is_complete && !self.was_complete {
            log::info!("{}: replicas: {running} of {running} take connections", self.name);
        }
        self.was_complete = is_complete;
    }

    /// What `control` is to be asked for now, if it has something else.
    pub(super) fn ask(&mut self, turn: &mut Turn<'_>) -> Option<Vec<config::Backend>> {
        let wanted: Vec<config::Backend> = self.slots.iter().filter_map(Slot::ready).map(backend).collect();
        if self.asked.is_some() || self.in_force.as_ref() == Some(&wanted) {
            return None;
        }
        if turn.now < self.ask_at {
            turn.wake_at(self.ask_at);
            return None;
        }
        self.asked = Some(wanted.clone());
        Some(wanted)
    }

    /// What came of it; `Err`: why it can't be had.
    pub(super) fn answered(&mut self, outcome: Result<&[String], &str>, now: Moment) {
        let asked = self.asked.take();
        let said = match outcome {
            Ok(refused) => {
                self.in_force = asked;
                refused.join("; ")
            }
            // Without the service there are no backends of it.
            Err(_) if self.settings.is_none() => {
                self.in_force = Some(Vec::new());
                String::new()
            }
            Err(message) => {
                (self.in_force, self.ask_at) = (None, now.plus(ASK_AGAIN));
                message.to_owned()
            }
        };
        if !said.is_empty() && said != self.last_refusal {
            log::error!("{}: replicas that can't be backends: {said}", self.name);
        }
        self.last_refusal = said;
    }

    /// As it is shown.
    pub(super) fn shown(&self) -> KeptReplicas {
        let replicas: Vec<api::Replica> = self.slots.iter().map(Slot::shown).collect();
        let running = replicas
            .iter()
            .filter(|replica| replica.state == api::ReplicaState::Running)
            .count();
        let narrow = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        // Of two with one name the one that serves is shown: it comes last.
        let all = self
            .leaving
            .iter()
            .chain(self.slots.iter().filter_map(|slot| slot.current.as_ref()));
        KeptReplicas {
            processes: all
                .filter_map(|instance| Some((instance.name.clone(), instance.meter.process?)))
                .collect::<HashMap<_, _>>(),
            replicas: api::Replicas {
                wanted: narrow(self.slots.len()),
                running: narrow(running),
                replicas,
                scaling: self.scaling.as_ref().and_then(|scaling| scaling.shown(utc)),
            },
        }
    }

    /// A process has ended: `how`, of its own accord or not. It is nobody's any more, but its port is taken until its keeper is gone.
    pub(super) fn note_end(&mut self, token: u64, how: &str, now: Moment) {
        if let Some(instance) = self.leaving.iter_mut().find(|instance| instance.token == token) {
            log::info!("{}: {} {how}", self.name, instance.name);
            instance.state = State::Ended;
            return;
        }
        let Some(settings) = self.settings.as_ref().and_then(|settings| settings.managed.as_ref()) else {
            return;
        };
        let of = OfService {
            name: &self.name,
            settings,
            running: 0,
            leaving: &mut self.leaving,
            down: HashMap::new(),
            is_rolling: false,
            ready: 0,
            cursor: &mut self.cursor,
        };
        let is_it = |instance: &mut Instance| instance.token == token;
        for slot in &mut self.slots {
            let ended = slot.current.take_if(is_it).map(|instance| (instance, true));
            let ended = ended.or_else(|| slot.successor.take_if(is_it).map(|instance| (instance, false)));
            let Some((mut instance, was_current)) = ended else {
                continue;
            };
            instance.state = State::Ended;
            let lived = now.since(instance.started);
            of.leaving.push(instance);
            slot.restarts = slot.restarts.saturating_add(u32::from(was_current));
            let lived_for =
                humantime::format_duration(Duration::from_millis(u64::try_from(lived.as_millis()).unwrap_or(0)));
            slot.note_end(&of, now, lived, &format!("{how} after {lived_for}"));
            return;
        }
    }

    /// Its keeper is gone, and with it the process.
    pub(super) fn forget(&mut self, token: u64) -> Option<Instance> {
        let place = self.leaving.iter().position(|instance| instance.token == token)?;
        Some(self.leaving.remove(place))
    }

    /// Stops everything at once.
    pub(super) fn stop(&mut self, now: Moment) {
        let grace = self
            .managed()
            .map_or(Duration::from_secs(10), |managed| managed.stop_timeout);
        self.remove(usize::MAX, &[], now);
        for instance in &mut self.leaving {
            instance.stop(grace, now);
        }
    }
}

/// The time of day at a moment of this process, given as the time since its start.
fn utc(since_start: Duration) -> String {
    let (now, time) = (Clock::now().since(Moment::START), jiff::Timestamp::now());
    let moved = match since_start.checked_sub(now) {
        Some(ahead) => time.checked_add(ahead),
        None => time.checked_sub(now.saturating_sub(since_start)),
    };
    format!("{:.3}", moved.unwrap_or(time))
}

fn backend(instance: &Instance) -> config::Backend {
    config::Backend {
        name: instance.name.clone(),
        address: instance.address(),
        weight: 1,
        connections_max: None,
        backup: false,
        metrics: None,
    }
}

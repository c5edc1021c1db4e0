//! How another lb takes the replicas over: their sockets, and what is known of each as JSON.

use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::figures::Meter;
use super::instance::{Instance, State};
use super::kept::Kept;
use super::slot::Slot;
use crate::config;
use crate::control::Luggage;
use crate::types::Moment;

/// What is known of all.
#[derive(Debug, Serialize, Deserialize)]
struct Known {
    /// How long the sessions of the lb that hands over may live.
    drain_timeout_ms: u64,
    services: Vec<Service>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Service {
    name: String,
    file_replicas: Option<u16>,
    slots: Vec<Passed>,
    leaving: Vec<Process>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Passed {
    name: String,
    restarts: u32,
    short_lives: u32,
    /// Until it is started again.
    start_in_ms: u64,
    current: Option<Process>,
    successor: Option<Process>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Process {
    name: String,
    port: u16,
    keeper: u32,
    pid: Option<u32>,
    birth: Option<u64>,
    age_ms: u64,
    program: config::Program,
    state: Doing,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Doing {
    Starting,
    Ready,
    Draining,
    Stopping { kill_in_ms: u64 },
    Ended,
}

/// So long the lb that hands over waits, and a little longer, before it begins to drain.
const TRIAL_MAX: Duration = Duration::from_secs(6);

fn milliseconds(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

/// What another lb needs to go on with the replicas: what is known of each, and a copy of its socket in the same order.
///
/// # Errors
/// No descriptor is left.
pub(super) fn pack(services: &[Kept], drain_timeout: Duration, now: Moment) -> io::Result<Luggage> {
    let mut descriptors = Vec::new();
    let state: io::Result<Vec<Service>> = services
        .iter()
        .map(|kept| service(kept, now, &mut descriptors))
        .collect();
    Ok(Luggage {
        state: serde_json::to_value(Known {
            drain_timeout_ms: milliseconds(drain_timeout),
            services: state?,
        })?,
        descriptors,
    })
}

/// The replicas that were handed over. Sessions on them may be the other lb's, for as long as that one may drain.
pub(super) fn adopt(luggage: Luggage, now: Moment, token: &mut u64) -> Result<Vec<Kept>, String> {
    let known: Known = serde_json::from_value(luggage.state).map_err(|error| error.to_string())?;
    let others_until = now.plus(TRIAL_MAX).plus(Duration::from_millis(known.drain_timeout_ms));
    let mut sockets = luggage.descriptors.into_iter();
    let mut adopt = |process: Process| {
        let socket = sockets.next().ok_or("fewer sockets than replicas")?;
        *token = token.saturating_add(1);
        Ok::<Instance, String>(instance(process, socket, *token, (now, others_until)))
    };
    let mut all = Vec::new();
    for service in known.services {
        let mut kept = Kept::new(&service.name);
        kept.file_replicas = service.file_replicas;
        for passed in service.slots {
            let mut slot = Slot::new(passed.name, now.plus(Duration::from_millis(passed.start_in_ms)));
            (slot.restarts, slot.short_lives) = (passed.restarts, passed.short_lives);
            slot.current = passed.current.map(&mut adopt).transpose()?;
            slot.successor = passed.successor.map(&mut adopt).transpose()?;
            slot.last_port = slot.current.as_ref().map(|instance| instance.port);
            kept.slots.push(slot);
        }
        for process in service.leaving {
            kept.leaving.push(adopt(process)?);
        }
        all.push(kept);
    }
    Ok(all)
}

fn service(kept: &Kept, now: Moment, descriptors: &mut Vec<OwnedFd>) -> io::Result<Service> {
    let mut pass = |instance: &Instance| process(instance, now, descriptors);
    let mut slots = Vec::new();
    for slot in &kept.slots {
        slots.push(Passed {
            name: slot.name.clone(),
            restarts: slot.restarts,
            short_lives: slot.short_lives,
            start_in_ms: milliseconds(slot.start_at.since(now)),
            current: slot.current.as_ref().map(&mut pass).transpose()?,
            successor: slot.successor.as_ref().map(&mut pass).transpose()?,
        });
    }
    Ok(Service {
        name: kept.name.clone(),
        file_replicas: kept.file_replicas,
        slots,
        leaving: kept.leaving.iter().map(pass).collect::<io::Result<_>>()?,
    })
}

fn process(instance: &Instance, now: Moment, descriptors: &mut Vec<OwnedFd>) -> io::Result<Process> {
    descriptors.push(instance.socket.try_clone()?);
    Ok(Process {
        name: instance.name.clone(),
        port: instance.port,
        keeper: instance.keeper,
        pid: instance.pid,
        birth: instance.birth,
        age_ms: milliseconds(now.since(instance.started)),
        program: instance.program.clone(),
        state: match instance.state {
            State::Starting { .. } => Doing::Starting,
            State::Ready => Doing::Ready,
            State::Draining { .. } => Doing::Draining,
            State::Stopping { kill_at } => Doing::Stopping {
                kill_in_ms: milliseconds(kill_at.since(now)),
            },
            State::Ended => Doing::Ended,
        },
    })
}

fn instance(process: Process, socket: OwnedFd, token: u64, (now, others_until): (Moment, Moment)) -> Instance {
    Instance {
        token,
        is_registered: false,
        name: process.name,
        port: process.port,
        socket,
        keeper: process.keeper,
        pid: process.pid,
        birth: process.birth,
        program: process.program,
        // The clock of this process begins with it; what is older than that is as old as it.
        started: Moment::from_nanos(now.nanos().saturating_sub(process.age_ms.saturating_mul(1_000_000))),
        state: match process.state {
            Doing::Starting => State::Starting { look_at: now },
            Doing::Ready => State::Ready,
            Doing::Draining => State::Draining {
                not_before: others_until,
            },
            Doing::Stopping { kill_in_ms } => State::Stopping {
                kill_at: now.plus(Duration::from_millis(kill_in_ms)),
            },
            Doing::Ended => State::Ended,
        },
        others_until,
        meter: Meter::default(),
    }
}

//! The commands that ask a running lb: what is asked, and what is said of the answer.

use std::io::{self, Write};
use std::process::ExitCode;

use hyper::StatusCode;

use super::failure::Failure;
use super::human::{UNKNOWN, age, bytes, counted, grouped};
use super::json::pretty;
use super::remote::{Answer, Remote, path};
use super::table::{Cell, Side, Table};
use super::text::{shown, word};
use super::typed::{Named, RemoteCommand, RemoteFlags};
use super::{backends, top};
use crate::api::{
    Address, Backend, BackendChange, Connections, Ended, Name, NewBackend, Reloaded, Service, Status, Upgraded,
    WantedState, Weight,
};

/// Where the API begins.
const API: [&str; 2] = ["api", "v1"];

/// Does one of them; its exit status: 0 done, 1 refused, 2 wrong usage, 3 lb isn't reachable.
pub fn speak(flags: &RemoteFlags, command: &RemoteCommand) -> ExitCode {
    let done = match command {
        RemoteCommand::Top => top::run(flags),
        command => Remote::new(flags)
            .and_then(|lb| answer(&lb, command))
            .and_then(|answer| {
                let text = said(flags.json, command, &answer)?;
                print(|| anstream::AutoStream::auto(io::stdout().lock()).write_all(text.as_bytes()))
            }),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}

/// Writes to standard output. Who stops reading, as `head` does, has read enough.
pub(super) fn print(write: impl FnOnce() -> io::Result<()>) -> Result<(), Failure> {
    let written = write().and_then(|()| io::stdout().lock().flush());
    match written {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Failure::Output(error)),
        _ => Ok(()),
    }
}

/// The path of everything in the process.
pub(super) fn status_path() -> String {
    path(&[&API[..], &["status"]].concat(), &[])
}

/// The path of some live connections.
pub(super) fn connections_path(service: Option<&str>, backend: Option<&str>, limit: u32) -> String {
    let limit = limit.to_string();
    let query = [
        ("service", service),
        ("backend", backend),
        ("limit", Some(limit.as_str())),
    ];
    path(&[&API[..], &["connections"]].concat(), &query)
}

/// The path of one backend.
pub(super) fn backend_path(service: &str, name: &str, query: &[(&str, Option<&str>)]) -> String {
    path(&[&API[..], &["services", service, "backends", name]].concat(), query)
}

fn answer(lb: &Remote, command: &RemoteCommand) -> Result<Answer, Failure> {
    let change =
        |backend: &Named, change: BackendChange| lb.patch(&backend_path(&backend.service, &backend.name, &[]), &change);
    let state = |state: WantedState| BackendChange {
        state: Some(state),
        ..BackendChange::default()
    };
    match command {
        RemoteCommand::Status | RemoteCommand::Top => lb.get(&status_path()),
        RemoteCommand::Backends { service } => {
            let mut parts = [&API[..], &["services"]].concat();
            parts.extend(service.as_deref());
            lb.get(&path(&parts, &[]))
        }
        RemoteCommand::Add {
            backend,
            address,
            weight,
            backup,
        } => {
            let new = NewBackend {
                name: Name(backend.name.clone()),
                address: Address(address.clone()),
                weight: Some(Weight(*weight)),
                backup: Some(*backup),
            };
            lb.post(
                &path(&[&API[..], &["services", &backend.service, "backends"]].concat(), &[]),
                &new,
            )
        }
        RemoteCommand::Remove { backend, drain } => lb.delete(&backend_path(
            &backend.service,
            &backend.name,
            &[("drain", drain.as_deref())],
        )),
        RemoteCommand::Drain { backend } => change(backend, state(WantedState::Draining)),
        RemoteCommand::Resume { backend } => change(backend, state(WantedState::Active)),
        RemoteCommand::Weight { backend, weight } => {
            let weight = Some(Weight(*weight));
            change(backend, BackendChange { weight, state: None })
        }
        RemoteCommand::Reload => lb.order(&path(&[&API[..], &["reload"]].concat(), &[])),
        RemoteCommand::Upgrade => lb.order(&path(&[&API[..], &["upgrade"]].concat(), &[])),
        RemoteCommand::Connections {
            service,
            backend,
            limit,
        } => lb.get(&connections_path(service.as_deref(), backend.as_deref(), *limit)),
        RemoteCommand::End { id } => lb.delete(&path(&[&API[..], &["connections", id]].concat(), &[])),
    }
}

fn said(json: bool, command: &RemoteCommand, answer: &Answer) -> Result<String, Failure> {
    if json {
        return answer.json(pretty).map(|text| format!("{text}\n"));
    }
    Ok(match command {
        RemoteCommand::Status | RemoteCommand::Top => status(&answer.read()?),
        RemoteCommand::Backends { service: None } => backends::list(&answer.read::<Vec<Service>>()?),
        RemoteCommand::Backends { service: Some(_) } => backends::list(&[answer.read()?]),
        RemoteCommand::Add { backend, .. } => {
            let added: Backend = answer.read()?;
            let (address, weight) = (shown(&added.address), added.weight);
            told(
                backend,
                &format!("added, {address}, weight {weight}, {}", added.state.as_str()),
            )
        }
        RemoteCommand::Remove { backend, .. } if answer.status == StatusCode::ACCEPTED => {
            let active = answer.read::<Backend>()?.connections.active;
            told(
                backend,
                &format!(
                    "draining, {}; it is gone when they have ended",
                    counted(active, "live connection")
                ),
            )
        }
        RemoteCommand::Remove { backend, .. } => told(backend, "removed"),
        RemoteCommand::Drain { backend } | RemoteCommand::Resume { backend } => {
            let now: Backend = answer.read()?;
            let active = counted(now.connections.active, "live connection");
            told(backend, &format!("{}, {active}", now.state.as_str()))
        }
        RemoteCommand::Weight { backend, .. } => told(backend, &format!("weight {}", answer.read::<Backend>()?.weight)),
        RemoteCommand::Reload => {
            let reloaded: Reloaded = answer.read()?;
            let lines = reloaded.changes.iter().map(|change| format!("{}\n", shown(change)));
            format!(
                "{}reloaded, {}\n",
                lines.collect::<String>(),
                counted(reloaded.changes.len() as u64, "change")
            )
        }
        RemoteCommand::Upgrade => {
            let pid = answer.read::<Upgraded>()?.pid;
            format!("upgraded: process {pid} serves; the connections of the old one may finish\n")
        }
        RemoteCommand::Connections { .. } => connections(&answer.read()?),
        RemoteCommand::End { .. } => {
            let ended: Ended = answer.read()?;
            format!("{}: {}\n", shown(&ended.id), shown(&ended.end))
        }
    })
}

fn told(backend: &Named, what: &str) -> String {
    format!("{}/{}: {what}\n", shown(&backend.service), shown(&backend.name))
}

fn status(status: &Status) -> String {
    let connections = status.connections;
    let mut text = format!(
        "lb {} is {}, for {} now, process {}, {}\nconnections: {} active, {} in all, {} refused\n",
        shown(&status.version),
        word(&status.state),
        age(status.uptime_seconds),
        status.pid,
        counted(status.workers.into(), "worker"),
        grouped(connections.active),
        grouped(connections.total),
        grouped(connections.refused),
    );
    for service in &status.services {
        text.push_str(&backends::service(service));
    }
    text
}

fn connections(live: &Connections) -> String {
    if live.connections.is_empty() {
        return "no live connections\n".into();
    }
    let mut table = Table::new(&[
        ("ID", Side::Left),
        ("SERVICE", Side::Left),
        ("CLIENT", Side::Left),
        ("BACKEND", Side::Left),
        ("PHASE", Side::Left),
        ("AGE", Side::Right),
        ("TO BACKEND", Side::Right),
        ("TO CLIENT", Side::Right),
    ]);
    for connection in &live.connections {
        table.row(vec![
            Cell::from(&connection.id),
            Cell::from(&connection.service),
            Cell::from(&connection.client),
            connection.backend.as_deref().unwrap_or(UNKNOWN).into(),
            word(&connection.phase).into(),
            age(connection.seconds).into(),
            bytes(connection.bytes_to_backend).into(),
            bytes(connection.bytes_to_client).into(),
        ]);
    }
    let mut text = table.lines("");
    if live.is_truncated {
        let shown = grouped(live.connections.len() as u64);
        text.push_str(&format!(
            "\n{shown} are shown, there may be more: --limit N shows them\n"
        ));
    }
    text
}

#[cfg(test)]
mod tests;

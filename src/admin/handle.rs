//! What each endpoint does: from a request that was let in to its answer.

use std::rc::Rc;
use std::time::Duration;

use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::http::request::Parts;
use hyper::{Method, Request, StatusCode, header};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::{mpsc, oneshot};

use super::answer::{self, Answer, Failure, busy};
use super::fence::Source;
use super::query::Query;
use super::routes::{self, Action, Asked};
use super::state::State;
use super::tokens::Role;
use super::{assets, describe, replicas};
use crate::api;
use crate::config;
use crate::control::{self, Command, Refusal, RefusalKind, ReplicaOrder};
use crate::observe::METRICS_CONTENT_TYPE;
use crate::sys::Clock;

/// A call has so long, whatever it waits for.
pub(super) const CALL_MAX: Duration = Duration::from_secs(5);
/// Bytes of a body: a hundred times the longest that has a meaning.
const BODY_BYTES_MAX: usize = 64 << 10;
/// Connections told of unless `limit` says otherwise, and at most.
const CONNECTIONS_DEFAULT: usize = 100;
const CONNECTIONS_MAX: usize = 1000;

/// Answers a request, whatever it is.
pub(super) async fn handle(state: Rc<State>, source: Source, request: Request<Incoming>) -> Answer {
    let (parts, body) = request.into_parts();
    let admitted = state.fence.borrow_mut().admit(&parts, source, Clock::now());
    let role = match admitted {
        Ok(role) => role,
        Err(failure) => return failure.into_answer(),
    };
    let answering = tokio::time::timeout(CALL_MAX, answer(&state, role, &parts, body));
    let mut answer = match answering.await {
        Ok(Ok(answer)) => answer,
        Ok(Err(failure)) => failure.into_answer(),
        Err(_) if matches!(parts.method, Method::GET | Method::HEAD) => {
            busy("this took longer than 5 seconds").into_answer()
        }
        Err(_) => busy("this took longer than 5 seconds; it may still be carried out: look before you ask again")
            .into_answer(),
    };
    answer::tell_role(&mut answer, role);
    answer
}

async fn answer(state: &Rc<State>, role: Role, parts: &Parts, body: Incoming) -> Result<Answer, Failure> {
    let asked = routes::find(&parts.method, parts.uri.path())?;
    check_role(role, asked.route.role)?;
    let query = Query::parse(parts.uri.query(), asked.route.action)?;
    match asked.route.action {
        Action::Dashboard => Ok(assets::page()),
        Action::Asset => assets::file(asked.parameter(0), &parts.headers),
        Action::Healthcheck => Ok(healthcheck(state, role)),
        Action::Metrics => {
            let metrics = state.board.metrics();
            Ok(answer::whole(StatusCode::OK, METRICS_CONTENT_TYPE, metrics))
        }
        Action::Stats => Ok(ok(&state.flat())),
        Action::Status => Ok(ok(&state.status())),
        Action::Services => Ok(ok(&state.status().services)),
        Action::Service => service(state, &asked).map(|service| ok(&service)),
        Action::Backends => service(state, &asked).map(|service| ok(&service.backends)),
        Action::Backend => backend(state, &asked).map(|backend| ok(&backend)),
        Action::AddBackend => {
            let backend = read(parts, body).await?;
            let service = asked.parameter(0).to_owned();
            order(state, &asked, Command::Add { service, backend }).await
        }
        Action::ChangeBackend => {
            let change = read(parts, body).await?;
            let (service, backend) = (asked.parameter(0).to_owned(), asked.parameter(1).to_owned());
            let command = Command::Change {
                service,
                backend,
                change,
            };
            order(state, &asked, command).await
        }
        Action::Replicas => replicas::ask(state, &query, ReplicaOrder::Tell).await,
        Action::AddReplicas => {
            let (count, names) = replicas::parts(read(parts, body).await?);
            replicas::ask(state, &query, ReplicaOrder::Add { count, names }).await
        }
        Action::RemoveReplicas => {
            let (count, names) = replicas::parts(read(parts, body).await?);
            replicas::ask(state, &query, ReplicaOrder::Remove { count, names }).await
        }
        Action::Reload => order(state, &asked, Command::Reload).await,
        Action::Upgrade => order(state, &asked, Command::Upgrade).await,
        Action::RemoveBackend => remove(state, &asked, &query).await,
        Action::Connections => connections(state, &query).await,
        Action::EndConnection => end(state, asked.parameter(0)).await,
        Action::History => history(state, &query),
        Action::Events => events(state),
        Action::Description => Ok(answer::whole(StatusCode::OK, "application/json", describe::document())),
    }
}

fn check_role(role: Role, wanted: Role) -> Result<(), Failure> {
    if role >= wanted {
        return Ok(());
    }
    if role == Role::Nobody {
        return Err(Failure::unauthorized("a token is needed: Authorization: Bearer TOKEN"));
    }
    let message = "this token may only read; a token of role operate may change something";
    Err(Failure::new(StatusCode::FORBIDDEN, "forbidden", message))
}

fn ok<T: Serialize>(value: &T) -> Answer {
    answer::json(StatusCode::OK, value)
}

fn healthcheck(state: &State, role: Role) -> Answer {
    let mut check = state.board.healthcheck();
    let status = if check.status == "ok" {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    if role < Role::Read {
        check.services.clear(); // names are for those who may look
    }
    answer::json(status, &check)
}

fn service(state: &State, asked: &Asked<'_>) -> Result<api::Service, Failure> {
    let name = asked.parameter(0);
    state.service(name).ok_or_else(|| unknown_service(name))
}

fn backend(state: &State, asked: &Asked<'_>) -> Result<api::Backend, Failure> {
    let (service, name) = (asked.parameter(0), asked.parameter(1));
    let found = state.backend(service, name).ok_or_else(|| unknown_service(service))?;
    found.ok_or_else(|| unknown_backend(service, name))
}

fn unknown_backend(service: &str, name: &str) -> Failure {
    let message = format!("{service} has no backend named \"{}\"", name.escape_debug());
    Failure::new(StatusCode::NOT_FOUND, "unknown_backend", message)
}

fn unknown_service(name: &str) -> Failure {
    let message = format!(
        "no service is named \"{}\"; GET /api/v1/services tells which there are",
        name.escape_debug()
    );
    Failure::new(StatusCode::NOT_FOUND, "unknown_service", message)
}

async fn remove(state: &State, asked: &Asked<'_>, query: &Query) -> Result<Answer, Failure> {
    let drain = query.get("drain").map(config::drain).transpose();
    let drain = drain.map_err(|message| Failure::new(StatusCode::BAD_REQUEST, "bad_parameter", message))?;
    let (service, backend) = (asked.parameter(0).to_owned(), asked.parameter(1).to_owned());
    let command = Command::Remove {
        service,
        backend,
        drain,
    };
    order(state, asked, command).await
}

/// Asks the control thread, and tells what came of it.
async fn order(state: &State, asked: &Asked<'_>, command: Command) -> Result<Answer, Failure> {
    let (send, receive) = oneshot::channel();
    state.commander.ask(command, move |outcome| {
        // Nobody waits any more: the call took too long, or its client has gone.
        drop(send.send(outcome));
    });
    let outcome = receive.await.map_err(|_| busy("lb is stopping"))?;
    let (status, mut backend) = match outcome.map_err(refused)? {
        control::Answer::Upgraded(pid) => return Ok(ok(&api::Upgraded { pid })),
        control::Answer::Reloaded(changes) => return Ok(ok(&api::Reloaded { changes })),
        control::Answer::Backend(backend) if asked.route.action == Action::AddBackend => (StatusCode::CREATED, backend),
        control::Answer::Backend(backend) | control::Answer::Gone(backend) => (StatusCode::OK, backend),
        control::Answer::Draining(backend) => (StatusCode::ACCEPTED, backend),
        control::Answer::Provided(_) => return Err(busy("an answer to another question")),
    };
    state.processes.borrow().fill(asked.parameter(0), &mut backend);
    Ok(answer::json(status, &backend))
}

pub(super) fn refused(refusal: Refusal) -> Failure {
    let Refusal { kind, message, details } = refusal;
    let (status, code) = match kind {
        RefusalKind::UnknownService => (StatusCode::NOT_FOUND, "unknown_service"),
        RefusalKind::UnknownBackend => (StatusCode::NOT_FOUND, "unknown_backend"),
        RefusalKind::NameTaken => (StatusCode::CONFLICT, "name_taken"),
        RefusalKind::BadValue => (StatusCode::UNPROCESSABLE_ENTITY, "bad_value"),
        RefusalKind::Limit => (StatusCode::UNPROCESSABLE_ENTITY, "limit"),
        RefusalKind::BadUpgrade => (StatusCode::UNPROCESSABLE_ENTITY, "bad_upgrade"),
        RefusalKind::BadConfig => (StatusCode::UNPROCESSABLE_ENTITY, "bad_config"),
        RefusalKind::Stopping => (StatusCode::CONFLICT, "stopping"),
        RefusalKind::Busy => return busy(&message),
    };
    Failure::new(status, code, message).with_details(details)
}

/// The JSON of a body.
async fn read<T: DeserializeOwned>(parts: &Parts, body: Incoming) -> Result<T, Failure> {
    let content_type = parts
        .headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    let media_type = content_type.and_then(|text| text.split(';').next()).map(str::trim);
    if !media_type.is_some_and(|text| text.eq_ignore_ascii_case("application/json")) {
        let message = "wanted JSON: Content-Type: application/json";
        return Err(Failure::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "not_json", message));
    }
    let body = Limited::new(body, BODY_BYTES_MAX).collect().await.map_err(|error| {
        if error.is::<LengthLimitError>() {
            Failure::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                "too_large",
                "wanted a body of at most 64 KiB",
            )
        } else {
            Failure::new(StatusCode::BAD_REQUEST, "bad_body", "the body broke off")
        }
    })?;
    let body = body.to_bytes();
    // serde takes the fields of an object from a list too, by their order.
    if body.trim_ascii_start().starts_with(b"[") {
        let message = "the body: found a list, wanted an object";
        return Err(Failure::new(StatusCode::UNPROCESSABLE_ENTITY, "bad_json", message));
    }
    serde_json::from_slice(&body).map_err(|error| {
        let status = if error.is_data() {
            StatusCode::UNPROCESSABLE_ENTITY
        } else {
            StatusCode::BAD_REQUEST
        };
        Failure::new(status, "bad_json", format!("the body: {error}"))
    })
}

async fn connections(state: &State, query: &Query) -> Result<Answer, Failure> {
    let limit = query
        .number("limit", 1..=CONNECTIONS_MAX)?
        .unwrap_or(CONNECTIONS_DEFAULT);
    if let (Some(service), Some(backend)) = (query.get("service"), query.get("backend"))
        && state
            .board
            .backend(service, backend)
            .is_some_and(|found| found.is_none())
    {
        return Err(unknown_backend(service, backend));
    }
    let (send, mut receive) = mpsc::unbounded_channel();
    let tell = move |sessions: control::Sessions| drop(send.send(sessions)); // dropped: nobody waits any more
    let is_known = state
        .board
        .connections(query.get("service"), query.get("backend"), limit, tell);
    if !is_known {
        return Err(unknown_service(query.get("service").unwrap_or("")));
    }
    let mut found: Vec<api::Connection> = Vec::new();
    // Ends when every worker has answered, or has ended.
    while let Some(sessions) = receive.recv().await {
        found.extend(sessions.connections());
    }
    // Each worker stops at the limit: that many may be all, or not.
    let is_truncated = found.len() >= limit;
    found.truncate(limit);
    Ok(ok(&api::Connections {
        connections: found,
        is_truncated,
    }))
}

async fn end(state: &State, id: &str) -> Result<Answer, Failure> {
    let unknown = || {
        let message = format!("no live connection has the id \"{}\"", id.escape_debug());
        Failure::new(StatusCode::NOT_FOUND, "unknown_connection", message)
    };
    let (send, receive) = oneshot::channel();
    if !state.board.end_connection(id, move |was_there| {
        // Nobody waits any more.
        send.send(was_there).unwrap_or_default();
    }) {
        return Err(unknown());
    }
    let was_there = receive.await.map_err(|_| busy("lb is stopping"))?;
    if !was_there {
        return Err(unknown());
    }
    Ok(ok(&api::Ended {
        id: id.to_owned(),
        end: "ended_by_operator".to_owned(),
    }))
}

fn history(state: &State, query: &Query) -> Result<Answer, Failure> {
    let minutes = query.number("minutes", 1..=30)?.unwrap_or(30);
    if let Some(name) = query.get("service")
        && !state.board.has_service(name)
    {
        return Err(unknown_service(name));
    }
    let samples = minutes.saturating_mul(30); // one each two seconds
    let page = state.samples.borrow_mut().page(samples, query.get("service"));
    page.map(|page| answer::whole(StatusCode::OK, "application/json", page))
        .map_err(|error| {
            Failure::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                "no_json",
                format!("the samples can't be told as JSON: {error}"),
            )
        })
}

fn events(state: &State) -> Result<Answer, Failure> {
    let events = state.hub.borrow_mut().listen();
    events
        .map(answer::stream)
        .ok_or_else(|| busy("too many listen to events already"))
}

//! `/rep`, `/add` and `/rm`: how many replicas a service is to have, in the words of a well-known exercise, which say what is wrong in
//! a shape of their own.

use hyper::StatusCode;
use tokio::sync::oneshot;

use super::answer::{self, Answer, Failure, busy};
use super::handle::refused;
use super::query::Query;
use super::state::State;
use crate::api;
use crate::control::{Refusal, RefusalKind, ReplicaNames, ReplicaOrder};

/// Asks whoever keeps the replicas.
pub(super) async fn ask(state: &State, query: &Query, order: ReplicaOrder) -> Result<Answer, Failure> {
    let (send, receive) = oneshot::channel();
    let service = query.get("service").map(ToOwned::to_owned);
    state.commander.replicas().ask(service, order, move |outcome| {
        // Nobody waits any more: the call took too long, or its client has gone.
        drop(send.send(outcome));
    });
    match receive.await.map_err(|_| busy("lb is stopping"))? {
        Ok(told) => Ok(answer::json(StatusCode::OK, &list(told))),
        Err(refusal) if matches!(refusal.kind, RefusalKind::Busy | RefusalKind::Stopping) => Err(refused(refusal)),
        Err(Refusal { message, .. }) => {
            let failure = api::ReplicaFailure {
                message: format!("<Error> {message}"),
                status: "failure".to_owned(),
            };
            Ok(answer::json(StatusCode::BAD_REQUEST, &failure))
        }
    }
}

fn list(told: ReplicaNames) -> api::ReplicaAnswer {
    api::ReplicaAnswer {
        message: api::ReplicaList {
            n: u32::try_from(told.names.len()).unwrap_or(u32::MAX),
            replicas: told.names,
        },
        status: "successful".to_owned(),
    }
}

/// What was asked for: how many, and names of some.
pub(super) fn parts(change: api::ReplicaChange) -> (usize, Vec<String>) {
    let count = usize::try_from(change.n).unwrap_or(usize::MAX);
    (count, change.hostnames.into_iter().map(|name| name.0).collect())
}

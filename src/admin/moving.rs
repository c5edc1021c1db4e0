//! The admin port when a new lb takes over: the same listener, and only one of the two answers.

use std::io;

use tokio::sync::watch;

use super::listen::{Door, Moved, NAME};
use crate::config::AdminListen;
use crate::control::{Companion, Luggage};

/// Who answers at the port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// This process.
    Ours,
    /// A new one, for as long as it doesn't fail.
    Theirs,
    /// A new one, for good: the socket's file is its own too.
    Given,
}

/// The admin room, when a new lb is started.
#[derive(Debug)]
pub struct AdminCompanion {
    pub(super) door: Door,
    pub(super) listen: AdminListen,
    pub(super) turn: watch::Sender<Turn>,
}

impl Companion for AdminCompanion {
    fn name(&self) -> &'static str {
        NAME
    }

    fn pack(&self) -> io::Result<Luggage> {
        Ok(Luggage {
            state: serde_json::to_value(Moved {
                listen: self.listen.to_string(),
                has_file: self.door.has_file(),
            })?,
            descriptors: vec![self.door.descriptor()?],
        })
    }

    fn step_aside(&self) {
        self.turn.send_replace(Turn::Theirs);
    }

    fn resume(&self) {
        self.turn.send_replace(Turn::Ours);
    }

    fn let_go(&self) {
        self.turn.send_replace(Turn::Given);
    }
}

/// Waits until it is somebody else's turn.
pub(super) async fn given_away(turn: &mut watch::Receiver<Turn>) {
    // Whoever could change it is gone: it stays as it is.
    if turn.wait_for(|turn| *turn != Turn::Ours).await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// Waits until it is ours again.
pub(super) async fn given_back(turn: &mut watch::Receiver<Turn>) {
    if turn.wait_for(|turn| *turn == Turn::Ours).await.is_err() {
        std::future::pending::<()>().await;
    }
}

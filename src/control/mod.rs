//! The one room that knows how all fits together: starts it, is the only one to change it, stops it.
//!
//! `start` opens everything or nothing. Then [`Running::serve`] is the control loop: it waits for signals, for [`Command`]s and for
//! verdicts of the health thread, and swaps in what follows from them. What it shows of itself is the [`Board`], which anybody may
//! read. Nothing on the data path waits for this thread.
//!
//! Threads: acceptor (listeners), worker-N (sessions), health (probes), signals, log and access-log writers, and this one; `admin`
//! asks it for changes.

mod assemble;
mod attempts;
mod board;
mod budget;
mod build;
mod command;
mod commands;
mod companion;
mod difference;
#[cfg(fuzzing)]
mod fuzzing;
mod handover;
mod inherited;
mod leaving;
mod metrics;
mod places;
mod process;
mod provide;
mod ramps;
mod reload;
mod replicas;
mod running;
mod sandbox;
mod signals;
mod sockets;
mod start;
mod steering;
mod stop;
mod systemd;
mod upgrade;
mod view;
mod watchdog;

pub use board::{Board, Brought, Event, KeptReplicas, ProcessPage, Sessions};
pub use budget::{Budget, BudgetError, Parts};
pub use command::{Answer, Command, Commander, Outcome, Refusal, RefusalKind};
pub use companion::{Companion, Luggage};
pub use inherited::Inherited;
pub use metrics::render_metrics;
pub use provide::{Bringer, Provided};
pub use replicas::{ReplicaNames, ReplicaOrder, ReplicaOutcome, ReplicaRequest, ReplicaRequests, Replicas};
pub use running::Running;
pub use sandbox::examine;
pub use signals::{Signal, watch_signals};
pub use start::{StartError, start};

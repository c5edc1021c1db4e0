//! The command line of `lb`: what may be typed, the commands that need no running balancer, and those that speak to one.
//!
//! Called by `bin/lb.rs`: [`parse`] once, then what [`Cli::command`] names: [`check()`], [`speak`], [`completions`], [`man`], or for
//! `run` [`config::load`](crate::config::load) and, where that fails, [`report`].
//!
//! May not: start a balancer, or change one but through its admin API.
//!
//! `typed` and `examples` say what may be typed; `place` and `remote` are where lb is and how it is asked, `commands` what is asked
//! and what is printed of the answer (`table`, `human`, `text`, `json`); `failure` is what went wrong, as an exit status; `top` is a room
//! in the room.

mod backends;
mod check;
mod commands;
mod examples;
mod failure;
mod human;
mod json;
mod place;
mod remote;
#[cfg(test)]
mod scripted;
mod shell;
mod table;
mod text;
mod top;
mod typed;

pub use check::{check, report};
pub use commands::speak;
pub use shell::{completions, man};
pub use typed::{Cli, Command, RemoteCommand, RemoteFlags, parse};

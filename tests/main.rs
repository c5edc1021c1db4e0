//! All integration tests, as one program: modules by subject.
//!
//! May not: sleep; every wait awaits an event and has a deadline.

// The lints let a #[test] function unwrap; its helpers are tests too.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects
)]

mod common;

mod access_log;
mod admin;
mod admin_changes;
mod admin_description;
mod admin_security;
mod allocations;
mod choosing;
mod cli;
mod closing;
mod config;
mod dashboard;
mod discovery;
mod failover;
mod faults;
mod fences;
mod health;
mod history;
mod layers;
mod lifecycle;
mod limits;
mod managed;
mod metrics;
mod namespaces;
mod programs;
mod proxy_protocol;
mod relay;
mod reload;
mod simulation;
mod sizes;
mod sources;
mod systemd;
mod timeouts;
mod upgrade;

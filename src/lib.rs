//! `lb`: a raw-TCP, layer-4 load balancer.

#![cfg_attr(test, allow(clippy::arithmetic_side_effects, reason = "a test that overflows fails"))]

pub mod acceptor;
pub mod balance;
pub mod cli;
pub mod config;
pub mod control;
pub mod echo;
pub mod health;
pub mod load;
pub mod observe;
pub mod pool;
pub mod service;
pub mod session;
pub mod sys;
pub mod types;
pub mod worker;

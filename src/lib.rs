//! `lb`: a raw-TCP, layer-4 load balancer.

pub mod cli;
pub mod config;

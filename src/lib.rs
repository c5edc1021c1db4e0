//! `lb`: a raw-TCP, layer-4 load balancer.

pub mod config;
pub mod echo;
pub mod load;

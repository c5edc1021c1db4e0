//! The insides of `tcp_server`: an echo backend that is faster than what stands before it.
//!
//! Called by `bin/tcp_server.rs` and by tests. One acceptor thread hands connections round-robin to workers; each worker owns
//! its connections, one scratch buffer and its counters, so that the data path has no lock. A side thread may speak HTTP.
//!
//! It must never share code with the balancer it helps to test, never hold more than a bounded number of bytes for a
//! connection, and never die of a connection's error.

mod acceptor;
mod connection;
mod counters;
mod error;
mod fold;
mod http;
mod process;
mod repeat;
mod server;
mod sizes;
mod worker;

#[cfg(test)]
mod tests;

pub use counters::EchoTotals;
pub use error::EchoError;
pub use server::{EchoOptions, EchoServer};
pub use sizes::MessageSizes;

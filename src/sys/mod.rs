//! What std lacks: epoll, wake-ups, socket options, pipes and splice, limits, the clock, and how rights are given up.
//!
//! One function a system call, each with what its errors mean. Called by `worker`, `acceptor`, `control` and the probes.
//! The only room that may hold `unsafe` (in `raw`); everything else goes through rustix and socket2.
//! File descriptors are owned: what a function returns is closed when it is dropped.

mod calls;
mod clock;
mod doorbell;
mod errno;
mod files;
mod group;
mod identity;
mod inherit;
mod limits;
mod listen;
mod memory;
mod noted;
mod peer;
mod pipe;
mod poll;
mod ports;
mod raw;
mod socket;
mod thread;
mod unix;
mod wake;

pub use calls::AllowedCalls;
pub use clock::Clock;
pub use doorbell::Doorbell;
pub use errno::{Decision, connect_failure, decide};
pub use files::{Fenced, FileRules};
pub use identity::{Identity, is_root, refuse_new_rights};
pub use inherit::{InheritedSocket, adopt_listener, adopt_unix_listener, inherited_sockets, spawn_with};
pub use limits::{fd_limit, raise_fd_limit};
pub use listen::{accept, is_own, listen, set_backlog};
pub use memory::Memory;
pub use peer::{Acknowledgements, keep_alive};
pub use pipe::{Pipe, splice_in, splice_out};
pub use poll::{Event, Poller};
pub use ports::LocalPorts;
pub use raw::{
    acknowledgements, bind_to_caller, give_memory_back, round_trip, run_in_short_slices, unacknowledged_bytes,
    wake_without_preempting,
};
pub use socket::{acknowledge, begin_connect, finish_write, local_address, peek, receive, reset, send, take_error};
pub use thread::{LoopThread, Stop, step_back, terminate};
pub use unix::listen_unix;
pub use wake::Waker;

//! `lb`: a raw-TCP, layer-4 load balancer. This page is the map; there is no logic in it.
//!
//! # Rooms, lowest layer first (`tests/layers.rs` holds who may import whom)
//!
//! | room | is |
//! |---|---|
//! | [`types`] | newtypes that several rooms share |
//! | `sync` | names of the atomics whose protocol `tests/loom` checks in every order |
//! | [`sys`] | what std lacks: epoll, wake-ups, sockets, pipes, limits, the clock; the only `unsafe` |
//! | [`page`] | one HTML file with pictures that opens offline: `client --report`, the benchmarks; never the balancer |
//! | [`api`] | the shapes of the admin API, both ways, with their schemas |
//! | [`config`] | `lb.toml` -> plain, checked values; all problems at once |
//! | [`observe`] | counters, every metric's name, how a connection ended, log and access log off the data path |
//! | [`pool`] | what a backend is, guards that own each +1, the pool of a service at one moment |
//! | [`balance`] | (pool, key) -> backend: one file a policy, pure |
//! | [`health`] | rise and fall (pure), probes, the thread that runs them |
//! | [`proxy_protocol`] | what a proxy says of its client before the client's first byte: read and written, pure |
//! | [`session`] | one connection as a state machine, over a trait for its sockets |
//! | [`fence`] | who may connect, how many connections a source has and how often it comes (pure) |
//! | [`service`] | a service at run time: what acceptor, workers and control share of it; which client had which backend |
//! | [`worker`] | one thread: event loop, sessions, timers, pipes, inbox |
//! | [`acceptor`] | listeners -> the worker with the fewest sessions |
//! | [`control`] | starts everything, is the only one to change it, stops it |
//! | [`admin`] | HTTP over the board and the commands of `control`: API, events, metrics, dashboard |
//! | [`keeper`] | the process between lb and one replica: ends it when lb is gone |
//! | [`elastic`] | backends that nobody wrote down one by one: found by DNS, a file, HTTP or etcd; replicas that lb keeps alive, as many as the load needs |
//! | [`cli`] | the command line of `lb`: what may be typed; the commands that ask a running one; `top` |
//! | [`echo`], [`load`] | the insides of `tcp_server` and `client`; they share no code with the balancer they test |
//!
//! # Threads, what each owns, and what it may block on
//!
//! | thread | owns | blocks on |
//! |---|---|---|
//! | main | the configuration, every pool (swapped whole) | its channels: signals, commands, health changes |
//! | acceptor | the listeners | its epoll set |
//! | worker-N | its sessions, their sockets, timers and pipes | its epoll set |
//! | health | the probes | its epoll set |
//! | admin | connections of its own port, history, who listens to events | its epoll set |
//! | discovery | what was found, the connections to who is asked | its epoll set; a look at a file |
//! | notify-rs inotify | watches on folders, while a file is followed | the next change |
//! | replicas | a socket to each replica's keeper | its epoll set |
//! | upgrade | a new lb on its way, until it has taken over | what that one says |
//! | signals | nothing | the next signal |
//! | lines, access-log | a file or standard error | that file: a full disk costs lines, never traffic |
//!
//! Shared between them: pools (immutable, swapped), atomic counters in the thing they count, bounded channels. One lock: a sixteenth of the sources of a service with limits on them.
//! A panic costs one session, or one turn of one thread, which starts again ([`observe::supervise`]).
//!
//! # The life of a connection, five hops
//!
//! 1. [`acceptor`]: `burst` accepts, `admit` takes its places under the limits and hands it to a worker's inbox.
//! 2. [`worker`]: `run.rs`, `adopt`: a slot, one registration with epoll, a session.
//! 3. [`session`]: where a proxy is in front, `introduction.rs` reads whose the connection is. `connecting.rs` picks
//!    ([`service::Service::pick`] -> [`balance`]) and connects; silence brings a rival, failure the next backend; but for what came
//!    with a header, not a byte is read from the client before one stands. The handshake's last acknowledgement waits for the client's
//!    first bytes, a turn at most (`relay.rs`, `HandshakeEnd`).
//! 4. `session/relay.rs`: two ways, each `session/direction.rs`, `pump`: source -> (buffer | pipe) -> target. What can't be
//!    written waits, and its source rests. FIN behind every byte, RST behind every byte.
//! 5. `worker/run.rs`, `finish`: one [`observe::End`]; the guards give back what they took.
//!
//! # Where do I change …
//!
//! | what | where |
//! |---|---|
//! | a key of lb.toml | `config/shapes.rs`, `config/values.rs`; what it does: `control/build.rs` |
//! | an endpoint of the API | `admin/routes.rs`; its shape: `api/`; what it changes: `control/commands.rs` |
//! | the dashboard | `admin/dashboard/`: plain files, `main.js` puts them together; who serves them: `admin/assets.rs` |
//! | a policy | a file in `balance/`, a variant in `balance/policy.rs`, a word in `config/balance.rs` |
//! | who is let in | `fence/`; the order of all that is asked: `acceptor.rs`, `places` |
//! | when a peer is taken for gone | `session/liveness.rs`; how the kernel asks: `sys/peer.rs` |
//! | what a PROXY header may say | `proxy_protocol/`; who is believed: `service::Service::trusts`; what it does: `worker/real.rs`, `introduce` |
//! | what `fastest` measures | `session/latency.rs`; how it is averaged: `pool/latency.rs` |
//! | what a reload may change | `control/reload.rs`, `control/difference.rs` |
//! | what goes along at an upgrade | `control/handover.rs`; how it goes: `control/upgrade.rs`, `control/inherited.rs`; a room's part: `control/companion.rs` |
//! | how a backend warms up | `control/ramps.rs` |
//! | a kind of probe | `health/check.rs` |
//! | where backends are found | a file in `elastic/discovery/`; which are taken, how fast: `rules.rs` there; keys: `config/discovery.rs` |
//! | when copying becomes splicing | `session/direction.rs`, the constants |
//! | what an errno means | `sys/errno.rs` |
//! | buffers in the kernel | `sys/socket.rs` towards backends, `sys/listen.rs` towards clients: the constants |
//! | what the speed is measured with | `benches/compare/`: `case.rs`; the peers' settings: `scripts/bench/` |
//! | what the policies are compared by | `benches/experiments/`: a module each; `policy.rs` has their configurations |
//! | a fault and what must hold then | `tests/faults/`: a drill each; who is compared: `subject.rs`; what is told: `docs/reliability.md` |
//! | a command of `lb` | what is typed: `cli/typed.rs`, `cli/examples.rs`; what it asks and prints: `cli/commands.rs` |
//! | a metric | its name and words: `observe/metrics.rs`; where its figure comes from: `control/metrics.rs`; then `deploy/` |
//! | when a replica is started or replaced | `elastic/managed/slot.rs`; when it goes: `kept.rs` |
//! | how many replicas a load needs | `elastic/scale/wish.rs`; what is expected: `elastic/scale/forecast.rs` |
//! | who may have how many descriptors | `control/budget.rs` |
//! | which files lb may open | `control/places.rs`; which system calls a thread of traffic may make: `sys/calls.rs`; when: `control/sandbox.rs` |

#![cfg_attr(test, allow(clippy::arithmetic_side_effects, reason = "a test that overflows fails"))]

pub mod acceptor;
pub mod admin;
pub mod api;
pub mod balance;
pub mod cli;
pub mod config;
pub mod control;
pub mod echo;
pub mod elastic;
pub mod fence;
pub mod health;
pub mod keeper;
pub mod load;
pub mod observe;
pub mod page;
pub mod pool;
pub mod proxy_protocol;
pub mod service;
pub mod session;
mod sync;
pub mod sys;
pub mod types;
pub mod worker;

//! What `--help` shows below the flags: examples, and what is good to know. A test holds that each subcommand has one.

pub(super) const ALL: &str = "\
Examples:
  lb                               run, from ./lb.toml
  lb --config /etc/lb.toml         run, from another file
  lb check                         print every problem of ./lb.toml
  lb status                        what a running lb is doing
  lb drain echo server-9001        no new connections for one of its backends
  lb top                           watch it

Exit status: 0 done, 1 failed or refused by lb, 2 wrong usage, 3 lb isn't reachable";

pub(super) const RUN: &str = "\
Example:
  lb run --config /etc/lb.toml

SIGTERM or SIGINT (Ctrl-C) drains and stops; a second one exits at once, with 1.
RUST_LOG=debug tells more than the log level of the file; NO_COLOR is heeded.";

pub(super) const CHECK: &str = "\
Example:
  lb check --config /etc/lb.toml && systemctl restart lb

Exit status: 0 no problem, 1 a problem";

pub(super) const STATUS: &str = "\
Examples:
  lb status
  lb status --admin 10.0.0.2:8000 --token-file ~/.lb-token
  lb status --json | jq .connections.active";

pub(super) const BACKENDS: &str = "\
Examples:
  lb backends
  lb backends echo

SHARE is a backend's part of the connections made to its service's backends.";

pub(super) const ADD: &str = "\
Examples:
  lb add echo server-9004 127.0.0.1:9004
  lb add echo spare 127.0.0.1:9005 --weight 2 --backup

It lasts until lb stops, also over a reload: lb.toml isn't written.";

pub(super) const REMOVE: &str = "\
Examples:
  lb remove echo server-9004
  lb remove echo server-9004 --drain 5m

No new connection from now on; those it has may live for as long as --drain says, then they are reset.";

pub(super) const DRAIN: &str = "\
Example:
  lb drain echo server-9001

No new connection; those it has live for as long as they like. `lb resume` takes it back.";

pub(super) const RESUME: &str = "\
Example:
  lb resume echo server-9001";

pub(super) const WEIGHT: &str = "\
Examples:
  lb weight echo server-9001 5
  lb weight echo server-9001 0     takes no new connection";

pub(super) const RELOAD: &str = "\
Example:
  lb check --config /etc/lb.toml && lb reload

The running lb reads the file that it was started with. Only what changed is changed, and live connections go on. With anything wrong in
the file, all of it is told, the configuration from before stays in force, and the exit status is 1. SIGHUP does the same.";

pub(super) const UPGRADE: &str = "\
Example:
  install -m 755 target/release/lb /usr/local/bin/lb && lb upgrade

The file that the running lb was started from is started anew, with the same arguments, and is handed the listening sockets and all that
was learned. Once it serves, the old process takes no new connections, its live ones may finish within drain_timeout, and it ends. A new
one that isn't ready within 4.5 s, or dies within 5 s, changes nothing: the old one goes on, and the exit status is 1. SIGUSR2 does the
same. Told to stop while both run, both stop.";

pub(super) const CONNECTIONS: &str = "\
Examples:
  lb connections
  lb connections echo --backend server-9001 --limit 1000";

pub(super) const END: &str = "\
Example:
  lb end ID                        an ID that `lb connections` shows";

pub(super) const TOP: &str = "\
Examples:
  lb top
  lb top --json | jq -c .connections

Keys: q quit, arrows or j and k select, d drain, r resume, + and - weight, s sort, ? help.
With --json: no screen, a line of `lb status --json` each second.";

pub(super) const COMPLETIONS: &str = "\
Example:
  lb completions bash > ~/.local/share/bash-completion/completions/lb";

pub(super) const MAN: &str = "\
Examples:
  lb man > /usr/local/share/man/man1/lb.1
  lb man add | man -l -";

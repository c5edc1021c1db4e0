//! Which keys each kind of table may hold: the grammar of `lb.toml`, in the order of its documentation.
//!
//! Read by [`reader`](super::reader) for unknown keys and their hints, by the rest for headers. A new key starts here.

/// One kind of table.
pub(super) struct Shape {
    /// As a file has it: `[[service.backend]]`; empty for the file itself.
    pub(super) header: &'static str,
    /// Its keys.
    pub(super) keys: &'static [&'static str],
    /// The tables within, each with its header.
    pub(super) tables: &'static [(&'static str, &'static str)],
}

/// The file itself.
pub(super) const FILE: Shape = Shape {
    header: "",
    keys: &[],
    tables: &[
        ("runtime", RUNTIME.header),
        ("log", LOG.header),
        ("admin", ADMIN.header),
        ("history", HISTORY.header),
        ("service", SERVICE.header),
    ],
};

/// `[runtime]`.
pub(super) const RUNTIME: Shape = Shape {
    header: "[runtime]",
    keys: &["workers", "max_connections", "max_memory", "drain_timeout"],
    tables: &[],
};

/// `[log]`.
pub(super) const LOG: Shape = Shape {
    header: "[log]",
    keys: &["level", "access"],
    tables: &[],
};

/// `[admin]`.
pub(super) const ADMIN: Shape = Shape {
    header: "[admin]",
    keys: &["listen", "token_file", "hosts"],
    tables: &[],
};

/// `[history]`.
pub(super) const HISTORY: Shape = Shape {
    header: "[history]",
    keys: &["directory", "keep", "max_size"],
    tables: &[],
};

/// `[[service]]`.
pub(super) const SERVICE: Shape = Shape {
    header: "[[service]]",
    keys: &[
        "name",
        "listen",
        "balance",
        "hash_key",
        "hash",
        "slots",
        "virtual_nodes",
        "load_factor",
        "max_connections",
        "connect_timeout",
        "connect_retries",
        "hedge_after",
        "idle_timeout",
        "half_close_timeout",
        "peer_timeout",
    ],
    tables: &[
        ("health", HEALTH.header),
        ("sticky", STICKY.header),
        ("access", ACCESS.header),
        ("limits", LIMITS.header),
        ("proxy_protocol", PROXY_PROTOCOL.header),
        ("discovery", DISCOVERY.header),
        ("managed", MANAGED.header),
        ("backend", BACKEND.header),
    ],
};

/// `[service.health]`.
pub(super) const HEALTH: Shape = Shape {
    header: "[service.health]",
    keys: &[
        "kind",
        "interval",
        "timeout",
        "rise",
        "fall",
        "slow_start",
        "port",
        "path",
        "expect_status",
        "send",
        "expect",
    ],
    tables: &[],
};

/// `[service.sticky]`.
pub(super) const STICKY: Shape = Shape {
    header: "[service.sticky]",
    keys: &["ttl", "size"],
    tables: &[],
};

/// `[service.access]`.
pub(super) const ACCESS: Shape = Shape {
    header: "[service.access]",
    keys: &["allow", "deny"],
    tables: &[],
};

/// `[service.limits]`.
pub(super) const LIMITS: Shape = Shape {
    header: "[service.limits]",
    keys: &["per_source", "rate_per_source", "burst", "tcp_backlog", "max_session"],
    tables: &[],
};

/// `[service.proxy_protocol]`.
pub(super) const PROXY_PROTOCOL: Shape = Shape {
    header: "[service.proxy_protocol]",
    keys: &["accept", "trusted", "send"],
    tables: &[],
};

/// `[service.discovery]`.
pub(super) const DISCOVERY: Shape = Shape {
    header: "[service.discovery]",
    keys: &[
        "kind",
        "name",
        "record",
        "port",
        "server",
        "interval_min",
        "interval_max",
        "path",
        "url",
        "interval",
        "prefix",
        "timeout",
        "min_backends",
        "max_backends",
        "changes_per_second",
        "allow",
    ],
    tables: &[],
};

/// `[service.managed]`.
pub(super) const MANAGED: Shape = Shape {
    header: "[service.managed]",
    keys: &[
        "command",
        "ports",
        "replicas",
        "restart_delay",
        "replace_after",
        "start_timeout",
        "stop_timeout",
        "env",
        "working_directory",
        "user",
    ],
    tables: &[("scale", SCALE.header)],
};

/// `[service.managed.scale]`.
pub(super) const SCALE: Shape = Shape {
    header: "[service.managed.scale]",
    keys: &["min", "max", "target_connections", "cooldown", "predict", "season"],
    tables: &[],
};

/// `[[service.backend]]`.
pub(super) const BACKEND: Shape = Shape {
    header: "[[service.backend]]",
    keys: &["name", "address", "weight", "max_connections", "backup", "metrics"],
    tables: &[],
};

/// A list of backends in a file of its own.
pub(super) const LIST: Shape = Shape {
    header: "",
    keys: &[],
    tables: &[("backend", LISTED.header)],
};

/// `[[backend]]` of such a list.
pub(super) const LISTED: Shape = Shape {
    header: "[[backend]]",
    keys: &["name", "address", "weight", "backup"],
    tables: &[],
};

/// All of lb.toml.
pub(super) const ALL: [&Shape; 13] = [
    &FILE,
    &RUNTIME,
    &LOG,
    &ADMIN,
    &HISTORY,
    &SERVICE,
    &HEALTH,
    &STICKY,
    &PROXY_PROTOCOL,
    &MANAGED,
    &SCALE,
    &BACKEND,
    &DISCOVERY,
];

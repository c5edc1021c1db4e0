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
        ("service", SERVICE.header),
    ],
};

/// `[runtime]`.
pub(super) const RUNTIME: Shape = Shape {
    header: "[runtime]",
    keys: &["workers", "max_connections", "drain_timeout"],
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
    ],
    tables: &[
        ("health", HEALTH.header),
        ("sticky", STICKY.header),
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

/// All of them.
pub(super) const ALL: [&Shape; 8] = [&FILE, &RUNTIME, &LOG, &ADMIN, &SERVICE, &HEALTH, &STICKY, &BACKEND];

//! The policies as a configuration has them, each with its name and its colour on the page.

/// A policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Policy {
    pub(crate) label: &'static str,
    /// Its lines in `[[service]]`.
    pub(crate) keys: &'static str,
    pub(crate) colour: &'static str,
}

pub(crate) const ROUND_ROBIN: Policy = Policy {
    label: "round_robin",
    keys: "balance = \"round_robin\"",
    colour: "#0b7285",
};
pub(crate) const LEAST_CONNECTIONS: Policy = Policy {
    label: "least_connections",
    keys: "balance = \"least_connections\"",
    colour: "#2b8a3e",
};
pub(crate) const RANDOM_TWO: Policy = Policy {
    label: "random_two",
    keys: "balance = \"random_two\"",
    colour: "#e8590c",
};
pub(crate) const FASTEST: Policy = Policy {
    label: "fastest",
    keys: "balance = \"fastest\"",
    colour: "#9c36b5",
};
pub(crate) const RING: Policy = Policy {
    label: "ring, xxh3",
    keys: "balance = \"ring\"\nhash = \"xxh3\"",
    colour: "#1971c2",
};
pub(crate) const QUADRATIC_RING: Policy = Policy {
    label: "ring, quadratic",
    keys: "balance = \"ring\"\nhash = \"quadratic\"",
    colour: "#c92a2a",
};
pub(crate) const MAGLEV: Policy = Policy {
    label: "maglev",
    keys: "balance = \"maglev\"",
    colour: "#f59f00",
};
/// No policy of lb's: the plain remainder of a hash, to compare with.
pub(crate) const MODULO: Policy = Policy {
    label: "modulo",
    keys: "",
    colour: "#868e96",
};
/// Round robin for newcomers; who comes again gets the backend it had.
pub(crate) const STICKY: Policy = Policy {
    label: "round_robin, sticky",
    keys: "balance = \"round_robin\"",
    colour: "#66a80f",
};

/// Those that don't hash.
pub(crate) const PLAIN: [Policy; 4] = [ROUND_ROBIN, LEAST_CONNECTIONS, RANDOM_TWO, FASTEST];
/// Those that do.
pub(crate) const HASHING: [Policy; 3] = [RING, QUADRATIC_RING, MAGLEV];

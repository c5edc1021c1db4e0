//! The architecture, held: which room may import which, how long a file may be, and what a room must never call.
//!
//! Reads `src/` as text, with comments, strings and test code taken out. A failure names the file, the line and the rule.
//! A new room needs a line in [`ROOMS`]; a new exception needs a better reason than any here.

use std::collections::{BTreeMap, BTreeSet};

use scan::{Source, imports, line_of, places, sources};

mod rules;
mod scan;

/// Each room and what it may import, lowest layer first: a room imports only rooms above it in this list.
const ROOMS: [(&str, &[&str]); 23] = [
    ("page", &[]),
    ("api", &[]),
    ("types", &[]),
    ("sync", &[]),
    ("sys", &["types", "sync"]),
    ("config", &["types"]),
    ("observe", &["types"]),
    ("pool", &["types", "sync", "observe"]),
    ("balance", &["types", "observe", "pool"]),
    ("health", &["types", "observe", "pool", "sys"]),
    ("proxy_protocol", &[]),
    ("session", &["types", "observe", "proxy_protocol"]),
    ("fence", &["types", "observe"]),
    (
        "service",
        &[
            "types",
            "observe",
            "pool",
            "balance",
            "proxy_protocol",
            "session",
            "fence",
        ],
    ),
    (
        "worker",
        &[
            "types",
            "sys",
            "observe",
            "pool",
            "balance",
            "proxy_protocol",
            "session",
            "fence",
            "service",
        ],
    ),
    ("acceptor", &["types", "sys", "observe", "pool", "service", "worker"]),
    (
        "control",
        &[
            "types",
            "sync",
            "sys",
            "api",
            "config",
            "observe",
            "pool",
            "balance",
            "health",
            "proxy_protocol",
            "session",
            "fence",
            "service",
            "worker",
            "acceptor",
        ],
    ),
    // A process of its own, which only shares the program with the rest; `elastic` speaks its language.
    ("keeper", &["sys"]),
    // `sys` for its loop: epoll, the doorbell, the clock.
    (
        "elastic",
        &["types", "sys", "api", "config", "observe", "control", "keeper"],
    ),
    ("admin", &["types", "sys", "api", "config", "observe", "control"]),
    ("cli", &["types", "api", "config", "observe", "control"]),
    ("echo", &[]),
    ("load", &["page"]),
];

/// Of `health`, only these touch a socket or a clock; the rest is pure.
const PROBERS: [&str; 3] = ["src/health/probe.rs", "src/health/prober.rs", "src/health/probe/"];

/// The only files that may say `unsafe`: system calls, and those of a child before it is another program.
const UNSAFE: [&str; 2] = ["src/sys/raw.rs", "src/sys/raw/child.rs"];

/// The longest that a file may be: the first line of the table that fits its path.
const LINES_MAX: [(&str, usize); 7] = [
    ("src/lib.rs", 120),
    ("bin/", 120),
    // Not policies: what they share, and what holds for each of them.
    ("src/balance/mod.rs", 150),
    ("src/balance/tests/", 500),
    ("src/balance/", 100),
    ("src/sys/", 200),
    ("", 500),
];

/// Words that may not stand in the code of a place, tests of `src/` included.
const BANS: [(&str, &str, &str); 7] = [
    (
        "src/",
        "sleep",
        "await an event: a channel, a timer of the loop, a readiness line",
    ),
    (
        "tests/",
        "sleep",
        "await an event: a channel, a timer of the loop, a readiness line",
    ),
    ("src/session/", "Instant::now", "time is an argument, read once a wake"),
    ("src/balance/", "Instant::now", "a policy is pure"),
    (
        "src/health/",
        "Instant::now",
        "rise and fall are pure; only the probe reads the clock",
    ),
    (
        "src/elastic/scale/",
        "Instant::now",
        "scaling is pure: an experiment runs it through a week in a second",
    ),
    ("src/config/", "Instant::now", "a configuration is the same at any time"),
];

/// What of a file breaks the table of rooms.
fn broken_layers(source: &Source) -> Vec<String> {
    let path = &source.path;
    let Some(room) = source.room() else {
        return Vec::new();
    };
    let Some((_, allowed)) = ROOMS.iter().find(|(name, _)| *name == room) else {
        return vec![format!(
            "{path}:1: the room `{room}` isn't in the table of tests/layers.rs"
        )];
    };
    if path.ends_with("/tests.rs") || path.contains("/tests/") {
        return Vec::new(); // a room's tests in a file of their own may take what they need
    }
    let is_other = |name: &str| name != room && name != "self";
    let mut broken: Vec<String> = imports(source)
        .into_iter()
        .filter(|(_, name)| is_other(name) && !allowed.contains(&name.as_str()))
        .map(|(line, name)| {
            format!(
                "{path}:{line}: `{room}` may not import `{name}`; it may: {}",
                allowed.join(", ")
            )
        })
        .collect();
    if room == "health" && !is_prober(path) {
        let sys = imports(source).into_iter().filter(|(_, name)| name == "sys");
        broken.extend(sys.map(|(line, _)| format!("{path}:{line}: only the probe of `health` may import `sys`")));
    }
    // Out of the room by the back stairs: `super` of a room's top, `super::super` of a file within.
    let is_top = path.matches('/').count() == 1 || (path.matches('/').count() == 2 && path.ends_with("/mod.rs"));
    let stairs = if is_top { "super::" } else { "super::super::" };
    let climbs = source
        .shipped()
        .match_indices(stairs)
        .map(|(at, _)| line_of(source.shipped(), at));
    let depth = path.matches('/').count();
    broken.extend(
        climbs
            .filter(|_| depth <= 2)
            .map(|line| format!("{path}:{line}: another room is named by `crate::`, not by `{stairs}`")),
    );
    broken
}

fn is_prober(path: &str) -> bool {
    PROBERS.iter().any(|prober| path.starts_with(prober))
}

fn broken_size(source: &Source) -> Option<String> {
    let (_, most) = LINES_MAX.iter().find(|(start, _)| source.path.starts_with(start))?;
    let lines = source.text.lines().count();
    (lines > *most).then(|| {
        format!(
            "{}:{lines}: {lines} lines, at most {most} are allowed here",
            source.path
        )
    })
}

fn broken_header(source: &Source) -> Option<String> {
    // The room of a folder, a file of a room, a program, a module of tests: each says first what it is.
    let length = source.text.lines().take_while(|line| line.starts_with("//!")).count();
    let path = &source.path;
    match length {
        0 => Some(format!(
            "{path}:1: a file starts with a `//!` header: what it is, who calls it, what it must never do"
        )),
        1..=25 => None,
        // The map of all rooms is a header and nothing else; its size is held by LINES_MAX.
        _ if path == "src/lib.rs" => None,
        _ => Some(format!(
            "{path}:26: the header has {length} lines, at most 25 are allowed"
        )),
    }
}

fn broken_bans(source: &Source) -> Vec<String> {
    let path = &source.path;
    let mut broken = Vec::new();
    for (place, word, reason) in BANS
        .iter()
        .filter(|(place, _, _)| path.starts_with(place) && !is_prober(path))
    {
        for at in places(&source.code, word) {
            broken.push(format!(
                "{path}:{}: no `{word}` in {place}: {reason}",
                line_of(&source.code, at)
            ));
        }
    }
    if !UNSAFE.contains(&path.as_str()) {
        for at in places(&source.code, "unsafe") {
            broken.push(format!(
                "{path}:{}: `unsafe` stands only in {UNSAFE:?}",
                line_of(&source.code, at)
            ));
        }
    }
    broken
}

/// Rooms that import each other in a ring, if there is one.
fn ring(graph: &BTreeMap<String, BTreeSet<String>>) -> Option<Vec<String>> {
    fn walk(graph: &BTreeMap<String, BTreeSet<String>>, room: &str, way: &mut Vec<String>) -> bool {
        let seen = way.iter().any(|before| before == room);
        way.push(room.to_owned());
        if seen || graph.get(room).into_iter().flatten().any(|next| walk(graph, next, way)) {
            return true;
        }
        way.pop();
        false
    }
    graph.keys().find_map(|room| {
        let mut way = Vec::new();
        walk(graph, room, &mut way).then_some(way)
    })
}

fn assert_none(broken: &[String]) {
    assert!(broken.is_empty(), "\n{}", broken.join("\n"));
}

#[test]
fn rooms_import_only_what_the_table_allows() {
    let sources = sources(&["src"]);
    assert!(
        sources.iter().any(|source| source.room() == Some("config")),
        "no source was read"
    );
    assert_none(&sources.iter().flat_map(broken_layers).collect::<Vec<_>>());
}

#[test]
fn no_rooms_import_each_other_in_a_ring() {
    let mut graph: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for source in sources(&["src"]) {
        let Some(room) = source.room().map(str::to_owned) else {
            continue;
        };
        let names = imports(&source)
            .into_iter()
            .map(|(_, name)| name)
            .filter(|name| *name != room);
        graph.entry(room.clone()).or_default().extend(names);
    }
    assert_eq!(ring(&graph), None);
}

#[test]
fn the_table_itself_points_downwards() {
    for (index, (room, allowed)) in ROOMS.iter().enumerate() {
        for name in *allowed {
            assert!(
                ROOMS[..index].iter().any(|(before, _)| before == name),
                "`{room}` may import `{name}`, which stands below it"
            );
        }
    }
}

#[test]
fn files_are_short_and_say_first_what_they_are() {
    let sources = sources(&["src", "bin", "tests", "benches"]);
    let broken = sources
        .iter()
        .flat_map(|source| broken_size(source).into_iter().chain(broken_header(source)));
    assert_none(&broken.collect::<Vec<_>>());
}

#[test]
fn no_room_does_what_it_must_never_do() {
    assert_none(
        &sources(&["src", "bin", "tests", "benches"])
            .iter()
            .flat_map(broken_bans)
            .collect::<Vec<_>>(),
    );
}

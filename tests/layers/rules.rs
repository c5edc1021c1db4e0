//! The rules of `layers`, on files that break them: a rule that never fails holds nothing.

use super::scan::Source;
use super::*;

fn layers(path: &str, text: &str) -> Vec<String> {
    broken_layers(&Source::new(path, text))
}

#[test]
fn an_import_across_layers_is_found_however_it_is_written() {
    let message =
        ["src/session/mod.rs:2: `session` may not import `pool`; it may: types, observe, proxy_protocol".to_owned()];
    for import in [
        "use crate::pool::Pool;",
        "use crate::{pool, types::Id};",
        "use crate::{types::{A, B}, pool::{C}};",
        "pub(crate) use crate::pool;",
        "fn f() { crate::pool::g() }",
        "use crate :: pool ;",
    ] {
        assert_eq!(
            layers("src/session/mod.rs", &format!("\n{import}\n")),
            message,
            "{import}"
        );
    }
    assert_eq!(layers("src/session/mod.rs", "\nuse crate::{\n    pool,\n};\n"), message);
}

#[test]
fn what_is_allowed_or_no_code_is_no_import() {
    let text = "use crate::types::Id;\nuse crate::session::x;\n// crate::pool\nconst A: &str = \"crate::pool\";\n\
                const B: &str = r#\"crate::pool\"#;\nconst C: char = '\"'; /* crate::pool */\nfn f<'a>(_: &'a str) {}\n\
                #[cfg(test)]\nmod tests { use crate::pool::Pool; }\n";
    assert_eq!(layers("src/session/relay.rs", text), Vec::<String>::new());
}

#[test]
fn an_unknown_room_is_named() {
    assert_eq!(
        layers("src/attic.rs", ""),
        ["src/attic.rs:1: the room `attic` isn't in the table of tests/layers.rs"]
    );
}

#[test]
fn only_the_probe_of_health_imports_sys() {
    assert_eq!(layers("src/health/probe.rs", "use crate::sys;"), Vec::<String>::new());
    assert_eq!(
        layers("src/health/verdict.rs", "use crate::sys;"),
        ["src/health/verdict.rs:1: only the probe of `health` may import `sys`"]
    );
}

#[test]
fn the_back_stairs_are_closed() {
    let message = |path: &str, stairs: &str| format!("{path}:1: another room is named by `crate::`, not by `{stairs}`");
    assert_eq!(
        layers("src/acceptor.rs", "use super::control;"),
        [message("src/acceptor.rs", "super::")]
    );
    assert_eq!(
        layers("src/pool/mod.rs", "use super::control;"),
        [message("src/pool/mod.rs", "super::")]
    );
    assert_eq!(
        layers("src/pool/a.rs", "use super::super::control;"),
        [message("src/pool/a.rs", "super::super::")]
    );
    assert_eq!(layers("src/pool/a.rs", "use super::b;"), Vec::<String>::new());
}

#[test]
fn sizes_headers_and_bans_are_held() {
    let lines = |number: usize| "\n".repeat(number);
    let size = |path: &str, number: usize| broken_size(&Source::new(path, &lines(number)));
    assert_eq!(size("src/lib.rs", 120), None);
    assert_eq!(
        size("src/lib.rs", 121).as_deref(),
        Some("src/lib.rs:121: 121 lines, at most 120 are allowed here")
    );
    assert!(size("src/balance/a.rs", 101).is_some() && size("src/sys/a.rs", 201).is_some());
    assert!(size("src/pool/a.rs", 500).is_none() && size("tests/a.rs", 501).is_some());
    assert!(broken_header(&Source::new("src/a.rs", "use x;\n//! late\n")).is_some());
    assert!(broken_header(&Source::new("src/a.rs", &"//! long\n".repeat(26))).is_some());
    let bans = |path: &str, text: &str| broken_bans(&Source::new(path, text)).len();
    assert_eq!(bans("src/worker/a.rs", "fn f() { thread::sleep(d) }"), 1);
    assert_eq!(
        bans("src/worker/a.rs", "let asleep = 1; // sleep\nlet sleeps = \"sleep\";"),
        0
    );
    assert_eq!(bans("src/session/a.rs", "let now = Instant::now();"), 1);
    assert_eq!(bans("src/health/prober.rs", "let now = Instant::now();"), 0);
    assert_eq!(bans("src/sys/pipe.rs", "unsafe { f() }"), 1);
    assert_eq!(bans(UNSAFE, "unsafe { f() }"), 0);
}

#[test]
fn a_ring_is_found() {
    let edges = |list: &[(&str, &str)]| {
        let mut graph: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for (from, to) in list {
            graph.entry((*from).to_owned()).or_default().insert((*to).to_owned());
        }
        graph
    };
    assert_eq!(ring(&edges(&[("a", "b"), ("a", "c"), ("b", "c")])), None);
    assert!(ring(&edges(&[("a", "b"), ("b", "c"), ("c", "b")])).is_some());
}

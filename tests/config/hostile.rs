//! Files that nobody would write: as long, as deep or as broken as they can be.

use std::collections::BTreeSet;
use std::fs;

use lb::config::{self, Problem};
use proptest::prelude::*;

use super::files;

#[test]
fn ten_thousand_backends_are_read() {
    let mut text = "[[service]]\nname = \"many\"\nlisten = \"127.0.0.1:0\"\n".to_owned();
    for number in 0..10_000 {
        text += &format!(
            "[[service.backend]]\nname = \"server-{number}\"\naddress = \"10.0.{}.{}:80\"\nweight = 1\n",
            number / 250,
            number % 250
        );
    }
    assert_eq!(config::parse("f", &text).map(|config| config.backends()), Ok(10_000));
}

fn many(header: &str, number: usize, each: impl Fn(usize) -> String) -> Vec<String> {
    let text = (0..number).fold(header.to_owned(), |text, index| text + &each(index));
    let problems = config::parse("f", &text).expect_err("too many");
    problems.to_string().lines().map(str::to_owned).collect()
}

#[test]
fn one_more_than_the_limit_is_told_once() {
    let services = many("", config::SERVICES_MAX + 1, |index| {
        format!(
            "[[service]]\nname=\"{index}\"\nlisten=\"127.0.0.1:0\"\nbackend=[{{name=\"b\",address=\"127.0.0.1:1\"}}]\n"
        )
    });
    assert_eq!(
        services,
        ["f:4001:1: service[1000]: found more than 1000 services, wanted at most 1000 in a file"]
    );
    let wheels = many("", 34, |index| {
        format!(
            "[[service]]\nname=\"{index}\"\nlisten=\"127.0.0.1:0\"\nbackend=[{{name=\"b\",address=\"127.0.0.1:1\"}}]\nbalance=\"ring\"\nhash=\"quadratic\"\nslots=4194304\n"
        )
    });
    assert_eq!(
        wheels,
        [
            "f:229:9: service[32].balance: found more than 134217728 slots and virtual nodes, wanted at most 134217728 in a file"
        ]
    );
    let service = "[[service]]\nname=\"a\"\nlisten=\"127.0.0.1:0\"\n";
    let backends = many(service, config::BACKENDS_MAX + 1, |index| {
        format!("[[service.backend]]\nname=\"{index}\"\naddress=\"127.0.0.1:1\"\n")
    });
    assert_eq!(
        backends,
        ["f:150004:1: service[0].backend[50000]: found more than 50000 backends, wanted at most 50000 in a file"]
    );
    let listen = "[[service]]\nname=\"a\"\nbackend=[{name=\"b\",address=\"127.0.0.1:1\"}]\nlisten=[".to_owned();
    let listen = listen + &"\n\"127.0.0.1:0\",".repeat(config::LISTENERS_MAX + 1) + "]";
    let problems = config::parse("f", &listen).expect_err("too many").to_string();
    assert_eq!(
        problems,
        "f:10005:1: service[0].listen[10000]: found more than 10000 listen addresses, wanted at most 10000 in a file"
    );
}

#[test]
fn a_file_that_is_no_toml_ends_at_the_limit_of_problems() {
    let problems = config::parse("f", &"\n=".repeat(20_000)).expect_err("no toml");
    assert!((1..=config::PROBLEMS_MAX).contains(&problems.iter().count()));
    assert!(problems.to_string().ends_with(" more problems"), "the rest is counted");
}

/// toml 1.2 itself overflows the stack of a thread on this one.
#[test]
fn a_tree_too_deep_for_the_stack_is_refused() {
    let key = ["a"; 79].join(".");
    let text = format!("[{key}]\n{}b = 1{}\n", format!("{key} = {{").repeat(79), "}".repeat(79));
    let problems = config::parse("f", &text).expect_err("too deep").to_string();
    assert_eq!(
        problems,
        "f:1:17: a.a.a.a.a.a.a.a.a: found more than 8 parts of one key, wanted fewer"
    );
}

/// Every file of the folders, as a text to spoil.
fn seeds() -> Vec<String> {
    let files = files("good").into_iter().chain(files("bad"));
    files
        .map(|path| fs::read_to_string(path).expect("a readable file"))
        .collect()
}

/// A claim about any text: no panic, and every problem has a line of it.
fn lines_are_within(text: &str) -> Result<(), TestCaseError> {
    let lines = text.lines().count().max(1);
    if let Err(problems) = config::parse("f", text) {
        let places: BTreeSet<Option<usize>> = problems.iter().map(Problem::line).collect();
        prop_assert!(!places.is_empty());
        prop_assert!(
            places
                .iter()
                .all(|line| line.is_some_and(|line| (1..=lines).contains(&line))),
            "{problems}\nof {lines} lines"
        );
        prop_assert!(problems.to_string().lines().count() >= places.len());
    }
    Ok(())
}

fn boundary(text: &str, mut at: usize) -> usize {
    at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_text_is_read_without_a_panic(text in any::<String>()) {
        lines_are_within(&text)?;
    }

    #[test]
    fn any_mix_of_toml_is_read_without_a_panic(
        parts in prop::collection::vec(
            prop::sample::select(vec![
                "[", "]", "[[", "]]", "{", "}", "=", ",", ".", "\"", "'", "\"\"\"", "\n", "\r\n", "#", " ", "service", "backend", "health",
                "name", "listen", "runtime", "a", "-1", "0x", "1.5", "true", "\"127.0.0.1:9000\"", "1979-05-27", "\\u", "\u{feff}", "é", "\0",
            ]),
            0..60,
        )
    ) {
        lines_are_within(&parts.concat())?;
    }

    #[test]
    fn a_spoiled_file_is_read_without_a_panic(
        seed in prop::sample::select(seeds()),
        edits in prop::collection::vec((any::<prop::sample::Index>(), 0_usize..12, "[\\[\\]{}=.,\"'#\n a-z0-9\u{e9}-]{0,6}"), 1..6),
    ) {
        let mut text = seed;
        for (index, removed, inserted) in edits {
            let start = boundary(&text, index.index(text.len() + 1));
            let end = boundary(&text, start + removed).max(start);
            text.replace_range(start..end, &inserted);
        }
        lines_are_within(&text)?;
    }
}

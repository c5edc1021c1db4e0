//! Any text as an `lb.toml`: read without a panic, twice the same, and every problem stands at a place of the text.
#![no_main]

use lb::config::{self, Problem, Problems};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let read = config::parse("f", text);
    assert_eq!(read, config::parse("f", text), "the same text is read the same");
    if let Err(problems) = &read {
        places_are_within(text, problems);
    }
    if let Err(problems) = config::listed("f", text) {
        places_are_within(text, &problems);
    }
});

fn places_are_within(text: &str, problems: &Problems) {
    // As an editor counts: a newline at the very end starts no line.
    let lines: Vec<&str> = text.split('\n').collect();
    let count = if text.ends_with('\n') && lines.len() > 1 {
        lines.len() - 1
    } else {
        lines.len()
    };
    let numbers: Vec<Option<usize>> = problems.iter().map(Problem::line).collect();
    assert!(!numbers.is_empty(), "refused, and nothing is wrong");
    let said = problems.to_string();
    let mut said = said.lines();
    for number in numbers {
        let number = number.expect("a text of this size has lines");
        assert!((1..=count).contains(&number), "line {number} of {count}");
        let line = said.next().expect("a line for each problem");
        let place = line.strip_prefix(&format!("f:{number}:")).expect("its own line");
        let column: usize = place.split(':').next().unwrap_or("").parse().expect("a column");
        let characters = lines[number - 1].chars().count();
        assert!(
            (1..=characters + 1).contains(&column),
            "column {column} of {characters}: {line}"
        );
        assert!(
            !line.chars().any(char::is_control),
            "a message is one line of text: {line:?}"
        );
    }
}

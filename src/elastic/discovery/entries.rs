//! Lists of backends as text: JSON of a page, a file or a key, and TOML of a file.
//!
//! Called by the sources. Pure. May not: panic, whatever the bytes, or take a list of which one entry is wrong.

use std::path::Path;

use serde::Deserialize;
use serde_json::Value;

use crate::config::{self, Listed};

/// An entry of JSON.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    name: Option<String>,
    address: String,
    weight: Option<u32>,
    #[serde(default)]
    backup: bool,
}

/// A file's list: JSON if its name ends so, else TOML.
///
/// # Errors
/// The first thing that is wrong, in one line.
pub(super) fn of_file(path: &Path, bytes: &[u8]) -> Result<Vec<Listed>, String> {
    let file = path.display().to_string();
    if path.extension().is_some_and(|extension| extension == "json") {
        return of_json(bytes).map_err(|reason| format!("{file}: {reason}"));
    }
    let text = std::str::from_utf8(bytes).map_err(|error| format!("{file}: isn't UTF-8: {error}"))?;
    config::listed(&file, text).map_err(|problems| {
        let more = match problems.iter().count().saturating_sub(1) {
            0 => String::new(),
            more => format!(" (and {more} more)"),
        };
        let all = problems.to_string();
        format!("{}{more}", all.lines().next().unwrap_or("isn't a list of backends"))
    })
}

/// A list of JSON: objects with an address, or addresses.
///
/// # Errors
/// The first thing that is wrong, in one line.
pub(super) fn of_json(bytes: &[u8]) -> Result<Vec<Listed>, String> {
    let entries: Vec<Value> = serde_json::from_slice(bytes).map_err(|error| {
        format!(
            "isn't a list of backends, like [{{\"address\": \"10.0.0.1:80\"}}]: {}",
            words(&error)
        )
    })?;
    let entries = entries.into_iter().zip(1_u32..);
    entries
        .map(|(entry, number)| of_value(entry).map_err(|reason| format!("entry {number}: {reason}")))
        .collect()
}

/// A single value of text: an address, or an object of JSON.
///
/// # Errors
/// What is wrong with it, in one line.
pub(super) fn of_text(bytes: &[u8]) -> Result<Listed, String> {
    let text = std::str::from_utf8(bytes)
        .map_err(|_| "isn't UTF-8 text".to_owned())?
        .trim();
    if text.starts_with('{') {
        let value = serde_json::from_str(text).map_err(|error| words(&error))?;
        return of_value(value);
    }
    address_alone(text)
}

fn address_alone(text: &str) -> Result<Listed, String> {
    Ok(Listed {
        name: None,
        address: config::backend_address(text)?,
        weight: 1,
        backup: false,
    })
}

fn words(error: &serde_json::Error) -> String {
    config::one_line(&error.to_string())
}

fn of_value(value: Value) -> Result<Listed, String> {
    if let Value::String(address) = &value {
        return address_alone(address);
    }
    let entry: Entry = serde_json::from_value(value).map_err(|error| words(&error))?;
    if let Some(name) = &entry.name {
        config::check_name(name)?;
    }
    Ok(Listed {
        name: entry.name,
        address: config::backend_address(&entry.address)?,
        weight: entry.weight.map_or(Ok(1), config::weight)?,
        backup: entry.backup,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn entries_of_json_are_objects_or_addresses() {
        let text = br#"[{"name": "a", "address": "10.0.0.1:1", "weight": 3, "backup": true}, "[::1]:2"]"#;
        let list = of_json(text).unwrap();
        assert_eq!(list.len(), 2);
        assert_eq!(
            (list[0].name.as_deref(), list[0].weight, list[0].backup),
            (Some("a"), 3, true)
        );
        assert_eq!((list[1].address.port(), list[1].weight), (2, 1));
        assert_eq!(of_json(b"[]").unwrap(), []);
        assert_eq!(of_text(b"10.0.0.1:1\n").unwrap().address.port(), 1);
        assert_eq!(
            of_text(br#" {"address": "10.0.0.1:1", "weight": 7}"#).unwrap().weight,
            7
        );
    }

    #[test]
    fn a_bad_entry_is_named_with_what_is_wrong() {
        for (text, wanted) in [
            (
                r#"[{"address": "10.0.0.1:1"}, {"adress": "x"}]"#,
                "entry 2: unknown field `adress`, expected one of `name`, `address`",
            ),
            (r#"["db:1"]"#, "entry 1: address: found \"db:1\""),
            (
                r#"[{"address": "10.0.0.1:1", "weight": 300}]"#,
                "entry 1: weight: found 300",
            ),
            (
                r#"[{"address": "10.0.0.1:1", "name": "a b"}]"#,
                "entry 1: name: found \"a b\"",
            ),
            (r#"[{"address": "10.0.0.1:1"}"#, "isn't a list of backends"),
            (r#"{"address": "10.0.0.1:1"}"#, "isn't a list of backends"),
            ("[7]", "entry 1: invalid type"),
        ] {
            let said = of_json(text.as_bytes()).unwrap_err();
            assert!(said.starts_with(wanted) && !said.contains('\n'), "{text}: {said}");
        }
    }

    #[test]
    fn what_steers_a_terminal_or_fills_a_log_is_not_quoted_as_it_is() {
        // The first was found by the fuzzer.
        let long = format!(r#"{{"{}": 1}}"#, "x".repeat(1 << 20));
        for text in [
            "{\"add\x7fress\": 6}",
            "{\"\u{9b}2J\": 6}",
            "{\"a\\nb\": 6}",
            "{\"a\\u001b[2J\": 6}",
            &long,
        ] {
            for said in [
                of_text(text.as_bytes()),
                of_json(format!("[{text}]").as_bytes()).map(|mut list| list.remove(0)),
            ] {
                let said = said.unwrap_err();
                assert!(said.contains("unknown field"), "{said}");
                assert!(
                    !said.chars().any(char::is_control) && said.chars().count() < 400,
                    "{said:?}"
                );
            }
        }
    }

    #[test]
    fn the_name_of_a_file_says_what_it_holds() {
        assert!(of_file(Path::new("a.json"), b"[]").is_ok());
        let said = of_file(Path::new("a.toml"), b"[[backend]]\nx = 1\n[[backend]]\n").unwrap_err();
        assert!(
            said.starts_with("a.toml:1:1: backend[0].address: missing") && said.ends_with("(and 2 more)"),
            "{said}"
        );
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            for file in ["a.json", "a.toml"] {
                let _ignored = of_file(Path::new(file), &bytes).is_ok();
            }
            let _ignored = of_text(&bytes).is_ok();
        }
    }
}

//! From text to the tree of the `toml` crate, which knows where each value stands; every syntax error in plain words.
//!
//! May not: know what a key means.

use std::collections::HashSet;
use std::ops::Range;

use toml::de::DeTable;
use toml_parser::ParseError;

use super::outline::Outline;
use super::problems::{Findings, Kind, quoted, shown};
use super::{KEY_PARTS_MAX, NESTING_MAX, PROBLEMS_MAX};

/// The tree of what could be read; `None` if there is too little of it, or too much.
pub(super) fn read<'t>(text: &'t str, findings: &mut Findings<'t>) -> Option<DeTable<'t>> {
    let outline = Outline::of(text);
    if let Some((at, what)) = outline.too_deep {
        let most = if what.starts_with("parts") {
            KEY_PARTS_MAX
        } else {
            NESTING_MAX
        };
        findings.push(
            at,
            Kind::Structure,
            outline.path(at).to_owned(),
            format!("found more than {most} {what}, wanted fewer"),
        );
        return None;
    }
    let (mut root, mut all) = (None, Vec::new());
    if outline.errors_omitted == 0 {
        let (tree, errors) = DeTable::parse_recoverable(text);
        (root, all) = (Some(tree.into_inner()), errors);
    }
    let words = Words {
        text,
        outline: &outline,
        findings,
    };
    let (said, omitted) = words.of_all(&all);
    findings.add_uncounted(omitted);
    for Said { at, kind, text } in said {
        findings.push(at, kind, outline.path(at).to_owned(), text);
    }
    root
}

/// A syntax error, put into words.
struct Said {
    at: usize,
    kind: Kind,
    text: String,
}

fn is_unclosed_bracket(error: &ParseError) -> bool {
    matches!(error.description(), "unclosed array" | "unclosed inline table")
}

fn start_of_bracket(error: &ParseError) -> Option<usize> {
    error.context().map(|span| span.start())
}

struct Words<'o> {
    text: &'o str,
    outline: &'o Outline,
    findings: &'o Findings<'o>,
}

impl Words<'_> {
    /// Every error that isn't the echo of another, and the number of those left out.
    fn of_all(&self, all: &[toml::de::Error]) -> (Vec<Said>, usize) {
        let structure = &self.outline.errors;
        // The tree's errors tell those of the structure again.
        let known: HashSet<Option<usize>> = structure
            .iter()
            .map(|error| error.unexpected().map(|span| span.start()))
            .collect();
        let of_tree = || {
            all.iter()
                .filter(|error| !known.contains(&error.span().map(|span| span.start)))
        };
        let omitted = of_tree().count().saturating_sub(PROBLEMS_MAX);
        let of_tree = of_tree().take(PROBLEMS_MAX).map(|error| self.of_tree(error));
        let mut said: Vec<Said> = structure
            .iter()
            .map(|error| self.of_structure(error))
            .chain(of_tree)
            .collect();
        // Behind a bracket that is never closed, all the rest is taken for its content.
        let unclosed = structure
            .iter()
            .find(|error| is_unclosed_bracket(error))
            .and_then(start_of_bracket);
        said.retain(|said| unclosed.is_none_or(|unclosed| said.at <= unclosed));
        said.sort_by_key(|said| said.at);
        // A second error of a line is the echo of the first.
        said.dedup_by_key(|said| self.findings.line(said.at));
        (said, omitted.saturating_add(self.outline.errors_omitted))
    }

    fn of_structure(&self, error: &ParseError) -> Said {
        let span = error
            .unexpected()
            .or(error.context())
            .map_or(0..0, |span| span.start()..span.end());
        let at = if is_unclosed_bracket(error) {
            start_of_bracket(error).unwrap_or(span.start)
        } else {
            span.start
        };
        let said = match error.description() {
            "unclosed array" => "the array isn't closed, wanted \"]\"".to_owned(),
            "unclosed inline table" => "the table isn't closed, wanted \"}\"".to_owned(),
            "unclosed table" => "the section header isn't closed, wanted \"]\"".to_owned(),
            "unclosed array table" => "the section header isn't closed, wanted \"]]\"".to_owned(),
            "key with no value" => self.no_value(&span),
            "missing value" | "missing value for key" => "found nothing behind the \"=\", wanted a value".to_owned(),
            "missing comma between array elements" => "no comma between two values of the array".to_owned(),
            "unexpected key or value" | "unexpected content" => {
                format!(
                    "found {} behind a complete line, wanted a new line or \"#\"",
                    shown(self.rest_of_line(span.start).trim())
                )
            }
            other => format!("no valid toml: {other}"),
        };
        Said {
            at,
            kind: Kind::Structure,
            text: said,
        }
    }

    fn of_tree(&self, error: &toml::de::Error) -> Said {
        let span = error.span().unwrap_or(0..0);
        let (description, expected) = error
            .message()
            .split_once(", expected ")
            .unwrap_or((error.message(), ""));
        let (kind, text) = match description {
            "duplicate key" => (Kind::Value, self.duplicate(&span)),
            "invalid basic string" if expected == "`\"`" => (
                Kind::Value,
                "the string isn't closed, wanted a \" at its end".to_owned(),
            ),
            "invalid literal string" if expected == "`'`" => {
                (Kind::Value, "the string isn't closed, wanted a ' at its end".to_owned())
            }
            "invalid unquoted key" if self.text.get(span.clone()) == Some(":") => {
                (Kind::Structure, "found \":\" behind a key, wanted \"=\"".to_owned())
            }
            _ if description.contains("multi-line") => {
                (Kind::Structure, format!("no valid toml: {description}; is it closed?"))
            }
            _ if description.starts_with("cannot extend") => (Kind::Structure, format!("no valid toml: {description}")),
            _ => (Kind::Value, self.value(&span, description, expected)),
        };
        Said {
            at: span.start,
            kind,
            text,
        }
    }

    fn no_value(&self, span: &Range<usize>) -> String {
        let before = self.text.get(..span.start).unwrap_or_default();
        let key = before.rsplit('\n').next().unwrap_or_default().trim();
        format!("found a key without a value, wanted \"{} = ...\"", shown(key))
    }

    fn duplicate(&self, span: &Range<usize>) -> String {
        let line = |at: usize| self.findings.line(at);
        let first = self.outline.first(span.start);
        match (first, self.outline.clash(span.start)) {
            (Some((first, true)), _) => {
                format!(
                    "this section stands here again; put its keys under the first, on line {}",
                    line(first)
                )
            }
            (Some((first, false)), _) => format!("this key is set again; it was first set on line {}", line(first)),
            (None, Some(clash)) => {
                format!(
                    "this section clashes with line {}, where its name stands for another kind of value",
                    line(clash)
                )
            }
            (None, None) => {
                let key = self.text.get(span.clone()).unwrap_or_default();
                format!("{} is set twice in one table", quoted(key.trim_matches(['"', '\''])))
            }
        }
    }

    /// A value that is no TOML: mostly a string without quotes.
    fn value(&self, span: &Range<usize>, description: &str, expected: &str) -> String {
        if description == "missing escaped value" {
            return "found an unknown escape, wanted \\n, \\t, \\\" or another of toml's; a backslash itself is \\\\"
                .to_owned();
        }
        let raw = self.word(span);
        if raw.is_empty() && description == "string values must be quoted" {
            return "found nothing behind the \"=\", wanted a value".to_owned();
        }
        if matches!(
            raw.to_ascii_lowercase().as_str(),
            "yes" | "no" | "on" | "true" | "false"
        ) {
            return format!("found {raw}, wanted true or false");
        }
        let is_number = raw.starts_with(['+', '-'])
            || ["0x", "0o", "0b"].iter().any(|radix| raw.starts_with(radix))
            || raw.bytes().all(|byte| byte.is_ascii_digit() || byte == b'_');
        if !raw.is_empty() && !is_number && !raw.contains(['"', '\'']) {
            let found = shown(raw);
            return format!(
                "found {found}, wanted a number, or a string in quotes: {}?",
                quoted(raw)
            );
        }
        let found = if raw.is_empty() {
            String::new()
        } else {
            format!("found {}, ", shown(raw))
        };
        let wanted = if matches!(expected, "" | "nothing") {
            String::new()
        } else {
            format!(", wanted {expected}")
        };
        format!("{found}no valid toml: {description}{wanted}")
    }

    /// The run of characters around a span that no separator of TOML cuts.
    fn word(&self, span: &Range<usize>) -> &str {
        let is_edge =
            |character: char| character.is_whitespace() || matches!(character, '=' | '[' | ']' | '{' | '}' | ',' | '#');
        let before = self.text.get(..span.start).unwrap_or_default();
        let start = before.char_indices().rev().find(|(_, character)| is_edge(*character));
        let start = start.map_or(0, |(at, character)| at.saturating_add(character.len_utf8()));
        let behind = self.text.get(start..).unwrap_or_default();
        behind.split(is_edge).next().unwrap_or_default()
    }

    fn rest_of_line(&self, at: usize) -> &str {
        self.text
            .get(at..)
            .and_then(|rest| rest.lines().next())
            .unwrap_or_default()
    }
}

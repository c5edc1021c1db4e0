//! The sections and keys of a text in the order they stand, whatever is wrong with it. Made from the parser's events, before a tree is.
//!
//! [`syntax`](super::syntax) asks it under which key a syntax error stands, where a key stood first, and whether a tree of the text would be too deep.
//! May not: look at values.

use std::collections::HashMap;

use toml_parser::decoder::Encoding;
use toml_parser::parser::{EventReceiver, parse_document};
use toml_parser::{ErrorSink, ParseError, Source, Span};

use super::problems::{quoted, shown};
use super::{KEY_PARTS_MAX, NESTING_MAX, PROBLEMS_MAX};

/// A header or a key at the top level of its section.
struct Entry {
    at: usize,
    /// As typed, with the number of each table of an array: `service[0].backend[1]`.
    path: String,
    is_header: bool,
}

/// What stands where.
pub(super) struct Outline {
    entries: Vec<Entry>,
    /// Where a tree of the text would become deeper than allowed, and in what.
    pub(super) too_deep: Option<(usize, &'static str)>,
    /// Syntax errors of the structure, the first ones.
    pub(super) errors: Vec<ParseError>,
    /// Syntax errors beyond those.
    pub(super) errors_omitted: usize,
}

impl Outline {
    pub(super) fn of(text: &str) -> Self {
        let tokens = Source::new(text).lex().into_vec();
        let mut tracer = Tracer::new(text);
        let (mut errors, mut errors_omitted) = (Vec::new(), 0_usize);
        let mut sink = |error: ParseError| {
            if errors.len() < PROBLEMS_MAX {
                errors.push(error);
            } else {
                errors_omitted = errors_omitted.saturating_add(1);
            }
        };
        parse_document(&tokens, &mut tracer, &mut sink);
        Self {
            entries: tracer.entries,
            too_deep: tracer.too_deep,
            errors,
            errors_omitted,
        }
    }

    /// The key at a byte, else the section around it; empty before the first.
    pub(super) fn path(&self, at: usize) -> &str {
        self.entry(at).map_or("", |entry| &entry.path)
    }

    /// Where the key or section that stands at a byte stood first; `None` if this is the first.
    pub(super) fn first(&self, at: usize) -> Option<(usize, bool)> {
        let entry = self.entry(at)?;
        let first = self
            .entries
            .iter()
            .find(|first| first.path == entry.path && first.at < entry.at)?;
        Some((first.at, entry.is_header))
    }

    /// Where the name of a section at a byte was first used for something else.
    pub(super) fn clash(&self, at: usize) -> Option<usize> {
        let section = self.entry(at).filter(|entry| entry.is_header)?;
        let name = section
            .path
            .rsplit_once('[')
            .map_or(section.path.as_str(), |(name, _)| name);
        let clashes = |path: &str| {
            path.strip_prefix(name)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
        };
        self.entries
            .iter()
            .find(|first| first.at < section.at && clashes(&first.path))
            .map(|first| first.at)
    }

    fn entry(&self, at: usize) -> Option<&Entry> {
        let behind = self.entries.partition_point(|entry| entry.at <= at);
        self.entries.get(behind.checked_sub(1)?)
    }
}

/// Which part of a line the parser is in.
enum State {
    /// Between lines, or behind the `=` of a key.
    Elsewhere,
    /// In a header; `[[` or not.
    Header {
        at: usize,
        is_array: bool,
        parts: Vec<String>,
    },
    /// In the key of a key-value pair.
    Key { at: usize, parts: Vec<String> },
}

struct Tracer<'t> {
    text: &'t str,
    state: State,
    depth: usize,
    parts: usize,
    section: String,
    arrays: HashMap<String, usize>,
    entries: Vec<Entry>,
    too_deep: Option<(usize, &'static str)>,
}

impl<'t> Tracer<'t> {
    fn new(text: &'t str) -> Self {
        let (state, section) = (State::Elsewhere, String::new());
        Self {
            text,
            state,
            depth: 0,
            parts: 0,
            section,
            arrays: HashMap::new(),
            entries: Vec::new(),
            too_deep: None,
        }
    }

    fn open(&mut self, span: Span) -> bool {
        self.finish();
        self.depth = self.depth.saturating_add(1);
        let allowed = self.depth <= NESTING_MAX;
        if !allowed {
            self.too_deep
                .get_or_insert((span.start(), "arrays and tables in one another"));
        }
        allowed
    }

    fn close(&mut self) {
        self.depth = self.depth.saturating_sub(1);
    }

    /// The header or key is complete: notes it.
    fn finish(&mut self) {
        match std::mem::replace(&mut self.state, State::Elsewhere) {
            State::Elsewhere => {}
            State::Header { at, is_array, parts } => {
                self.section = self.numbered(&parts, is_array);
                self.entries.push(Entry {
                    at,
                    path: self.section.clone(),
                    is_header: true,
                });
            }
            State::Key { at, parts } => {
                let path = parts.iter().fold(self.section.clone(), |path, part| join(&path, part));
                self.entries.push(Entry {
                    at,
                    path,
                    is_header: false,
                });
            }
        }
    }

    /// The path of a header, where each `[[…]]` of its parts is the last one so far.
    fn numbered(&mut self, parts: &[String], is_array: bool) -> String {
        let last = parts.len().saturating_sub(1);
        parts.iter().enumerate().fold(String::new(), |path, (index, part)| {
            let path = join(&path, part);
            if is_array && index == last {
                let count = self.arrays.entry(path.clone()).or_default();
                *count = count.saturating_add(1);
            }
            match self.arrays.get(&path) {
                Some(count) => format!("{path}[{}]", count.saturating_sub(1)),
                None => path,
            }
        })
    }
}

/// `path.part`; `part` where there is no path. In quotes if TOML wants them.
pub(super) fn join(path: &str, part: &str) -> String {
    let is_bare = !part.is_empty()
        && part
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'));
    let part = if is_bare { shown(part) } else { quoted(part) };
    if path.is_empty() {
        part
    } else {
        format!("{path}.{part}")
    }
}

impl EventReceiver for Tracer<'_> {
    fn std_table_open(&mut self, span: Span, _: &mut dyn ErrorSink) {
        self.finish();
        (self.depth, self.parts) = (0, 0);
        self.state = State::Header {
            at: span.start(),
            is_array: false,
            parts: Vec::new(),
        };
    }

    fn array_table_open(&mut self, span: Span, _: &mut dyn ErrorSink) {
        self.finish();
        (self.depth, self.parts) = (0, 0);
        self.state = State::Header {
            at: span.start(),
            is_array: true,
            parts: Vec::new(),
        };
    }

    fn std_table_close(&mut self, _: Span, _: &mut dyn ErrorSink) {
        self.finish();
    }

    fn array_table_close(&mut self, _: Span, _: &mut dyn ErrorSink) {
        self.finish();
    }

    fn newline(&mut self, _: Span, _: &mut dyn ErrorSink) {
        self.finish();
    }

    fn inline_table_open(&mut self, span: Span, _: &mut dyn ErrorSink) -> bool {
        self.open(span)
    }

    fn inline_table_close(&mut self, _: Span, _: &mut dyn ErrorSink) {
        self.close();
    }

    fn array_open(&mut self, span: Span, _: &mut dyn ErrorSink) -> bool {
        self.open(span)
    }

    fn array_close(&mut self, _: Span, _: &mut dyn ErrorSink) {
        self.close();
    }

    fn simple_key(&mut self, span: Span, _: Option<Encoding>, _: &mut dyn ErrorSink) {
        if self.parts == 0 {
            self.parts = 1;
        }
        let raw = self.text.get(span.start()..span.end()).unwrap_or_default();
        // A key that ends in ":" is a slip; its own error says so.
        let part = raw.trim_matches(['"', '\'']).trim_end_matches(':').to_owned();
        match &mut self.state {
            State::Header { parts, .. } | State::Key { parts, .. } if parts.len() > KEY_PARTS_MAX => {}
            State::Header { parts, .. } | State::Key { parts, .. } => parts.push(part),
            State::Elsewhere if self.depth == 0 => {
                self.state = State::Key {
                    at: span.start(),
                    parts: vec![part],
                }
            }
            State::Elsewhere => {}
        }
    }

    fn key_sep(&mut self, span: Span, _: &mut dyn ErrorSink) {
        self.parts = self.parts.saturating_add(1);
        if self.parts > KEY_PARTS_MAX {
            self.too_deep.get_or_insert((span.start(), "parts of one key"));
        }
    }

    fn key_val_sep(&mut self, _: Span, _: &mut dyn ErrorSink) {
        self.finish();
        self.parts = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_byte_is_under_the_key_before_it() {
        let text = "a = 1\n[[s]]\nb = 2\n[[s]]\n[[s.t]]\n[s.u]\nc.d = [1,\n2]\n";
        let outline = Outline::of(text);
        let path = |at: &str| outline.path(text.find(at).expect("in the text"));
        assert_eq!(path("1\n[["), "a");
        assert_eq!(path("b ="), "s[0].b");
        assert_eq!(path("t]]"), "s[1].t[0]");
        assert_eq!(path("u]"), "s[1].u");
        assert_eq!(path("2]"), "s[1].u.c.d");
    }

    #[test]
    fn a_key_set_twice_is_found_at_its_first_place() {
        let text = "[a]\nx = 1\ny = 2\nx = 3\n[a]\n";
        let outline = Outline::of(text);
        assert_eq!(outline.first(16), Some((4, false)));
        assert_eq!(outline.first(text.len() - 3), Some((0, true)));
        assert_eq!(outline.first(10), None);
    }

    #[test]
    fn depth_is_bounded_in_brackets_and_in_keys() {
        let brackets = |levels: usize| format!("a = {}{}", "[".repeat(levels), "]".repeat(levels));
        assert!(Outline::of(&brackets(NESTING_MAX)).too_deep.is_none());
        assert!(Outline::of(&brackets(NESTING_MAX + 1)).too_deep.is_some());
        let key = |parts: usize| format!("{} = 1", vec!["a"; parts].join("."));
        assert!(Outline::of(&key(KEY_PARTS_MAX)).too_deep.is_none());
        assert!(Outline::of(&key(KEY_PARTS_MAX + 1)).too_deep.is_some());
        let header = format!("[{}]", ["a"; KEY_PARTS_MAX + 1].join("."));
        assert!(Outline::of(&header).too_deep.is_some());
        let sections = "[[a]]\nb = 1\n".repeat(KEY_PARTS_MAX + NESTING_MAX);
        assert!(Outline::of(&sections).too_deep.is_none());
    }
}

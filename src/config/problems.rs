//! What is wrong with a file, and where: [`Findings`] while it is read, [`Problems`] for people.
//!
//! A finding stands at a byte; a problem at a line and a column, both from 1, the column in characters.
//! May not: print.

use std::fmt;

use super::PROBLEMS_MAX;

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    place: Option<(usize, usize)>,
    path: String,
    text: String,
}

impl Problem {
    /// Line, from 1; `None` where the file as a whole is meant: it can't be read, or is too large.
    pub fn line(&self) -> Option<usize> {
        self.place.map(|(line, _)| line)
    }
}

/// All that is wrong with one file, sorted by place; one line each when displayed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problems {
    file_name: String,
    list: Vec<Problem>,
    omitted: usize,
}

impl Problems {
    /// Each problem; at most [`PROBLEMS_MAX`], the first ones.
    pub fn iter(&self) -> impl Iterator<Item = &Problem> {
        self.list.iter()
    }

    /// One problem of the file as a whole.
    pub(super) fn of_file(file_name: &str, text: &str) -> Self {
        let problem = Problem {
            place: None,
            path: String::new(),
            text: text.to_owned(),
        };
        Self {
            file_name: file_name.to_owned(),
            list: vec![problem],
            omitted: 0,
        }
    }

    /// One problem that stands just behind `before`, the readable start of the file.
    pub(super) fn at_end_of(file_name: &str, before: &str, text: String) -> Self {
        let line = before.matches('\n').count().saturating_add(1);
        let column = before
            .rsplit('\n')
            .next()
            .unwrap_or_default()
            .chars()
            .count()
            .saturating_add(1);
        let problem = Problem {
            place: Some((line, column)),
            path: String::new(),
            text,
        };
        Self {
            file_name: file_name.to_owned(),
            list: vec![problem],
            omitted: 0,
        }
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.list.iter().enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            write!(f, "{}:", self.file_name)?;
            if let Some((line, column)) = problem.place {
                write!(f, "{line}:{column}:")?;
            }
            if !problem.path.is_empty() {
                write!(f, " {}:", problem.path)?;
            }
            write!(f, " {}", problem.text)?;
        }
        if self.omitted > 0 {
            write!(f, "\n{}: and {} more problems", self.file_name, self.omitted)?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

/// How much a finding says about the rest of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// The text is no TOML here, and what the parser made of the rest may be wrong.
    Structure,
    /// One value is no TOML; the rest stands.
    Value,
    /// TOML, but not what is allowed.
    Meaning,
    /// Something isn't there.
    Missing,
}

struct Finding {
    at: usize,
    kind: Kind,
    path: String,
    text: String,
}

/// What is wrong so far.
pub(super) struct Findings<'t> {
    text: &'t str,
    line_starts: Vec<usize>,
    list: Vec<Finding>,
    uncounted: usize,
}

impl<'t> Findings<'t> {
    pub(super) fn new(text: &'t str) -> Self {
        let after_newlines = text
            .bytes()
            .enumerate()
            .filter(|(_, byte)| *byte == b'\n')
            .map(|(at, _)| at.saturating_add(1));
        // A newline at the very end starts no line that an editor would show.
        let line_starts = std::iter::once(0)
            .chain(after_newlines.filter(|start| *start < text.len()))
            .collect();
        Self {
            text,
            line_starts,
            list: Vec::new(),
            uncounted: 0,
        }
    }

    /// Adds a finding about the value or key at the byte `at`.
    pub(super) fn add(&mut self, at: usize, path: impl Into<String>, text: impl Into<String>) {
        self.push(at, Kind::Meaning, path.into(), text.into());
    }

    /// Adds that something isn't in the table whose header stands at `at`.
    pub(super) fn add_missing(&mut self, at: usize, path: impl Into<String>, wanted: &str) {
        self.push(at, Kind::Missing, path.into(), format!("missing, wanted {wanted}"));
    }

    pub(super) fn push(&mut self, at: usize, kind: Kind, path: String, text: String) {
        self.list.push(Finding {
            at: at.min(self.text.len()),
            kind,
            path,
            text,
        });
    }

    /// Counts findings that aren't worth a place in memory.
    pub(super) fn add_uncounted(&mut self, number: usize) {
        self.uncounted = self.uncounted.saturating_add(number);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Whether the text goes on like this at a byte.
    pub(super) fn stands_at(&self, at: usize, start: &str) -> bool {
        self.text.get(at..).is_some_and(|rest| rest.starts_with(start))
    }

    /// The line of a byte, from 1.
    pub(super) fn line(&self, at: usize) -> usize {
        self.line_starts.partition_point(|start| *start <= at)
    }

    /// Takes out what only follows from a syntax error: a second complaint about the same line, whatever stands behind a broken
    /// structure, and what seems to be missing because of it.
    pub(super) fn drop_echoes(&mut self) {
        let broken = self
            .list
            .iter()
            .filter(|finding| finding.kind == Kind::Structure)
            .map(|finding| finding.at)
            .min();
        let lines: Vec<bool> = {
            let mut lines = vec![false; self.line_starts.len().saturating_add(1)];
            for finding in self
                .list
                .iter()
                .filter(|finding| matches!(finding.kind, Kind::Structure | Kind::Value))
            {
                if let Some(line) = lines.get_mut(self.line(finding.at)) {
                    *line = true;
                }
            }
            lines
        };
        let mut list = std::mem::take(&mut self.list);
        list.retain(|finding| match finding.kind {
            Kind::Structure | Kind::Value => true,
            Kind::Missing => broken.is_none(),
            Kind::Meaning => {
                broken.is_none_or(|broken| finding.at < broken) && lines.get(self.line(finding.at)) != Some(&true)
            }
        });
        self.list = list;
    }

    pub(super) fn into_problems(mut self, file_name: &str) -> Problems {
        self.list.sort_by(|a, b| (a.at, &a.path).cmp(&(b.at, &b.path)));
        let omitted = self
            .list
            .len()
            .saturating_sub(PROBLEMS_MAX)
            .saturating_add(self.uncounted);
        let list = self.list.iter().take(PROBLEMS_MAX);
        let list = list.map(|finding| Problem {
            place: Some(self.place(finding.at)),
            path: finding.path.clone(),
            text: finding.text.clone(),
        });
        Problems {
            file_name: file_name.to_owned(),
            list: list.collect(),
            omitted,
        }
    }

    fn place(&self, at: usize) -> (usize, usize) {
        let line = self.line(at);
        let start = self
            .line_starts
            .get(line.saturating_sub(1))
            .copied()
            .unwrap_or_default();
        let column = self
            .text
            .get(start..at)
            .map_or(0, |before| before.trim_end_matches('\n').chars().count());
        (line, column.saturating_add(1))
    }
}

// Longer than any valid name or address, short enough for a terminal.
const SHOWN_CHARACTERS_MAX: usize = 72;
/// A whole sentence may be longer, though not as long as what it quotes.
const SENTENCE_CHARACTERS_MAX: usize = 300;

/// Text of the file as a message shows it: in quotes, on one line, not too long.
pub(super) fn quoted(text: &str) -> String {
    format!("\"{}\"", shortened(text, SHOWN_CHARACTERS_MAX, char::escape_debug))
}

/// Text of the file that has its own quotes or none: on one line, not too long.
pub(super) fn shown(text: &str) -> String {
    unquoted(text, SHOWN_CHARACTERS_MAX)
}

/// What a library says of somebody's text, which it may quote as it is: on one line, not too long.
#[must_use]
pub fn one_line(sentence: &str) -> String {
    unquoted(sentence, SENTENCE_CHARACTERS_MAX)
}

fn unquoted(text: &str, characters_max: usize) -> String {
    let plain = |character: char| matches!(character, '"' | '\'' | '\\');
    shortened(text, characters_max, |character| {
        let (kept, escaped) = if plain(character) {
            (Some(character), None)
        } else {
            (None, Some(character.escape_debug()))
        };
        kept.into_iter().chain(escaped.into_iter().flatten())
    })
}

fn shortened<I: Iterator<Item = char>>(text: &str, characters_max: usize, escape: impl FnMut(char) -> I) -> String {
    let mut shown: String = text.chars().take(characters_max).flat_map(escape).collect();
    if text.chars().nth(characters_max).is_some() {
        shown.push_str("...");
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_the_text_stands_on_its_last_line() {
        let findings = Findings::new("a\nbc\n");
        assert_eq!(findings.place(5), (2, 3));
        assert_eq!(Findings::new("").place(0), (1, 1));
        assert_eq!(Findings::new("\n").place(1), (1, 1));
    }

    #[test]
    fn columns_count_characters() {
        assert_eq!(Findings::new("ä = ö").place(5), (1, 5));
    }

    #[test]
    fn problems_come_in_the_order_of_the_file_and_stop_at_the_limit() {
        let mut findings = Findings::new("a\nb\nc\n");
        for at in (0..PROBLEMS_MAX + 5).rev() {
            findings.add(at % 6, "key", format!("{at}"));
        }
        let problems = findings.into_problems("f");
        let lines: Vec<_> = problems.iter().map(Problem::line).collect();
        assert!(lines.is_sorted());
        assert_eq!(lines.len(), PROBLEMS_MAX);
        assert!(problems.to_string().ends_with("\nf: and 5 more problems"));
    }

    #[test]
    fn a_long_or_odd_value_stays_on_one_line() {
        assert_eq!(quoted("a\nb\"\u{7}"), r#""a\nb\"\u{7}""#);
        assert_eq!(shown("\"a\n\""), "\"a\\n\"");
        assert_eq!(shown(&"x".repeat(100)).len(), 75);
    }
}

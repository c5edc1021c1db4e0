//! Rust sources as text: comments and strings blanked, test code cut off, and which rooms they name. No parser: it reads what `cargo fmt` writes.

use std::fs;
use std::path::{Path, PathBuf};

/// One `.rs` file, by its path from the top of the repository.
pub(super) struct Source {
    pub(super) path: String,
    pub(super) text: String,
    /// The text with comments and the content of strings blanked, line by line the same.
    pub(super) code: String,
}

impl Source {
    pub(super) fn new(path: &str, text: &str) -> Self {
        Self {
            path: path.to_owned(),
            text: text.to_owned(),
            code: blanked(text),
        }
    }

    /// The room it belongs to: `src/pool/mod.rs` and `src/pool.rs` are `pool`.
    pub(super) fn room(&self) -> Option<&str> {
        let inside = self.path.strip_prefix("src/").filter(|inside| *inside != "lib.rs")?;
        inside.split('/').next().map(|room| room.trim_end_matches(".rs"))
    }

    /// The code without what stands behind its first `#[cfg(test)]`: tests come last in a file.
    pub(super) fn shipped(&self) -> &str {
        self.code
            .find("#[cfg(test)]")
            .map_or(self.code.as_str(), |at| &self.code[..at])
    }
}

/// Every source of the repository below some folders.
pub(super) fn sources(folders: &[&str]) -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut paths = Vec::new();
    folders
        .iter()
        .for_each(|folder| collect(&root.join(folder), &mut paths));
    paths.sort();
    let named = |path: &PathBuf| {
        path.strip_prefix(root)
            .expect("below the root")
            .to_string_lossy()
            .into_owned()
    };
    paths
        .iter()
        .map(|path| Source::new(&named(path), &fs::read_to_string(path).expect("utf-8")))
        .collect()
}

fn collect(folder: &Path, paths: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
        let path = entry.expect("entry").path();
        if path.is_dir() {
            collect(&path, paths);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            paths.push(path);
        }
    }
}

/// Blanks comments and what is between quotes, and keeps every newline.
fn blanked(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let (length, keep) = match first {
            '/' if rest.starts_with("//") => (rest.find('\n').unwrap_or(rest.len()), false),
            '/' if rest.starts_with("/*") => (rest.find("*/").map_or(rest.len(), |end| end + 2), false),
            '"' => (string_length(rest), false),
            'r' | 'b' | 'c' if !code.ends_with(is_word) => match raw_string_length(rest) {
                Some(length) => (length, false),
                None => (1, true),
            },
            '\'' => (character_length(rest), false),
            _ => (first.len_utf8(), true),
        };
        let (part, behind) = rest.split_at(length);
        code.extend(
            part.chars()
                .map(|character| if keep || character == '\n' { character } else { ' ' }),
        );
        rest = behind;
    }
    code
}

fn string_length(text: &str) -> usize {
    let mut escaped = false;
    for (at, character) in text.char_indices().skip(1) {
        match character {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// The length of `r"…"`, `r#"…"#`, `br"…"`; `None` if it is none.
fn raw_string_length(text: &str) -> Option<usize> {
    let prefix = ["r", "br", "cr"].iter().find(|prefix| {
        text.strip_prefix(**prefix)
            .is_some_and(|behind| behind.trim_start_matches('#').starts_with('"'))
    })?;
    let behind = &text[prefix.len()..];
    let hashes = behind.len() - behind.trim_start_matches('#').len();
    let start = prefix.len() + hashes + 1;
    let end = format!("\"{}", "#".repeat(hashes));
    Some(text[start..].find(&end).map_or(text.len(), |at| start + at + end.len()))
}

/// The length of `'x'` or `'\n'`; 1 for a lifetime.
fn character_length(text: &str) -> usize {
    let mut characters = text.char_indices().skip(1);
    match characters.next() {
        Some((_, '\\')) => text[2..]
            .char_indices()
            .skip(1)
            .find(|(_, end)| *end == '\'')
            .map_or(1, |(at, _)| at + 3),
        Some(_) => characters
            .next()
            .filter(|(_, end)| *end == '\'')
            .map_or(1, |(at, _)| at + 1),
        None => 1,
    }
}

fn is_word(character: char) -> bool {
    character.is_alphanumeric() || character == '_'
}

pub(super) fn line_of(text: &str, at: usize) -> usize {
    text[..at].matches('\n').count() + 1
}

/// Where a word stands in code, not as a part of another.
pub(super) fn places<'c>(code: &'c str, word: &'c str) -> impl Iterator<Item = usize> + 'c {
    code.match_indices(word).map(|(at, _)| at).filter(move |at| {
        let is_start = !code[..*at].ends_with(is_word);
        is_start && !code[at + word.len()..].starts_with(is_word)
    })
}

/// Every room that a file names by `crate::room` or within `crate::{…}`, with its line.
pub(super) fn imports(source: &Source) -> Vec<(usize, String)> {
    let code = source.shipped();
    let mut found = Vec::new();
    for at in places(code, "crate") {
        let Some(behind) = code[at + "crate".len()..].trim_start().strip_prefix("::") else {
            continue;
        };
        let line = line_of(code, at);
        found.extend(first_names(behind).into_iter().map(|name| (line, name)));
    }
    found
}

/// `a::b` -> a; `{a::b, c::{d, e}}` -> a, c.
fn first_names(path: &str) -> Vec<String> {
    let word = |text: &str| {
        text.trim_start()
            .chars()
            .take_while(|character| is_word(*character))
            .collect::<String>()
    };
    let Some(group) = path.trim_start().strip_prefix('{') else {
        return vec![word(path)];
    };
    let (mut depth, mut names, mut start) = (0_usize, Vec::new(), 0);
    for (at, character) in group.char_indices() {
        match character {
            '{' => depth += 1,
            '}' if depth == 0 => {
                names.push(word(&group[start..at]));
                break;
            }
            '}' => depth -= 1,
            ',' if depth == 0 => {
                names.push(word(&group[start..at]));
                start = at + 1;
            }
            _ => {}
        }
    }
    names.retain(|name| !name.is_empty());
    names
}

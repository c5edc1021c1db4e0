//! The mirror of the text: tables that know their path and place, and hand out a value only as what it is asked for.
//!
//! Every read that fails leaves a finding and gives the default, so that reading goes on. A table is opened with the keys it may
//! hold and complains at once about every other. Called by `sections` and `health`.
//!
//! May not: know what a key means.

use std::ops::RangeInclusive;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::outline::join;
use super::problems::{Findings, quoted, shown};
use super::shapes::{self, Shape};

/// An integer that is allowed.
pub(super) struct Integers {
    pub(super) range: RangeInclusive<u32>,
    /// What 0 means, if something else than none.
    pub(super) zero: &'static str,
}

/// A value, where it stands, and its path.
#[derive(Clone)]
pub(super) struct Field<'d, 't> {
    pub(super) at: usize,
    pub(super) path: String,
    value: &'d DeValue<'t>,
}

/// A table, where it stands, and its path.
pub(super) struct Table<'d, 't> {
    pub(super) at: usize,
    pub(super) path: String,
    /// `None` = the file doesn't have it: all defaults.
    entries: Option<&'d DeTable<'t>>,
}

impl<'d, 't> Table<'d, 't> {
    /// Opens a table and finds its unknown keys.
    pub(super) fn open(
        at: usize,
        path: String,
        entries: &'d DeTable<'t>,
        shape: &Shape,
        findings: &mut Findings,
    ) -> Self {
        for (key, _) in entries {
            let name: &str = key.get_ref();
            let is_known = shape.keys.contains(&name) || shape.tables.iter().any(|(table, _)| *table == name);
            if !is_known {
                findings.add(key.span().start, join(&path, name), unknown_key(name, shape));
            }
        }
        Self {
            at,
            path,
            entries: Some(entries),
        }
    }

    /// An optional `[section]` of this table; all defaults where it isn't there.
    pub(super) fn section(&self, key: &str, shape: &Shape, findings: &mut Findings) -> Self {
        let found = self
            .get(key)
            .and_then(|field| Some((field.at, field.section(shape.header, findings)?)));
        match found {
            Some((at, entries)) => Self::open(at, join(&self.path, key), entries, shape, findings),
            None => Self {
                at: self.at,
                path: join(&self.path, key),
                entries: None,
            },
        }
    }

    /// Whether the file has it.
    pub(super) const fn is_there(&self) -> bool {
        self.entries.is_some()
    }

    /// The value of a key, if it is there.
    pub(super) fn get(&self, key: &str) -> Option<Field<'d, 't>> {
        self.entries?
            .get(key)
            .map(|value| Field::new(join(&self.path, key), value))
    }

    /// Finds that a key isn't there.
    pub(super) fn missing(&self, key: &str, wanted: &str, findings: &mut Findings) {
        findings.add_missing(self.at, join(&self.path, key), wanted);
    }

    pub(super) fn integer(&self, key: &str, allowed: &Integers, default: u32, findings: &mut Findings) -> u32 {
        self.get(key)
            .and_then(|field| field.integer(allowed, findings))
            .unwrap_or(default)
    }
}

impl<'d, 't> Field<'d, 't> {
    fn new(path: String, value: &'d Spanned<DeValue<'t>>) -> Self {
        Self {
            at: value.span().start,
            path,
            value: value.get_ref(),
        }
    }

    /// Finds that the value isn't what is wanted, and shows it.
    pub(super) fn refuse(&self, wanted: &str, hint: &str, findings: &mut Findings) {
        let found = self.found();
        let hint = if hint.is_empty() {
            String::new()
        } else {
            format!("; {hint}")
        };
        findings.add(
            self.at,
            self.path.clone(),
            format!("found {found}, wanted {wanted}{hint}"),
        );
    }

    /// The value as a message names it.
    fn found(&self) -> String {
        match self.value {
            DeValue::String(text) => quoted(text),
            DeValue::Integer(number) => shown(&number.to_string()),
            DeValue::Float(number) => format!("the float {}", shown(number.as_str())),
            DeValue::Boolean(value) => format!("the boolean {value}"),
            DeValue::Datetime(value) => format!("the date {value}"),
            DeValue::Array(values) if values.is_empty() => "an empty array".to_owned(),
            DeValue::Array(_) => "an array".to_owned(),
            DeValue::Table(_) => "a table".to_owned(),
        }
    }

    /// Finds that the value is of another type than wanted, and names both.
    pub(super) fn refuse_type(&self, wanted: &str, hint: &str, findings: &mut Findings) {
        let hint = if hint.is_empty() {
            String::new()
        } else {
            format!("; {hint}")
        };
        let said = format!("found {}, wanted {wanted}{hint}", self.found_type());
        findings.add(self.at, self.path.clone(), said);
    }

    /// The value with its type.
    fn found_type(&self) -> String {
        match self.value {
            DeValue::String(_) => format!("the string {}", self.found()),
            DeValue::Integer(_) => format!("the integer {}", self.found()),
            _ => self.found(),
        }
    }

    pub(super) fn as_str(&self) -> Option<&'d str> {
        self.value.as_str()
    }

    /// The digits of a decimal integer or float.
    pub(super) fn as_number(&self) -> Option<&'d str> {
        match self.value {
            DeValue::Integer(number) if number.radix() == 10 => Some(number.as_str()),
            DeValue::Float(number) => Some(number.as_str()),
            _ => None,
        }
    }

    pub(super) fn string(&self, wanted: &str, findings: &mut Findings) -> Option<&'d str> {
        let text = self.as_str();
        if text.is_none() {
            let is_plural = matches!(self.value, DeValue::Array(_) | DeValue::Table(_));
            self.refuse_type(wanted, if is_plural { "" } else { "put it in quotes" }, findings);
        }
        text
    }

    pub(super) fn boolean(&self, findings: &mut Findings) -> Option<bool> {
        let value = self.value.as_bool();
        if value.is_none() {
            let is_quoted = matches!(self.as_str(), Some("true" | "false"));
            self.refuse_type(
                "true or false",
                if is_quoted { "remove the quotes" } else { "" },
                findings,
            );
        }
        value
    }

    pub(super) fn integer(&self, allowed: &Integers, findings: &mut Findings) -> Option<u32> {
        let number = self.value.as_integer();
        let number = number.and_then(|n| u32::from_str_radix(n.as_str(), n.radix()).ok());
        let number = number.filter(|number| allowed.range.contains(number));
        if number.is_none() {
            let (least, most) = (allowed.range.start(), allowed.range.end());
            let zero = if allowed.zero.is_empty() {
                String::new()
            } else {
                format!(" ({})", allowed.zero)
            };
            let wanted = format!("an integer from {least}{zero} to {most}");
            let is_quoted = self.as_str().is_some_and(|text| text.parse::<u32>().is_ok());
            if self.value.is_integer() {
                self.refuse(&wanted, "", findings);
            } else {
                self.refuse_type(&wanted, if is_quoted { "remove the quotes" } else { "" }, findings);
            }
        }
        number
    }

    /// The values of an array, or the value itself where it is none.
    pub(super) fn one_or_many(&self) -> Vec<Self> {
        match self.value {
            DeValue::Array(values) => values
                .iter()
                .enumerate()
                .map(|(index, value)| Self::new(format!("{}[{index}]", self.path), value))
                .collect(),
            _ => vec![self.clone()],
        }
    }

    /// The one table of `[section]`.
    pub(super) fn section(&self, header: &str, findings: &mut Findings) -> Option<&'d DeTable<'t>> {
        let table = self.value.as_table();
        if table.is_none() {
            let found = if self.is_tables() {
                format!("[{header}]")
            } else {
                self.found_type()
            };
            findings.add(
                self.at,
                self.path.clone(),
                format!("found {found}, wanted one section {header}"),
            );
        }
        table
    }

    /// The keys of a table that may hold any, each with its place and value.
    pub(super) fn entries(&self, wanted: &str, findings: &mut Findings) -> Vec<(&'d str, usize, Self)> {
        let Some(table) = self.value.as_table() else {
            self.refuse_type(wanted, "", findings);
            return Vec::new();
        };
        let entries = table.iter().map(|(key, value)| {
            let name: &str = key.get_ref();
            (name, key.span().start, Self::new(join(&self.path, name), value))
        });
        entries.collect()
    }

    /// The tables of `[[section]]`, each with its place and path.
    pub(super) fn sections(&self, header: &str, findings: &mut Findings) -> Vec<(Self, &'d DeTable<'t>)> {
        let DeValue::Array(values) = self.value else {
            findings.add(self.at, self.path.clone(), self.not_sections(header, findings));
            return Vec::new();
        };
        let mut tables = Vec::new();
        for (index, value) in values.iter().enumerate() {
            let field = Self::new(format!("{}[{index}]", self.path), value);
            match value.get_ref().as_table() {
                Some(table) => tables.push((field, table)),
                None => field.refuse_type(&format!("a table, as {header} makes one"), "", findings),
            }
        }
        tables
    }

    fn not_sections(&self, header: &str, findings: &Findings) -> String {
        let one = header.trim_start_matches('[').trim_end_matches(']');
        if !self.value.is_table() {
            return format!("found {}, wanted {header}", self.found_type());
        }
        if findings.stands_at(self.at, "[") {
            return format!("found [{one}], wanted {header}, with two brackets on each side");
        }
        if findings.stands_at(self.at, "{") {
            return format!("found a table, wanted an array of tables, or {header}");
        }
        // A part of it made the table: its own header is missing, or stands further down.
        format!("found a part of it before the first {header}, wanted {header} first")
    }

    pub(super) fn is_empty_array(&self) -> bool {
        self.value.as_array().is_some_and(|values| values.is_empty())
    }

    fn is_tables(&self) -> bool {
        self.value
            .as_array()
            .is_some_and(|values| !values.is_empty() && values.iter().all(|value| value.get_ref().is_table()))
    }
}

fn unknown_key(name: &str, shape: &Shape) -> String {
    let tables = shape.tables.iter().map(|(table, _)| *table);
    let here: Vec<&str> = shape.keys.iter().copied().chain(tables).collect();
    let kind = if shape.keys.is_empty() { "section" } else { "key" };
    for other in shapes::ALL {
        if other.keys.contains(&name) {
            return format!("unknown key here; it belongs in {}", other.header);
        }
        if let Some((_, header)) = other.tables.iter().find(|(table, _)| *table == name) {
            return format!("unknown section here; write {header}");
        }
    }
    if let Some(near) = nearest(name, &here) {
        if let Some((_, header)) = shape.tables.iter().find(|(table, _)| *table == near) {
            return format!("unknown {kind}; did you mean {header}?");
        }
        return format!("unknown {kind}; did you mean {}?", quoted(near));
    }
    let headers: Vec<&str> = shape.tables.iter().map(|(_, header)| *header).collect();
    let allowed = [shape.keys, &headers].concat().join(", ");
    format!("unknown {kind}; allowed here: {allowed}")
}

/// The word that was probably meant.
pub(super) fn nearest<'w>(typed: &str, words: &[&'w str]) -> Option<&'w str> {
    // Two slips in a long word, one in a short one: more, and it is another word.
    const SLIPS_LONG: usize = 2;
    const LONG: usize = 5;
    // "retries" for "connect_retries": a part this long is no accident.
    const PART: usize = 4;
    let typed: String = typed
        .chars()
        .take(64)
        .collect::<String>()
        .to_lowercase()
        .replace(['-', ' '], "_");
    let slips = if typed.chars().count() < LONG { 1 } else { SLIPS_LONG };
    let (distance, near) = words
        .iter()
        .map(|word| (strsim::damerau_levenshtein(&typed, word), *word))
        .min()?;
    if distance <= slips {
        return Some(near);
    }
    let mut holding = words.iter().filter(|word| {
        typed.len() >= PART && (word.contains(&typed) || (word.len() >= PART && typed.contains(**word)))
    });
    // Two words that hold it: no guess.
    holding.next().copied().filter(|_| holding.next().is_none())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_word_is_found_by_slips_and_by_parts() {
        let words = ["name", "connect_retries", "connect_timeout", "idle_timeout"];
        assert_eq!(nearest("nmae", &words), Some("name"));
        assert_eq!(nearest("idle-timeout", &words), Some("idle_timeout"));
        assert_eq!(nearest("retries", &words), Some("connect_retries"));
        assert_eq!(nearest("timeout", &words), None, "two words hold it");
        assert_eq!(nearest("colour", &words), None);
    }
}

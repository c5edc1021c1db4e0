//! Text from the network, made fit for a terminal.

use std::borrow::Cow;
use std::io;

use serde::Serialize;

use super::human::UNKNOWN;

/// `text` with what could steer a terminal, or turn the order of what it shows, written as an escape: `\n`, `\u{1b}`.
pub(super) fn shown(text: &str) -> Cow<'_, str> {
    if !text.contains(is_steering) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        if is_steering(character) {
            out.extend(character.escape_default());
        } else {
            out.push(character);
        }
    }
    Cow::Owned(out)
}

/// The word for a value, as the API writes it.
pub(super) fn word(value: &impl Serialize) -> String {
    let value = serde_json::to_value(value).unwrap_or_default();
    value.as_str().unwrap_or(UNKNOWN).to_owned()
}

/// What the system says of an error, as a part of a line: `no such file or directory`.
pub(super) fn reason(error: &io::Error) -> String {
    let said = error.to_string();
    // The number of the error says no more than the words.
    let words = said.split_once(" (os error ").map_or(said.as_str(), |(words, _)| words);
    let mut rest = words.chars();
    rest.next().map_or(String::new(), |first| {
        format!("{}{}", first.to_lowercase(), rest.as_str())
    })
}

/// Control characters (C0, DEL, C1), the separators of lines, and those that turn the direction of writing (Unicode TR 9).
pub(super) fn is_steering(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{200e}' | '\u{200f}' | '\u{061c}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_that_of_the_api() {
        assert_eq!(word(&crate::api::ConnectionPhase::Relaying), "relaying");
        assert_eq!(word(&crate::api::Origin::Api), "api");
    }

    #[test]
    fn an_error_of_the_system_is_told_in_words() {
        assert_eq!(reason(&io::Error::from_raw_os_error(2)), "no such file or directory");
        assert_eq!(reason(&io::Error::other("No name")), "no name");
    }

    #[test]
    fn nothing_that_steers_a_terminal_is_left() {
        assert_eq!(
            shown("a\u{1b}]0;x\u{7}\r\n\u{9b}\u{202e}b"),
            "a\\u{1b}]0;x\\u{7}\\r\\n\\u{9b}\\u{202e}b"
        );
        assert!(matches!(shown("Größe 5 µs"), Cow::Borrowed("Größe 5 µs")));
    }
}

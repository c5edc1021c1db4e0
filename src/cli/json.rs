//! JSON as lb sent it, with a line for each value or in one: no field is lost that this lb doesn't know, and their order stays.

use serde::de::IgnoredAny;

use super::text::is_steering;

/// `text` indented by two spaces a level. What could steer a terminal is escaped. `None`: it is no JSON.
pub(super) fn pretty(text: &str) -> Option<String> {
    written(text, ": ", |out, depth| {
        out.push('\n');
        out.extend(std::iter::repeat_n("  ", depth));
    })
}

/// `text` in one line, without a space outside of strings; else as [`pretty`].
pub(super) fn one_line(text: &str) -> Option<String> {
    written(text, ":", |_, _| {})
}

/// `between` stands after the name of a field; `turn` starts what stands so deep.
fn written(text: &str, between: &str, turn: impl Fn(&mut String, usize)) -> Option<String> {
    serde_json::from_str::<IgnoredAny>(text).ok()?;
    let mut out = String::with_capacity(text.len().saturating_mul(2));
    let mut depth = 0_usize;
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '"' => string(&mut characters, &mut out),
            '{' | '[' => {
                out.push(character);
                while characters.next_if(|next| next.is_ascii_whitespace()).is_some() {}
                if let Some(end) = characters.next_if(|next| matches!(next, '}' | ']')) {
                    out.push(end);
                } else {
                    depth = depth.saturating_add(1);
                    turn(&mut out, depth);
                }
            }
            '}' | ']' => {
                depth = depth.saturating_sub(1);
                turn(&mut out, depth);
                out.push(character);
            }
            ',' => {
                out.push(',');
                turn(&mut out, depth);
            }
            ':' => out.push_str(between),
            space if space.is_ascii_whitespace() => {}
            other => out.push(other),
        }
    }
    Some(out)
}

/// The rest of a string, its closing quote included.
fn string(characters: &mut impl Iterator<Item = char>, out: &mut String) {
    out.push('"');
    let mut is_escaped = false;
    for character in characters {
        if is_steering(character) {
            // All of them are below U+10000; C0 can't stand in JSON unescaped, DEL and the others can.
            out.push_str(&format!("\\u{:04x}", u32::from(character)));
        } else {
            out.push(character);
        }
        match character {
            '"' if !is_escaped => return,
            _ => is_escaped = character == '\\' && !is_escaped,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_indented_and_else_the_same() {
        let text = r#" {"z":1.10,"a":[ ],"b":[1,{"q":"\"{,:\\"}],"n":null,"e":{}} "#;
        let wanted = r#"{
  "z": 1.10,
  "a": [],
  "b": [
    1,
    {
      "q": "\"{,:\\"
    }
  ],
  "n": null,
  "e": {}
}"#;
        assert_eq!(pretty(text).as_deref(), Some(wanted));
        assert_eq!(pretty("7").as_deref(), Some("7"));
        let line = r#"{"z":1.10,"a":[],"b":[1,{"q":"\"{,:\\"}],"n":null,"e":{}}"#;
        assert_eq!(one_line(wanted).as_deref(), Some(line));
    }

    #[test]
    fn what_steers_a_terminal_is_escaped_and_means_the_same() {
        let text = "[\"a\u{7f}\u{9b}\u{202e}\"]";
        let out = pretty(text).unwrap();
        assert_eq!(out, "[\n  \"a\\u007f\\u009b\\u202e\"\n]");
        let read = |text: &str| serde_json::from_str::<Vec<String>>(text).unwrap();
        assert_eq!(read(&out), read(text));
    }

    #[test]
    fn no_json_is_nothing() {
        assert_eq!(pretty("<html>"), None);
        assert_eq!(pretty(""), None);
    }
}

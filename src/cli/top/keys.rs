//! The keyboard: which key means what, and the thread that reads it.

use std::io;
use std::thread;

use crossbeam_channel::Sender;
use ratatui::crossterm::event::{self, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use super::{Event, Witness};

/// What a key means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Key {
    /// End it.
    Quit,
    /// Select the backend above.
    Up,
    /// Select the backend below.
    Down,
    /// No new connection for the selected backend.
    Drain,
    /// New connections again.
    Resume,
    /// One more of weight.
    Heavier,
    /// One less.
    Lighter,
    /// Another order.
    Sort,
    /// Show the keys, or no more.
    Help,
}

/// What the help shows.
pub(super) const HELP: [(&str, &str); 8] = [
    ("q, Esc, Ctrl-C", "quit"),
    ("up, down, k, j", "select a backend"),
    ("d", "drain it: no new connection, the old ones live"),
    ("r", "resume it"),
    ("+", "one more of weight"),
    ("-", "one less of weight; at 0 it takes no new connection"),
    ("s", "sort by another column"),
    ("?", "show this, or no more"),
];

/// `None`: nothing.
pub(super) fn meaning(key: KeyEvent) -> Option<Key> {
    if key.kind == KeyEventKind::Release {
        return None;
    }
    if key.modifiers.contains(KeyModifiers::CONTROL) {
        return (key.code == KeyCode::Char('c')).then_some(Key::Quit);
    }
    Some(match key.code {
        KeyCode::Char('q') | KeyCode::Esc => Key::Quit,
        KeyCode::Up | KeyCode::Char('k') => Key::Up,
        KeyCode::Down | KeyCode::Char('j') => Key::Down,
        KeyCode::Char('d') => Key::Drain,
        KeyCode::Char('r') => Key::Resume,
        // On many keyboards + is the = key with shift.
        KeyCode::Char('+' | '=') => Key::Heavier,
        KeyCode::Char('-') => Key::Lighter,
        KeyCode::Char('s') => Key::Sort,
        KeyCode::Char('?' | 'h') => Key::Help,
        _ => return None,
    })
}

/// Starts the thread that reads the terminal. It ends with the process, or when nobody listens at its next key.
///
/// # Errors
/// No thread is left.
pub(super) fn watch(happens: Sender<Event>) -> io::Result<()> {
    let work = move || {
        let witness = Witness(happens);
        loop {
            let event = match event::read() {
                Ok(event::Event::Key(key)) => meaning(key).map(Event::Key),
                Ok(event::Event::Resize(..)) => Some(Event::Resized),
                Ok(_) => None,
                Err(error) => Some(Event::Broken(error)),
            };
            let is_last = matches!(event, Some(Event::Broken(_)));
            if event.is_some_and(|event| witness.0.send(event).is_err()) || is_last {
                return;
            }
        }
    };
    thread::Builder::new().name("keys".into()).spawn(work).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pressed(code: KeyCode, modifiers: KeyModifiers) -> Option<Key> {
        meaning(KeyEvent::new(code, modifiers))
    }

    #[test]
    fn keys_mean_what_the_help_says() {
        for (code, key) in [
            (KeyCode::Char('q'), Key::Quit),
            (KeyCode::Esc, Key::Quit),
            (KeyCode::Up, Key::Up),
            (KeyCode::Char('j'), Key::Down),
            (KeyCode::Char('d'), Key::Drain),
            (KeyCode::Char('r'), Key::Resume),
            (KeyCode::Char('+'), Key::Heavier),
            (KeyCode::Char('-'), Key::Lighter),
            (KeyCode::Char('s'), Key::Sort),
            (KeyCode::Char('?'), Key::Help),
        ] {
            assert_eq!(pressed(code, KeyModifiers::NONE), Some(key));
        }
        assert_eq!(pressed(KeyCode::Char('+'), KeyModifiers::SHIFT), Some(Key::Heavier));
        assert_eq!(pressed(KeyCode::Char('c'), KeyModifiers::CONTROL), Some(Key::Quit));
    }

    #[test]
    fn other_keys_and_their_release_mean_nothing() {
        assert_eq!(pressed(KeyCode::Char('x'), KeyModifiers::NONE), None);
        assert_eq!(pressed(KeyCode::Char('d'), KeyModifiers::CONTROL), None);
        let mut release = KeyEvent::new(KeyCode::Char('q'), KeyModifiers::NONE);
        release.kind = KeyEventKind::Release;
        assert_eq!(meaning(release), None);
    }
}

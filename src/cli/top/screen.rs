//! The terminal, taken and given back: on return, on an error, on a panic of any thread.

use std::io;

use ratatui::DefaultTerminal;
use ratatui::crossterm::execute;
use ratatui::crossterm::terminal::{LeaveAlternateScreen, disable_raw_mode};

use super::draw;
use super::model::Model;

/// The whole terminal, without echo and line editing. A panic, on whichever thread, gives it back before it is told.
pub(super) struct Screen {
    terminal: DefaultTerminal,
    is_ours: bool,
}

impl Screen {
    /// # Errors
    /// It is no terminal, or not any more.
    pub(super) fn open() -> io::Result<Self> {
        match ratatui::try_init() {
            Ok(terminal) => Ok(Self {
                terminal,
                is_ours: true,
            }),
            Err(error) => {
                // It may have come half the way; the first error is the one to tell.
                drop(give_back());
                Err(error)
            }
        }
    }

    pub(super) fn draw(&mut self, model: &Model) -> io::Result<()> {
        self.terminal.draw(|frame| draw::draw(frame, model)).map(drop)
    }

    /// Gives the terminal back, and says if it can't.
    pub(super) fn close(mut self) -> io::Result<()> {
        self.is_ours = false;
        let cursor = self.terminal.show_cursor();
        give_back().and(cursor)
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        if self.is_ours {
            // If the terminal is gone, there is nothing to give back to.
            drop(give_back());
        }
    }
}

fn give_back() -> io::Result<()> {
    let raw = disable_raw_mode();
    execute!(io::stdout(), LeaveAlternateScreen).and(raw)
}

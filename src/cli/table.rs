//! Tables in plain text: columns as wide as what stands in them, two spaces between.

use clap::builder::styling::{AnsiColor, Style};

use super::text::shown;
use crate::api::BackendState;

/// Where what is shorter than its column stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    /// Words.
    Left,
    /// Numbers.
    Right,
}

/// What stands in one place.
#[derive(Clone, Debug)]
pub(super) struct Cell {
    text: String,
    style: Style,
}

impl<T: AsRef<str>> From<T> for Cell {
    fn from(text: T) -> Self {
        Self {
            text: shown(text.as_ref()).into_owned(),
            style: Style::new(),
        }
    }
}

impl Cell {
    pub(super) fn styled(mut self, style: Style) -> Self {
        self.style = style;
        self
    }

    fn width(&self) -> usize {
        self.text.chars().count()
    }
}

/// Rows below a row of titles.
pub(super) struct Table {
    columns: Vec<(&'static str, Side)>,
    rows: Vec<Vec<Cell>>,
}

impl Table {
    pub(super) fn new(columns: &[(&'static str, Side)]) -> Self {
        Self {
            columns: columns.to_vec(),
            rows: Vec::new(),
        }
    }

    /// A cell for each column.
    pub(super) fn row(&mut self, cells: Vec<Cell>) {
        debug_assert_eq!(cells.len(), self.columns.len());
        self.rows.push(cells);
    }

    /// The lines, each behind `indent` and with an end. Coloured, for [`anstream`] to judge.
    pub(super) fn lines(&self, indent: &str) -> String {
        let titles: Vec<Cell> = self.columns.iter().map(|(title, _)| Cell::from(title)).collect();
        let rows = || std::iter::once(&titles).chain(&self.rows);
        let width = |column: usize| rows().filter_map(|row| row.get(column)).map(Cell::width).max();
        let widths: Vec<usize> = (0..self.columns.len())
            .map(|column| width(column).unwrap_or(0))
            .collect();
        let mut out = String::new();
        for row in rows() {
            out.push_str(indent);
            self.line(row, &widths, &mut out);
        }
        out
    }

    fn line(&self, row: &[Cell], widths: &[usize], out: &mut String) {
        let last = row.len().saturating_sub(1);
        for (at, ((cell, (_, side)), width)) in row.iter().zip(&self.columns).zip(widths).enumerate() {
            let space = " ".repeat(width.saturating_sub(cell.width()));
            let (before, behind) = match side {
                Side::Right => (space.as_str(), ""),
                Side::Left if at == last => ("", ""),
                Side::Left => ("", space.as_str()),
            };
            let between = if at == last { "\n" } else { "  " };
            let (text, style) = (&cell.text, cell.style);
            out.push_str(&format!("{before}{style}{text}{style:#}{behind}{between}"));
        }
    }
}

/// Green works, red doesn't, amber is between.
pub(super) fn style_of(state: BackendState) -> Style {
    let colour = match state {
        BackendState::Up => AnsiColor::Green,
        BackendState::Down => AnsiColor::Red,
        BackendState::Draining | BackendState::Maintenance | BackendState::Starting => AnsiColor::Yellow,
    };
    colour.on_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        let mut table = Table::new(&[("NAME", Side::Left), ("TOTAL", Side::Right), ("STATE", Side::Left)]);
        let state = |state: BackendState| Cell::from(state.as_str()).styled(style_of(state));
        table.row(vec!["server-1".into(), "7".into(), state(BackendState::Up)]);
        table.row(vec!["b\u{1b}".into(), "1,234,567".into(), state(BackendState::Down)]);
        table
    }

    #[test]
    fn columns_are_as_wide_as_their_widest_cell_and_numbers_stand_right() {
        let plain = anstream::adapter::strip_str(&table().lines("  ")).to_string();
        let wanted = [
            "  NAME          TOTAL  STATE",
            "  server-1          7  up",
            "  b\\u{1b}   1,234,567  down",
            "",
        ];
        assert_eq!(plain.split('\n').collect::<Vec<_>>(), wanted);
    }

    #[test]
    fn a_state_has_its_colour() {
        let lines = table().lines("");
        assert!(
            lines.contains("\u{1b}[32mup\u{1b}[0m") && lines.contains("\u{1b}[31mdown\u{1b}[0m"),
            "{lines:?}"
        );
    }
}

//! A table as wide as it must be, with as many columns as there is room for.

use ratatui::layout::{Alignment, Constraint};
use ratatui::style::{Modifier, Style};
use ratatui::text::Text;
use ratatui::widgets::{Cell, Row, Table};

use crate::cli::table::Side;

/// Between two columns.
const SPACE: usize = 2;

/// A column.
pub(super) struct Column {
    title: &'static str,
    side: Side,
    /// So wide at least, so that it doesn't jump as its numbers grow.
    width_min: usize,
    /// The lower, the longer it stays where room runs out.
    rank: u8,
}

impl Column {
    pub(super) const fn new(title: &'static str, side: Side, width_min: usize, rank: u8) -> Self {
        Self {
            title,
            side,
            width_min,
            rank,
        }
    }
}

/// A cell for each column, the style of each, and whether the row is selected.
pub(super) type Cells = (Vec<String>, Vec<Style>, bool);

/// The columns for which `room` is enough.
pub(super) fn grid(columns: &[Column], rows: Vec<Cells>, room: u16) -> Table<'static> {
    let widths: Vec<usize> = columns
        .iter()
        .enumerate()
        .map(|(at, column)| width(column, at, &rows))
        .collect();
    let kept = kept(columns, &widths, usize::from(room));
    let is_kept = |at: usize| kept.contains(&at);
    let title = |column: &Column| cell(column.title.into(), column.side, Style::new());
    let titles = columns
        .iter()
        .enumerate()
        .filter(|(at, _)| is_kept(*at))
        .map(|(_, column)| title(column));
    let head = Row::new(titles.collect::<Vec<_>>()).style(Style::new().add_modifier(Modifier::DIM));
    let body = rows.into_iter().map(|(cells, styles, is_selected)| {
        let all = cells.into_iter().zip(styles).zip(columns).enumerate();
        let kept = all.filter(|(at, _)| is_kept(*at));
        let row = Row::new(
            kept.map(|(_, ((text, style), column))| cell(text, column.side, style))
                .collect::<Vec<_>>(),
        );
        if is_selected {
            row.style(Style::new().add_modifier(Modifier::REVERSED))
        } else {
            row
        }
    });
    let constraints = widths
        .iter()
        .enumerate()
        .filter(|(at, _)| is_kept(*at))
        .map(|(_, width)| length(*width));
    Table::new(body.collect::<Vec<_>>(), constraints.collect::<Vec<_>>())
        .header(head)
        .column_spacing(SPACE as u16)
}

fn width(column: &Column, at: usize, rows: &[Cells]) -> usize {
    let cells = rows.iter().filter_map(|(cells, ..)| cells.get(at));
    let widest = cells.map(|text| text.chars().count()).max().unwrap_or(0);
    widest.max(column.width_min).max(column.title.len())
}

/// The places of those that fit, taken by rank; the first of all is always there.
fn kept(columns: &[Column], widths: &[usize], room: usize) -> Vec<usize> {
    let mut by_rank: Vec<(usize, &Column)> = columns.iter().enumerate().collect();
    by_rank.sort_by_key(|(_, column)| column.rank);
    let mut kept = Vec::new();
    let mut taken = 0_usize;
    for (at, _) in by_rank {
        let space = if kept.is_empty() { 0 } else { SPACE };
        let with_it = taken
            .saturating_add(space)
            .saturating_add(widths.get(at).copied().unwrap_or(0));
        if with_it > room && !kept.is_empty() {
            break;
        }
        taken = with_it;
        kept.push(at);
    }
    kept
}

fn cell(text: String, side: Side, style: Style) -> Cell<'static> {
    let alignment = match side {
        Side::Left => Alignment::Left,
        Side::Right => Alignment::Right,
    };
    Cell::from(Text::from(text).alignment(alignment)).style(style)
}

fn length(width: usize) -> Constraint {
    Constraint::Length(u16::try_from(width).unwrap_or(u16::MAX))
}

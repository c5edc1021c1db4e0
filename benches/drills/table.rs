//! The table, as Markdown that also reads well in a terminal: fault, what held, figures, what is to be beaten.

use std::path::Path;

use crate::rows::{Figure, Row, Rows};
use crate::{DRILLS, Failure};

/// Between these two lines of the page the table stands.
const MARKS: [&str; 2] = [
    "<!-- drills: begin, written by scripts/drills.sh --docs -->",
    "<!-- drills: end -->",
];

/// What is told of a row as soon as it is there.
pub(crate) fn line(row: &Row) -> String {
    format!("{} {}, {} s: {}", row.drill, row.subject, row.seconds, held(row))
}

/// The rows of these drills and subjects.
pub(crate) fn text(rows: &Rows, subjects: &[&str], drills: &[&str]) -> String {
    let mut lines = vec![["drill", "fault", "subject", "held", "figure", "to beat"].map(str::to_owned)];
    for drill in drills {
        for subject in subjects {
            if let Some(row) = rows.get(drill, subject) {
                lines.extend(block(rows, row, drill, subject));
            }
        }
    }
    aligned(&lines)
}

/// Puts lb's whole table into the page.
pub(crate) fn into_page(page: &Path, rows: &Rows) -> Result<(), Failure> {
    let old = std::fs::read_to_string(page)?;
    let [begin, end] = MARKS;
    let place = old
        .split_once(begin)
        .and_then(|(before, rest)| Some((before, rest.split_once(end)?.1)));
    let Some((before, after)) = place else {
        return Err(format!("{}: no lines \"{begin}\" and \"{end}\"", page.display()).into());
    };
    let machine = DRILLS.iter().filter_map(|drill| rows.get(drill, "lb")).next_back();
    let place = machine.map_or_else(String::new, |row| {
        format!("{}, {}; {} forms.", row.date, row.machine, row.form)
    });
    let table = text(rows, &["lb"], &DRILLS);
    std::fs::write(page, format!("{before}{begin}\n{place}\n\n{table}{end}{after}"))?;
    Ok(())
}

/// One line for each figure; what they share stands in the first.
fn block(rows: &Rows, row: &Row, drill: &str, subject: &str) -> Vec<[String; 6]> {
    let mut lines: Vec<[String; 6]> = row
        .figures
        .iter()
        .map(|figure| {
            let beaten = beat(rows, figure, drill, subject);
            let blank = String::new;
            [blank(), blank(), blank(), blank(), told(figure), beaten]
        })
        .collect();
    if lines.is_empty() {
        lines.push(Default::default());
    }
    if let Some([name, fault, who, claims, ..]) = lines.first_mut() {
        drill.clone_into(name);
        row.fault.clone_into(fault);
        subject.clone_into(who);
        *claims = held(row);
    }
    lines
}

/// "all 9", or what didn't.
fn held(row: &Row) -> String {
    let (good, bad, pending) = (&row.held, &row.not_held, &row.pending);
    let all = good.len().saturating_add(bad.len()).saturating_add(pending.len());
    let mut text = match good.len() == all {
        true => format!("all {all}"),
        false => format!("{} of {all}", good.len()),
    };
    for (title, list) in [("NOT", bad), ("not yet", pending)] {
        for claim in list {
            text.push_str(&format!("; {title}: {}", claim.replace(['|', '\n'], " ")));
        }
    }
    text
}

fn told(figure: &Figure) -> String {
    let key = figure.key.as_ref().map_or_else(String::new, |key| format!("{key} "));
    let missed = match figure.goal {
        Some(goal) if is_worse(&figure.unit, figure.value, goal) => " (goal missed)",
        _ => "",
    };
    let told = format!("{key}{}: {} {}", figure.what, figure.value, figure.unit);
    told.trim_end().to_owned() + missed
}

/// More percent is better; of everything else less.
fn is_worse(unit: &str, value: f64, goal: f64) -> bool {
    if unit == "%" { value < goal } else { value > goal }
}

/// What the peers had: in this very rig if they were run, else of the book (in brackets); then lb's goal.
fn beat(rows: &Rows, figure: &Figure, drill: &str, subject: &str) -> String {
    if subject != "lb" {
        return String::new();
    }
    let mut parts = Vec::new();
    for (peer, book) in [("haproxy", figure.haproxy), ("nginx", figure.nginx)] {
        let row = rows.get(drill, peer);
        let same = row.and_then(|row| row.figures.iter().find(|other| other.what == figure.what));
        let here = same.map(|other| format!("{peer} {}", other.value));
        parts.extend(here.or_else(|| book.map(|value| format!("{peer} ({value})"))));
    }
    parts.extend(figure.goal.map(|goal| format!("goal {goal}")));
    parts.join(", ")
}

/// Columns of one width, as far as they aren't too wide for that.
fn aligned(lines: &[[String; 6]]) -> String {
    const WIDEST: usize = 60;
    let width = |column: usize| {
        let widths = lines
            .iter()
            .filter_map(|line| line.get(column))
            .map(|cell| cell.chars().count());
        widths.filter(|width| *width <= WIDEST).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..6).map(width).collect();
    let mut text = String::new();
    for (number, line) in lines.iter().enumerate() {
        let cells = line
            .iter()
            .zip(&widths)
            .map(|(cell, width)| format!(" {cell:width$} |"));
        text.push_str(&format!("|{}\n", cells.collect::<String>()));
        if number == 0 {
            let rules = widths
                .iter()
                .map(|width| format!("{}|", "-".repeat(width.saturating_add(2))));
            text.push_str(&format!("|{}\n", rules.collect::<String>()));
        }
    }
    text
}

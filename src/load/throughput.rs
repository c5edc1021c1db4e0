//! The picture of the throughput: how many requests were answered, and how many errors there were, as time went on.
//!
//! Used by `html`; the counts come from the recorders' `timeline`.

use super::human::{grouped, short_rate, short_seconds};
use super::timeline::Piece;
use crate::page::{Picture, axis};
use plotly::Scatter;
use plotly::common::{Fill, Line, LineShape, Mode};
use plotly::layout::RangeMode;
use std::cmp::Ordering;
use std::time::Duration;

/// The most pieces that the time is cut into, and one: as many as can be told apart.
pub(super) const PIECES_MAX: u64 = 100;

/// Fewer pieces are no course.
const COURSE_PIECES_MIN: usize = 3;

const COLOUR: &str = "#0b7285";
const COLOUR_FILL: &str = "rgba(11,114,133,0.25)";
const COLOUR_ERRORS: &str = "#c92a2a";

/// The picture, with its two sentences; nothing when nothing happened.
pub(super) fn picture(pieces: &[Piece]) -> Option<Picture> {
    let end = pieces.last()?.until;
    let (unit, scale) = match end.as_secs_f64() {
        short if short < 1.0 => ("milliseconds", 1e3),
        long if long >= 600.0 => ("minutes", 1.0 / 60.0),
        _ => ("seconds", 1.0),
    };
    // Steps: each piece from its begin to the next one's, the last to the end.
    let times: Vec<f64> = pieces
        .iter()
        .map(|piece| piece.from)
        .chain([end])
        .map(|at| at.as_secs_f64() * scale)
        .collect();
    let steps = |count: fn(&Piece) -> u64| -> Vec<f64> {
        let last = pieces.last();
        pieces
            .iter()
            .chain(last)
            .map(|piece| piece.per_second(count(piece)))
            .collect()
    };
    let trace = |name: &str, count, colour| {
        let line = Line::new().shape(LineShape::Hv).color(colour).width(1.5);
        Scatter::new(times.clone(), steps(count))
            .name(name)
            .mode(Mode::Lines)
            .line(line)
            .hover_template("%{y:,.4~r}/s from %{x:.4~r} on")
    };
    let answered = trace("answered", |piece| piece.counts.answered, COLOUR)
        .fill(Fill::ToZeroY)
        .fill_color(COLOUR_FILL);
    let mut picture = Picture::new("Throughput")
        .x_axis(axis(&format!("{unit} since the first request")).range_mode(RangeMode::ToZero))
        .y_axis(axis("requests/s").tick_format(",").range_mode(RangeMode::ToZero))
        .trace(answered)
        .caption(&caption(pieces, end));
    if errors(pieces) > 0 {
        picture = picture.trace(trace("errors", |piece| piece.counts.errors, COLOUR_ERRORS));
    }
    Some(picture)
}

fn errors(pieces: &[Piece]) -> u64 {
    pieces.iter().map(|piece| piece.counts.errors).sum()
}

fn caption(pieces: &[Piece], end: Duration) -> String {
    let answered: u64 = pieces.iter().map(|piece| piece.counts.answered).sum();
    let mean = match end.as_secs_f64() {
        seconds if seconds > 0.0 => format!(": {} a second on average", short_rate(answered as f64 / seconds)),
        _ => String::new(),
    };
    let all = format!("{} requests were answered in {}{mean}", grouped(answered), short(end));
    format!("{all}{}. {}.", course(pieces), words_of_errors(pieces))
}

/// How the rate changed.
fn course(pieces: &[Piece]) -> String {
    let rate = |piece: &Piece| piece.per_second(piece.counts.answered);
    let by_rate = |one: &&Piece, other: &&Piece| rate(one).partial_cmp(&rate(other)).unwrap_or(Ordering::Equal);
    let (least, most) = (pieces.iter().min_by(by_rate), pieces.iter().max_by(by_rate));
    match (least, most) {
        (Some(least), Some(most)) if pieces.len() >= COURSE_PIECES_MIN => format!(
            ", between {} (in the {}) and {}",
            short_rate(rate(least)),
            when(least),
            short_rate(rate(most)),
        ),
        _ => "; too few or too soon over to see a course".to_owned(),
    }
}

fn when(piece: &Piece) -> String {
    match piece.from {
        Duration::ZERO => format!("first {}", short(piece.until)),
        from => format!("{} from {} on", short(piece.length()), short(from)),
    }
}

fn words_of_errors(pieces: &[Piece]) -> String {
    let with_errors = || pieces.iter().filter(|piece| piece.counts.errors > 0);
    let (Some(first), Some(worst)) = (
        with_errors().next(),
        with_errors().max_by_key(|piece| piece.counts.errors),
    ) else {
        return "There was no error".to_owned();
    };
    let total = errors(pieces);
    let span = |piece: &Piece| format!("between {} and {}", short(piece.from), short(piece.until));
    match total {
        1 => format!("There was one error, {}", span(first)),
        _ if worst.counts.errors == total => format!("There were {} errors, all {}", grouped(total), span(first)),
        _ => format!(
            "There were {} errors, the first {}, the most ({}) {}",
            grouped(total),
            span(first),
            grouped(worst.counts.errors),
            span(worst)
        ),
    }
}

fn short(duration: Duration) -> String {
    short_seconds(duration.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::super::timeline::Counts;
    use super::*;

    fn pieces(counts: &[(u64, u64)]) -> Vec<Piece> {
        let second = |index: usize| Duration::from_secs(index as u64);
        let piece = |(index, (answered, errors)): (usize, &(u64, u64))| Piece {
            from: second(index),
            until: second(index + 1),
            counts: Counts {
                answered: *answered,
                errors: *errors,
            },
        };
        counts.iter().enumerate().map(piece).collect()
    }

    fn words(counts: &[(u64, u64)]) -> String {
        caption(&pieces(counts), Duration::from_secs(counts.len() as u64)).replace('\u{a0}', " ")
    }

    #[test]
    fn the_sentences_have_the_figures() {
        assert_eq!(
            words(&[(5000, 0), (1000, 0), (6000, 0)]),
            "12,000 requests were answered in 3 s: 4,000 a second on average, between 1,000 (in the 1 s from 1 s on) and 6,000. \
             There was no error."
        );
        assert!(words(&[(1, 0), (2, 0), (3, 0)]).contains("between 1 (in the first 1 s) and 3. "));
        assert_eq!(
            words(&[(200, 0)]),
            "200 requests were answered in 1 s: 200 a second on average; too few or too soon over to see a course. There was no error."
        );
    }

    #[test]
    fn errors_are_told_with_their_time() {
        let told = |counts: &[(u64, u64)], end: &str| assert!(words(counts).ends_with(end), "{}", words(counts));
        told(&[(9, 0), (9, 1)], "There was one error, between 1 s and 2 s.");
        told(&[(9, 0), (9, 4)], "There were 4 errors, all between 1 s and 2 s.");
        told(
            &[(0, 0), (0, 2), (0, 3)],
            "There were 5 errors, the first between 1 s and 2 s, the most (3) between 2 s and 3 s.",
        );
    }

    #[test]
    fn nothing_has_no_picture() {
        assert!(picture(&[]).is_none());
        assert!(picture(&pieces(&[(0, 1)])).is_some());
    }
}

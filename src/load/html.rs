//! A run as a page: pictures of its response times, its throughput and who got it, its result and its settings.
//!
//! `client --report` writes it, from the same figures as the table and the JSON. It opens without a network.

use super::human::human_rate;
use super::options::LoadOptions;
use super::report::LoadReport;
use super::shares::Shares;
use super::{histogram, throughput};
use crate::page::{Page, Table};
use std::time::Duration;

/// Indents the name of a part in the table, where HTML would drop spaces.
const EM_SPACE: &str = "\u{2003}";

impl LoadReport {
    /// The page, of about 5 MB: the plotting script is in it.
    #[must_use]
    pub fn to_html(&self) -> String {
        let recorder = &self.recorder;
        let mut page = Page::new(&format!("Load on {}", self.options.target));
        page.paragraph(&format!(
            "client {}, written {}.",
            env!("CARGO_PKG_VERSION"),
            jiff::Timestamp::now().strftime("%Y-%m-%d %H:%M UTC")
        ));
        let times = recorder.response_times.as_ref().and_then(histogram::picture);
        if times.is_none() {
            page.paragraph("No request was answered: there are no response times.");
        }
        let pieces = recorder.timeline.pieces(recorder.span(), throughput::PIECES_MAX);
        let shares = self.shares.as_ref().and_then(Shares::picture);
        page.pictures(times.into_iter().chain(throughput::picture(&pieces)).chain(shares));
        let rows = self.rows().into_iter();
        let result = Table {
            title: "Result".to_owned(),
            head: Vec::new(),
            rows: rows
                .map(|(name, value)| vec![name.replace("  ", EM_SPACE), value])
                .collect(),
        };
        page.tables([&result, &settings(&self.options)]);
        page.into_html()
    }
}

fn settings(options: &LoadOptions) -> Table {
    let time = |duration: Duration| humantime::format_duration(duration).to_string();
    let (is_open_loop, sizes) = (options.rate.is_some(), options.sizes());
    let mut rows = vec![
        ("target", options.target.to_string()),
        ("connections", options.connections.to_string()),
        ("connections at a time, at most", options.concurrency.to_string()),
    ];
    rows.push(match options.duration {
        Some(duration) => ("duration", time(duration)),
        None => ("requests of each connection", options.requests.to_string()),
    });
    if let Some(rate) = options.rate {
        rows.push(("requests/s, due at even distances", human_rate(rate)));
    }
    let new_connection = if options.new_connection { "yes" } else { "no" };
    // As `lane` has it.
    let counted = match (is_open_loop, options.new_connection) {
        (true, _) => "when the request was due",
        (false, true) => "the start of its connect",
        (false, false) => "the start of the request",
    };
    rows.extend([
        ("bytes of a request", sizes.request.to_string()),
        ("bytes of a reply", sizes.reply.to_string()),
        ("a new connection for every request", new_connection.to_owned()),
        ("response time counts from", counted.to_owned()),
        ("connect timeout", time(options.connect_timeout)),
        ("timeout without progress", time(options.timeout)),
        ("threads, at most", options.threads.to_string()),
        ("seed of the bytes", options.seed.to_string()),
    ]);
    let rows = rows.into_iter();
    Table {
        title: "Settings".to_owned(),
        head: Vec::new(),
        rows: rows.map(|(name, value)| vec![name.to_owned(), value]).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::failure::FailureKind;
    use super::super::stats::Recorder;
    use super::*;
    use std::time::Instant;

    fn html(answers: u64, failures: u64) -> String {
        let start = Instant::now();
        let mut recorder = Recorder::new(start);
        recorder.start(start);
        for number in 1..=answers {
            let now = start.checked_add(Duration::from_millis(number)).unwrap();
            recorder.answer(start, now);
        }
        for _ in 0..failures {
            recorder.fail_request(FailureKind::Reset, start.checked_add(Duration::from_millis(9)).unwrap());
        }
        let options = LoadOptions {
            rate: Some(4321.0),
            ..LoadOptions::new(([127, 0, 0, 1], 9).into())
        };
        LoadReport::new(options, recorder, 1, false).to_html()
    }

    fn is_drawn(html: &str, number: usize) -> bool {
        html.contains(&format!("Plotly.newPlot(\"picture-{number}\""))
    }

    #[test]
    fn the_page_has_every_row_of_the_table_the_settings_and_both_pictures() {
        let html = html(12_345, 6);
        for part in [
            "<td>requests</td><td>12,351</td>",
            "<td>\u{2003}reset</td><td>6</td>",
            "<td>\u{2003}p99</td><td>12.22 s</td>",
            "<td>target</td><td>127.0.0.1:9</td>",
            "<td>requests/s, due at even distances</td><td>4,321</td>",
            "99 of 100 within 12.2\u{a0}s",
            "There were 6 errors",
            "\"name\":\"errors\"",
        ] {
            assert!(html.contains(part), "{part}");
        }
        assert!(is_drawn(&html, 1) && is_drawn(&html, 2));
    }

    #[test]
    fn without_an_answer_there_is_no_picture_of_times_and_the_page_says_so() {
        let html = html(0, 6);
        assert!(html.contains("No request was answered"));
        assert!(is_drawn(&html, 1) && !is_drawn(&html, 2));
        assert!(html.contains("There were 6 errors"));
    }

    #[test]
    fn without_an_error_there_is_no_trace_of_errors() {
        assert!(!html(10, 0).contains("\"name\":\"errors\""));
    }
}

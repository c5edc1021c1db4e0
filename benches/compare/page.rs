//! The page with pictures: opens without a network, since the plotting script is in it.

use std::fmt::Write;

use plotly::common::{ErrorData, ErrorType, Marker, Title};
use plotly::layout::{Axis, Margin};
use plotly::{Bar, Configuration, Layout, Plot};

use crate::case::Case;
use crate::common::Failure;
use crate::common::machine::{machine, today};
use crate::summary::{Metric, Results};
use crate::table;

const STYLE: &str = "body{font:16px/1.5 system-ui,sans-serif;max-width:72rem;margin:2rem auto;padding:0 1rem;color:#1c2733}\
h1,h2{line-height:1.2}h2{margin-top:2.5rem}.pictures{display:flex;flex-wrap:wrap;gap:1rem}.pictures>div{flex:1 1 30rem;min-width:20rem}\
table{border-collapse:collapse;font-size:.85rem;margin:.5rem 0}td,th{padding:.2rem .7rem;border-bottom:1px solid #d5dde5;text-align:right;white-space:nowrap}\
td:first-child,th:first-child{text-align:left}.wide{overflow-x:auto}small{color:#5a6b7b}";

pub(crate) fn html(results: &Results) -> Result<String, Failure> {
    let mut page = String::new();
    write!(
        page,
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">\
         <title>lb beside its peers</title><style>{STYLE}</style>{}</head><body><h1>lb beside its peers</h1>\
         <p>{}, {}. {} rounds of {} s each, everyone in turn in every round; bars are medians, whiskers reach from the least to the \
         most. Placement: {}.</p><ul>",
        Plot::offline_js_sources(),
        escape(&machine()),
        today(),
        results.rounds,
        results.offered.seconds,
        escape(&results.place),
    )?;
    for contender in &results.contenders {
        write!(
            page,
            "<li><b>{}</b> {}</li>",
            escape(&contender.label),
            escape(&contender.version)
        )?;
    }
    page.push_str("</ul>");
    for case in &results.cases {
        write!(page, "<h2>{}</h2><div class=\"pictures\">", escape(&case.title))?;
        for metric in case.metrics().into_iter().filter(|metric| is_pictured(case, *metric)) {
            let id = format!("{}-{}", case.id, metric.name().replace(['/', '.'], "-"));
            write!(
                page,
                "<div>{}</div>",
                picture(results, case, metric).to_inline_html(Some(&id))
            )?;
        }
        page.push_str("</div>");
    }
    write!(
        page,
        "<h2>All figures</h2>{}</body></html>",
        tables(&table::text(results))
    )?;
    Ok(page)
}

fn is_pictured(case: &Case, metric: Metric) -> bool {
    table::is_compared(case, metric) || (case.is_alone && matches!(metric, Metric::CpuPerRequest | Metric::Memory))
}

fn picture(results: &Results, case: &Case, metric: Metric) -> Plot {
    let (mut names, mut heights, mut above, mut below, mut colours) = (vec![], vec![], vec![], vec![], vec![]);
    for contender in results.contenders.iter().filter(|contender| case.admits(contender)) {
        let Some(figure) = results
            .figure(&case.id, &contender.label, metric)
            .filter(|figure| figure.median > 0.0)
        else {
            continue;
        };
        let scale = scale(metric);
        names.push(contender.label.clone());
        heights.push(figure.median * scale);
        above.push((figure.max - figure.median) * scale);
        below.push((figure.median - figure.min) * scale);
        colours.push(colour(&contender.label));
    }
    let whiskers = ErrorData::new(ErrorType::Data).array(above).array_minus(below);
    let bars = Bar::new(names, heights)
        .error_y(whiskers)
        .marker(Marker::new().color_array(colours));
    let better = match metric {
        Metric::RequestsPerSecond | Metric::BytesPerSecond => "more is better",
        _ => "less is better",
    };
    let layout = Layout::new()
        .title(Title::with_text(format!("{} ({better})", metric.name())))
        .y_axis(Axis::new().title(Title::with_text(unit(metric))))
        .height(340)
        .margin(Margin::new().top(50).bottom(60));
    let mut plot = Plot::new();
    plot.add_trace(bars);
    plot.set_layout(layout);
    plot.set_configuration(
        Configuration::new()
            .display_mode_bar(plotly::configuration::DisplayModeBar::False)
            .responsive(true),
    );
    plot
}

const fn scale(metric: Metric) -> f64 {
    match metric {
        Metric::BytesPerSecond => 1e-9,
        Metric::CpuPerRequest | Metric::P50 | Metric::AddedP50 | Metric::P99 | Metric::P999 => 1e6,
        Metric::Memory => 1e-6,
        Metric::RequestsPerSecond | Metric::CpuPerGigabyte | Metric::MemoryPerConnection => 1.0,
    }
}

const fn unit(metric: Metric) -> &'static str {
    match metric {
        Metric::RequestsPerSecond => "requests/s",
        Metric::BytesPerSecond => "GB/s",
        Metric::CpuPerRequest | Metric::P50 | Metric::AddedP50 | Metric::P99 | Metric::P999 => "µs",
        Metric::CpuPerGigabyte => "s",
        Metric::Memory => "MB",
        Metric::MemoryPerConnection => "bytes",
    }
}

/// Each has its colour on every picture.
fn colour(label: &str) -> &'static str {
    match label {
        "lb" => "#0b7285",
        "direct" => "#adb5bd",
        "nginx" => "#2b8a3e",
        "haproxy" => "#e8590c",
        "haproxy-splice" => "#f59f00",
        other if other.ends_with("-splice") => "#da77f2",
        _ => "#9c36b5",
    }
}

/// The Markdown of the tables as HTML.
fn tables(markdown: &str) -> String {
    let mut html = String::new();
    let mut is_in_table = false;
    for line in markdown.lines() {
        let is_row = line.starts_with('|');
        if is_in_table && !is_row {
            html.push_str("</table></div>");
        } else if is_row && !is_in_table {
            html.push_str("<div class=\"wide\"><table>");
        }
        if let Some(title) = line.strip_prefix("### ") {
            html.push_str(&format!("<h3>{}</h3>", escape(title)));
        } else if is_row && !line.starts_with("|-") {
            let cell = if is_in_table { "td" } else { "th" };
            let cells: String = line
                .trim_matches('|')
                .split('|')
                .map(|text| format!("<{cell}>{}</{cell}>", escape(text.trim())))
                .collect();
            html.push_str(&format!("<tr>{cells}</tr>"));
        }
        is_in_table = is_row;
    }
    if is_in_table {
        html.push_str("</table></div>");
    }
    html
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

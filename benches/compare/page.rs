//! The page with pictures: everyone's bars beside each other, case by case, and all tables.

use lb::page::{Page, Picture, Table, axis};
use plotly::Bar;
use plotly::common::{ErrorData, ErrorType, Marker};

use crate::case::Case;
use crate::common::machine::{machine, today};
use crate::summary::{Metric, Results};
use crate::table;

pub(crate) fn html(results: &Results) -> String {
    let mut page = Page::new("lb beside its peers");
    page.paragraph(&format!(
        "{}, {}. Rounds: {}, measurements of {} s, everyone in turn in every round; bars are medians, whiskers reach from the least to the \
         most. Placement: {}.",
        machine(),
        today(),
        results.rounds,
        results.offered.seconds,
        results.place,
    ));
    let contenders = results.contenders.iter();
    page.list(contenders.map(|contender| (contender.label.as_str(), contender.version.as_str())));
    for case in &results.cases {
        page.heading(&case.title);
        let pictured = case.metrics().into_iter().filter(|metric| is_pictured(case, *metric));
        page.pictures(pictured.map(|metric| picture(results, case, metric)));
    }
    page.heading("All figures");
    for table in tables(&table::text(results)) {
        page.tables([&table]);
    }
    page.into_html()
}

fn is_pictured(case: &Case, metric: Metric) -> bool {
    table::is_compared(case, metric) || (case.is_alone && matches!(metric, Metric::CpuPerRequest | Metric::Memory))
}

fn picture(results: &Results, case: &Case, metric: Metric) -> Picture {
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
    Picture::new(&format!("{} ({better})", metric.name()))
        .y_axis(axis(unit(metric)))
        .trace(bars)
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

/// The tables out of their Markdown.
fn tables(markdown: &str) -> Vec<Table> {
    let mut tables: Vec<Table> = Vec::new();
    for line in markdown.lines() {
        if let Some(title) = line.strip_prefix("### ") {
            tables.push(Table {
                title: title.to_owned(),
                ..Table::default()
            });
        } else if line.starts_with('|') && !line.starts_with("|-") {
            let cells = line.trim_matches('|').split('|').map(|text| text.trim().to_owned());
            match tables.last_mut() {
                Some(table) if table.head.is_empty() => table.head = cells.collect(),
                Some(table) => table.rows.push(cells.collect()),
                None => {}
            }
        }
    }
    tables
}

//! The tables, as Markdown that also reads well in a terminal.

use crate::case::Case;
use crate::summary::{Metric, Results};

/// Every case's table.
pub(crate) fn text(results: &Results) -> String {
    let mut text = String::new();
    for case in &results.cases {
        let mut rows = vec![head(case)];
        for contender in results.contenders.iter().filter(|contender| case.admits(contender)) {
            rows.push(row(results, case, &contender.label));
        }
        text.push_str(&format!("\n### {}\n\n{}", case.title, aligned(&rows)));
    }
    if !results.tools.is_empty() {
        let mut rows = vec![
            ["load without a balancer", "ours", "other tool", "ours to it"]
                .map(str::to_owned)
                .to_vec(),
        ];
        for check in &results.tools {
            rows.push(vec![
                check.what.clone(),
                format!("{:.0}", check.ours),
                format!("{:.0} ({})", check.other, check.tool),
                format!("{:.2}x", check.ours / check.other),
            ]);
        }
        text.push_str(&format!("\n### The load generator itself\n\n{}", aligned(&rows)));
    }
    text
}

/// Ratios are told of what is compared; percentiles and memory of a scaling row speak for themselves.
pub(crate) const fn is_compared(case: &Case, metric: Metric) -> bool {
    !case.is_alone
        && match metric {
            Metric::P50 | Metric::Memory => false,
            Metric::P999 | Metric::P99 => matches!(case.load, crate::case::Load::Open { .. }),
            _ => true,
        }
}

fn head(case: &Case) -> Vec<String> {
    let mut cells = vec![String::new()];
    for metric in case.metrics() {
        cells.push(metric.name().to_owned());
        if is_compared(case, metric) {
            cells.push("lb to it".to_owned());
        }
    }
    cells
}

fn row(results: &Results, case: &Case, label: &str) -> Vec<String> {
    let failures = results.failures(&case.id, label);
    let mut cells = vec![match failures {
        0 => label.to_owned(),
        count => format!("{label}: {count} rounds failed"),
    }];
    for metric in case.metrics() {
        // No balancer uses no time for it.
        let is_void = label == "direct"
            && matches!(
                metric,
                Metric::CpuPerRequest | Metric::CpuPerGigabyte | Metric::Memory | Metric::AddedP50
            );
        let figure = results.figure(&case.id, label, metric).filter(|_| !is_void);
        cells.push(figure.map_or_else(
            || "-".to_owned(),
            |figure| {
                let median = metric.words(figure.median);
                match is_compared(case, metric) {
                    true => format!("{median} ({} - {})", metric.words(figure.min), metric.words(figure.max)),
                    false => median,
                }
            },
        ));
        if is_compared(case, metric) {
            let ratio = results
                .ratio(&case.id, label, metric)
                .filter(|_| !is_void && label != "lb");
            cells.push(ratio.map_or_else(|| "-".to_owned(), |ratio| format!("{:.2}x", ratio.median)));
        }
    }
    cells
}

fn aligned(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns)
        .map(|column| {
            rows.iter()
                .filter_map(|row| row.get(column))
                .map(|cell| cell.chars().count())
                .max()
                .unwrap_or(0)
        })
        .collect();
    let mut text = String::new();
    for (number, row) in rows.iter().enumerate() {
        for (cell, width) in row.iter().zip(&widths) {
            text.push_str(&format!("| {cell:<width$} "));
        }
        text.push_str("|\n");
        if number == 0 {
            for width in &widths {
                text.push_str(&format!("|{}", "-".repeat(width.saturating_add(2))));
            }
            text.push_str("|\n");
        }
    }
    text
}

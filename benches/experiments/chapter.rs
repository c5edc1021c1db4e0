//! What an experiment hands over: figures for a file, pictures and tables for the page, and what is not as it must be.

use lb::page::{Picture, Table, axis};
use plotly::Bar;
use plotly::common::{Font, Marker};
use plotly::layout::Axis;
use serde_json::Value;

use crate::common::load::Report;
use crate::scene::server_name;

/// One experiment, done.
#[derive(Default)]
pub(crate) struct Chapter {
    pub(crate) title: &'static str,
    /// How it was measured.
    pub(crate) how: String,
    pub(crate) figures: Value,
    pub(crate) pictures: Vec<Picture>,
    pub(crate) tables: Vec<Table>,
    /// Of each measurement: its name, and what the client reports of its response times.
    pub(crate) response_times: Vec<(String, Value)>,
    /// What was required, and isn't so.
    pub(crate) broken: Vec<String>,
}

impl Chapter {
    /// Keeps the response times of a measurement.
    pub(crate) fn keep_times(&mut self, name: &str, report: &Report) {
        let times = report.0.pointer("/response_time_seconds").cloned().unwrap_or_default();
        self.response_times.push((name.to_owned(), times));
    }
}

/// Each backend has its colour on every picture.
const SERVER_COLOURS: [&str; 6] = ["#4263eb", "#12b886", "#fab005", "#f03e3e", "#7950f2", "#22b8cf"];

pub(crate) fn server_colour(place: usize) -> &'static str {
    SERVER_COLOURS.get(place).copied().unwrap_or("#868e96")
}

/// What is neither a backend nor a policy is grey, from the first to the last.
pub(crate) const GREYS: [&str; 3] = ["#ced4da", "#868e96", "#343a40"];

/// Bars side by side at each name, a colour and a word in the legend for each series.
pub(crate) fn grouped_bars(picture: Picture, names: &[&str], series: &[(String, &str, Vec<f64>)]) -> Picture {
    let picture = picture.x_axis(names_axis());
    series.iter().fold(picture, |picture, (name, colour, values)| {
        let names = names.iter().map(|name| broken(name)).collect();
        let bars = Bar::new(names, values.clone()).marker(Marker::new().color((*colour).to_owned()));
        picture.trace(bars.name(name))
    })
}

/// A bar in its own colour at each name.
pub(crate) fn bars(picture: Picture, bars: &[(&str, &'static str, f64)]) -> Picture {
    let names = bars.iter().map(|(name, ..)| broken(name)).collect();
    let colours: Vec<&str> = bars.iter().map(|(_, colour, _)| *colour).collect();
    let values = bars.iter().map(|(.., value)| *value).collect();
    let bars = Bar::new(names, values).marker(Marker::new().color_array(colours));
    picture.x_axis(names_axis()).trace(bars)
}

/// Names stand upright, however little room there is.
fn names_axis() -> Axis {
    Axis::new().tick_angle(0.0).tick_font(Font::new().size(11))
}

/// A name of several words on several lines.
fn broken(name: &str) -> String {
    name.replace(", ", ",<br>").replace('_', "_<br>")
}

/// A picture with a title and what its vertical axis counts.
pub(crate) fn picture(title: &str, y_title: &str) -> Picture {
    Picture::new(title).y_axis(axis(y_title))
}

/// A series of every backend: `values` of the place.
pub(crate) fn server_series(count: usize, values: impl Fn(usize) -> Vec<f64>) -> Vec<(String, &'static str, Vec<f64>)> {
    (0..count)
        .map(|place| (server_name(place), server_colour(place), values(place)))
        .collect()
}

/// A table of these columns.
pub(crate) fn table(title: &str, head: &[&str], rows: Vec<Vec<String>>) -> Table {
    Table {
        title: title.to_owned(),
        head: head.iter().map(|&cell| cell.to_owned()).collect(),
        rows,
    }
}

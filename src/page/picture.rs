//! How a picture looks: size, margins, letters, marks, no bar of buttons. What it shows are plotly's traces.
//!
//! Made by whoever fills a page, and drawn by `Page`, which gives it its place.

use plotly::common::{Anchor, DashType, Font, Orientation, Pad, Title};
use plotly::configuration::DisplayModeBar;
use plotly::layout::{Annotation, Axis, Legend, Margin, Shape, ShapeLine, ShapeType};
use plotly::{Configuration, Layout, Plot, Trace};

/// Pixels.
const HEIGHT: usize = 360;
const TITLE_TOP: usize = 14;
const MARGIN_TOP: usize = 50;
const MARGIN_BOTTOM: usize = 60;
const MARGIN_LEFT: usize = 70;
const MARGIN_RIGHT: usize = 30;
/// Of the label of a mark. Each has a line of its own above the picture, so that near marks can be told apart.
const LABEL_HEIGHT: usize = 16;
/// Of a row of the legend, which has its rows between the title and the marks.
const LEGEND_ROW_HEIGHT: usize = 19;
/// What the legend has when pictures stand side by side.
const LEGEND_WIDTH: usize = 380;
/// Of its letters, on average, and of the sample beside each name.
const LETTER_WIDTH: usize = 7;
const SAMPLE_WIDTH: usize = 45;

const MARK_COLOUR: &str = "#5a6b7b";

/// A picture: traces on two axes, with a title, marks and a caption.
#[derive(Clone)]
pub struct Picture {
    title: String,
    caption: Option<String>,
    traces: Vec<Box<dyn Trace>>,
    x_axis: Axis,
    y_axis: Axis,
    marks: Vec<(f64, String)>,
}

/// An axis that says what it counts, and in which unit.
#[must_use]
pub fn axis(title: &str) -> Axis {
    Axis::new().title(Title::with_text(title)).auto_margin(true)
}

impl Picture {
    /// A picture of that title, without anything on it yet.
    #[must_use]
    pub fn new(title: &str) -> Self {
        Self {
            title: title.to_owned(),
            caption: None,
            traces: Vec::new(),
            x_axis: Axis::new(),
            y_axis: Axis::new(),
            marks: Vec::new(),
        }
    }

    /// Adds what is seen. With more than one, each should have a name, for the legend.
    #[must_use]
    pub fn trace(mut self, trace: Box<dyn Trace>) -> Self {
        self.traces.push(trace);
        self
    }

    /// The horizontal axis; see [`axis`].
    #[must_use]
    pub fn x_axis(mut self, axis: Axis) -> Self {
        self.x_axis = axis;
        self
    }

    /// The vertical axis; see [`axis`].
    #[must_use]
    pub fn y_axis(mut self, axis: Axis) -> Self {
        self.y_axis = axis;
        self
    }

    /// A vertical line at `x`, with a label above the picture.
    #[must_use]
    pub fn mark(mut self, x: f64, label: &str) -> Self {
        self.marks.push((x, label.to_owned()));
        self
    }

    /// What is to be seen on it, in words, below it.
    #[must_use]
    pub fn caption(mut self, text: &str) -> Self {
        self.caption = Some(text.to_owned());
        self
    }

    pub(super) fn caption_text(&self) -> Option<&str> {
        self.caption.as_deref()
    }

    /// Its place on a page and the call that draws it there.
    pub(super) fn html(&self, number: usize) -> String {
        let mut plot = Plot::new();
        plot.add_traces(self.traces.clone());
        plot.set_layout(self.layout());
        plot.set_configuration(
            Configuration::new()
                .display_mode_bar(DisplayModeBar::False)
                .responsive(true),
        );
        plot.to_inline_html(Some(&format!("picture-{number}")))
    }

    fn layout(&self) -> Layout {
        let margin = Margin::new()
            .top(self.margin_top())
            .bottom(MARGIN_BOTTOM)
            .left(MARGIN_LEFT)
            .right(MARGIN_RIGHT);
        // At the top, however many marks come below.
        let title = Title::with_text(self.title.as_str())
            .y(1.0)
            .y_anchor(Anchor::Top)
            .pad(Pad::new(TITLE_TOP, 0, 0));
        // Above: a column of its own would take a third of the width.
        let legend = Legend::new()
            .orientation(Orientation::Horizontal)
            .x(1.0)
            .x_anchor(Anchor::Right)
            .y(1.0 + self.above(self.marks.len()))
            .y_anchor(Anchor::Bottom);
        Layout::new()
            .title(title)
            .font(Font::new().family("system-ui, sans-serif"))
            .x_axis(self.x_axis.clone())
            .y_axis(self.y_axis.clone())
            .show_legend(self.traces.len() > 1)
            .legend(legend)
            .height(HEIGHT)
            .margin(margin)
            .shapes(self.lines())
            .annotations(self.labels())
    }

    fn margin_top(&self) -> usize {
        let legend = self.legend_rows().saturating_mul(LEGEND_ROW_HEIGHT);
        let marks = self.marks.len().saturating_mul(LABEL_HEIGHT);
        MARGIN_TOP.saturating_add(legend).saturating_add(marks)
    }

    /// Plotly breaks a legend that is too wide into columns, all as wide as its longest name needs.
    fn legend_rows(&self) -> usize {
        if self.traces.len() < 2 {
            return 0;
        }
        let longest = self
            .traces
            .iter()
            .map(|trace| name(trace.as_ref()).chars().count())
            .max();
        let width = longest
            .unwrap_or(0)
            .saturating_mul(LETTER_WIDTH)
            .saturating_add(SAMPLE_WIDTH);
        let columns = LEGEND_WIDTH.checked_div(width).unwrap_or(1).max(1);
        self.traces.len().div_ceil(columns)
    }

    /// The height of so many labels, in parts of what is drawn.
    fn above(&self, labels: usize) -> f64 {
        let drawn = HEIGHT.saturating_sub(self.margin_top()).saturating_sub(MARGIN_BOTTOM);
        labels.saturating_mul(LABEL_HEIGHT) as f64 / drawn as f64
    }

    fn lines(&self) -> Vec<Shape> {
        let line = |(index, (x, _)): (usize, &(f64, String))| {
            // Up to its label.
            Shape::new()
                .shape_type(ShapeType::Line)
                .x_ref("x")
                .y_ref("paper")
                .x0(*x)
                .x1(*x)
                .y0(0.0)
                .y1(1.0 + self.above(index))
                .line(ShapeLine::new().color(MARK_COLOUR).width(1.0).dash(DashType::Dot))
        };
        self.marks.iter().enumerate().map(line).collect()
    }

    fn labels(&self) -> Vec<Annotation> {
        let label = |(index, (x, text)): (usize, &(f64, String))| {
            Annotation::new()
                .text(text.as_str())
                .show_arrow(false)
                .x_ref("x")
                .x(*x)
                .y_ref("paper")
                .y(1.0)
                .y_anchor(Anchor::Bottom)
                .y_shift(index.saturating_mul(LABEL_HEIGHT) as f64)
                .font(Font::new().size(12).color(MARK_COLOUR))
        };
        self.marks.iter().enumerate().map(label).collect()
    }
}

/// What the legend calls a trace; plotly keeps it to itself.
fn name(trace: &dyn Trace) -> String {
    let json: Option<serde_json::Value> = serde_json::from_str(&trace.to_json()).ok();
    let name = json.as_ref().and_then(|json| json.pointer("/name")?.as_str());
    name.unwrap_or_default().to_owned()
}

impl std::fmt::Debug for Picture {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Plotly's traces have no Debug.
        f.debug_struct("Picture")
            .field("title", &self.title)
            .field("traces", &self.traces.len())
            .field("marks", &self.marks)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use plotly::Bar;

    fn picture(names: &[&str]) -> Picture {
        names.iter().fold(Picture::new("a"), |picture, name| {
            picture.trace(Bar::new(vec![1], vec![1]).name(*name))
        })
    }

    #[test]
    fn a_legend_has_as_many_rows_as_its_longest_name_makes_it() {
        assert_eq!(picture(&["alone"]).legend_rows(), 0);
        assert_eq!(picture(&["p50", "p99"]).legend_rows(), 1);
        assert_eq!(
            picture(&["round_robin", "least_connections", "maglev"]).legend_rows(),
            2
        );
        assert_eq!(picture(&[&"long ".repeat(20), "p99"]).legend_rows(), 2);
    }
}

//! The picture of the response times: how many answers took how long, on a logarithmic axis.
//!
//! Used by `html`. The axis is drawn as a plain one of the logarithm, with ticks of our own: plotly's would say 10^-4.

use super::human::{grouped, short_seconds};
use crate::page::{Picture, axis};
use hdrhistogram::Histogram;
use plotly::Bar;
use plotly::common::{HoverInfo, Marker};

/// Bars over the whole width, about: as many as can be told apart, and no more than the answers fill (the Rice rule, 2 n^1/3).
const BARS_MAX: f64 = 60.0;
const BARS_MIN: f64 = 10.0;
/// Bars of a factor of ten, at most: narrower ones would tell more than a microsecond's resolution holds.
const BARS_PER_DECADE_MAX: f64 = 40.0;
/// The least that the axis spans, in factors of ten.
const DECADES_MIN: f64 = 0.5;
/// Below so many answers there is no "99 of 100".
const ANSWERS_FOR_P99: u64 = 100;

const COLOUR: &str = "#0b7285";

/// Answers by response time, in bars that are equally wide on a logarithmic axis.
struct Bars {
    /// Where the first begins: the decimal logarithm of seconds.
    begin: f64,
    /// Of each, in factors of ten.
    width: f64,
    answers: Vec<f64>,
}

impl Bars {
    /// Every value is a whole number of microseconds, cut off: its answers are spread over all it may stand for. Counted as one
    /// point each, short times would make a comb.
    fn new(times: &Histogram<u64>) -> Self {
        let (low, high) = (times.min(), times.next_non_equivalent(times.max()));
        let (low, high) = (log_seconds(low), log_seconds(high));
        let bars = (2.0 * (times.len() as f64).cbrt()).clamp(BARS_MIN, BARS_MAX);
        let width = ((high - low) / bars).max(1.0 / BARS_PER_DECADE_MAX);
        let begin = (low / width).floor() * width;
        let count = ((high - begin) / width).ceil().max(1.0) as usize;
        let mut bars = Self {
            begin,
            width,
            answers: vec![0.0; count],
        };
        for value in times.iter_recorded() {
            let micros = value.value_iterated_to();
            let (from, until) = (times.lowest_equivalent(micros), times.next_non_equivalent(micros));
            bars.spread(log_seconds(from), log_seconds(until), value.count_at_value() as f64);
        }
        bars
    }

    fn spread(&mut self, from: f64, until: f64, answers: f64) {
        let index = |at: f64| ((at - self.begin) / self.width).max(0.0);
        let (from, until) = (index(from), index(until));
        let last = self.answers.len().saturating_sub(1);
        for bar in (from as usize).min(last)..=(until as usize).min(last) {
            let (begin, end) = (bar as f64, if bar == last { f64::INFINITY } else { bar as f64 + 1.0 });
            let part = (until.min(end) - from.max(begin)).max(0.0) / (until - from);
            if let Some(bar) = self.answers.get_mut(bar) {
                *bar += answers * part;
            }
        }
    }

    fn begin_of(&self, bar: usize) -> f64 {
        self.begin + bar as f64 * self.width
    }

    /// From where to where the axis reaches: wide enough for some ticks.
    fn axis(&self) -> (f64, f64) {
        let end = self.begin_of(self.answers.len());
        let spare = ((DECADES_MIN - (end - self.begin)) / 2.0).max(self.width);
        (self.begin - spare, end + spare)
    }
}

/// The picture, with its two sentences; nothing when nothing was answered.
pub(super) fn picture(times: &Histogram<u64>) -> Option<Picture> {
    if times.is_empty() {
        return None;
    }
    let bars = Bars::new(times);
    let total = times.len() as f64;
    let (mut centres, mut shares, mut hovers) = (vec![], vec![], vec![]);
    for (bar, answers) in bars.answers.iter().enumerate() {
        let (from, until) = (bars.begin_of(bar), bars.begin_of(bar.saturating_add(1)));
        let share = 100.0 * answers / total;
        centres.push((from + until) / 2.0);
        shares.push(share);
        hovers.push(format!(
            "{} to {}<br>{share:.2} % of the answers",
            short_seconds(10_f64.powf(from)),
            short_seconds(10_f64.powf(until)),
        ));
    }
    let trace = Bar::new(centres, shares)
        .width(bars.width * 0.9)
        .marker(Marker::new().color(COLOUR))
        .hover_text_array(hovers)
        .hover_info(HoverInfo::Text);
    let (least, most) = bars.axis();
    let ticks = ticks(least, most);
    let x_axis = axis("response time")
        .range(vec![least, most])
        .tick_values(ticks.iter().map(|seconds| seconds.log10()).collect())
        .tick_text(ticks.iter().map(|seconds| short_seconds(*seconds)).collect())
        .zero_line(false);
    let mut picture = Picture::new("Response times")
        .x_axis(x_axis)
        .y_axis(axis("share of the answers").tick_suffix(" %"))
        .trace(trace)
        .caption(&caption(times));
    for (name, percent) in [("p50", 50.0), ("p99", 99.0)] {
        let micros = times.value_at_percentile(percent);
        picture = picture.mark(log_seconds(micros), &format!("{name} {}", seconds(micros)));
    }
    Some(picture)
}

fn caption(times: &Histogram<u64>) -> String {
    let percentile = |percent| seconds(times.value_at_percentile(percent));
    let (fastest, slowest) = (seconds(times.min()), seconds(times.max()));
    match times.len() {
        1 => format!("The only answer took {slowest}. One answer says nothing of the next."),
        few if few < ANSWERS_FOR_P99 => format!(
            "Half of the {few} answers came within {}; the slowest took {slowest}. The fastest took {fastest}.",
            percentile(50.0)
        ),
        many => format!(
            "Half of the {} answers came within {}, 99 of 100 within {}; the slowest took {slowest}. Nine of ten took between {} and {}.",
            grouped(many),
            percentile(50.0),
            percentile(99.0),
            percentile(5.0),
            percentile(95.0)
        ),
    }
}

/// Round times within the axis, in seconds: as many as can be read beside each other.
fn ticks(least: f64, most: f64) -> Vec<f64> {
    let steps: &[f64] = match most - least {
        few if few < 1.0 => &[1.0, 1.5, 2.0, 3.0, 5.0, 7.0],
        some if some < 2.2 => &[1.0, 2.0, 5.0],
        more if more < 4.0 => &[1.0, 3.0],
        _ => &[1.0],
    };
    // A label at the very end would run into the other axis.
    let margin = (most - least) / 30.0;
    let readable = least + margin..=most - margin;
    let decades = (least.floor() as i32)..=(most.floor() as i32);
    decades
        .flat_map(|decade| steps.iter().map(move |step| step * 10_f64.powi(decade)))
        .filter(|seconds| readable.contains(&seconds.log10()))
        .collect()
}

fn log_seconds(micros: u64) -> f64 {
    (micros as f64 / 1e6).log10()
}

fn seconds(micros: u64) -> String {
    short_seconds(micros as f64 / 1e6)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;

    fn times(micros: &[u64]) -> Histogram<u64> {
        let mut times = Histogram::new_with_bounds(1, 3_600_000_000, 3).unwrap();
        for value in micros {
            times.record(*value).unwrap();
        }
        times
    }

    proptest! {
        #[test]
        fn every_answer_is_in_the_bars_and_they_are_few(micros in vec((0_u32..31).prop_flat_map(|bits| 1_u64..=(1 << bits)), 1..200)) {
            let bars = Bars::new(&times(&micros));
            let sum: f64 = bars.answers.iter().sum();
            prop_assert!((sum - micros.len() as f64).abs() < 1e-6, "{} of {}", sum, micros.len());
            prop_assert!(bars.answers.len() <= 63, "{}", bars.answers.len());
            let (least, most) = bars.axis();
            let places: Vec<f64> = ticks(least, most).iter().map(|seconds| seconds.log10()).collect();
            let nearest = places.windows(2).map(|pair| pair[1] - pair[0]).fold(f64::MAX, f64::min);
            prop_assert!(nearest > (most - least) / 13.0, "labels touch: {:?}", places);
        }
    }

    #[test]
    fn equal_numbers_of_answers_at_each_short_time_make_no_comb() {
        // As many at each microsecond as make the bars of a logarithmic axis equal.
        let mut times = times(&[]);
        for micros in 10..1000 {
            times.record_n(micros, 1_000_000 / micros).unwrap();
        }
        let bars = Bars::new(&times);
        let inner = &bars.answers[1..bars.answers.len() - 1];
        let (least, most) = inner.iter().fold((f64::MAX, 0.0_f64), |(least, most), bar| {
            (least.min(*bar), most.max(*bar))
        });
        assert!(most / least < 1.15, "{least} to {most}: {inner:?}");
    }

    #[test]
    fn the_axis_has_times_to_read_however_close_all_answers_are() {
        for micros in [&[100][..], &[1, 1], &[99, 101], &[50, 5_000_000], &[3_600_000_000]] {
            let bars = Bars::new(&times(micros));
            let (least, most) = bars.axis();
            let ticks = ticks(least, most);
            assert!(ticks.len() >= 2, "{micros:?}: {ticks:?}");
        }
    }

    fn told(micros: &[u64]) -> String {
        caption(&times(micros)).replace('\u{a0}', " ")
    }

    #[test]
    fn the_sentences_have_the_figures() {
        let all: Vec<u64> = (1..=1000).collect();
        assert_eq!(
            told(&all),
            "Half of the 1,000 answers came within 500 µs, 99 of 100 within 990 µs; the slowest took 1 ms. \
             Nine of ten took between 50 µs and 950 µs."
        );
        assert_eq!(
            told(&[100, 200, 2000]),
            "Half of the 3 answers came within 200 µs; the slowest took 2 ms. The fastest took 100 µs."
        );
        assert!(told(&[7]).starts_with("The only answer took 7 µs."));
        assert!(picture(&times(&[])).is_none());
    }
}

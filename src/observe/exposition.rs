//! A page of metrics as text, in the classic format of Prometheus (version 0.0.4), which every scraper reads.
//!
//! Written by `prometheus-client`, whose own text is OpenMetrics. The two formats differ in one point that matters here: a counter's
//! `# TYPE` line has the name with `_total` in the one, and without it in the other, where the crate appends it to each sample. So
//! counters are named in full and written with the samples of a gauge, which get no suffix, under the type of a counter.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode_registry;
use prometheus_client::encoding::{DescriptorEncoder, EncodeGaugeValue, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;

use super::histogram::Histogram;
use super::metrics::{Kind, Metric};

/// The `Content-Type` of a page.
pub const METRICS_CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What can tell its metrics.
pub trait Exposed: fmt::Debug + Send + Sync + 'static {
    /// Writes them, each metric once.
    ///
    /// # Errors
    /// What the page returns.
    fn expose(&self, page: &mut Exposition<'_>) -> fmt::Result;
}

/// The page, as far as it has come.
#[derive(Debug)]
pub struct Exposition<'a>(DescriptorEncoder<'a>);

/// The samples of one metric.
#[derive(Debug)]
pub struct Samples<'a> {
    encoder: MetricEncoder<'a>,
    buckets: Vec<(f64, u64)>,
}

/// The whole page of `exposed`, which will have about so many bytes.
pub fn page(exposed: impl Exposed, bytes: usize) -> String {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Page(exposed)));
    let mut text = String::with_capacity(bytes);
    if encode_registry(&mut text, &registry).is_err() {
        // A String takes everything, so it is one of ours that gave up half-way: no page is better than half of one.
        log::error!("the metrics can't be written");
        text.clear();
    }
    text
}

#[derive(Debug)]
struct Page<T>(T);

impl<T: Exposed> Collector for Page<T> {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        self.0.expose(&mut Exposition(encoder))
    }
}

impl Exposition<'_> {
    /// Begins a metric. All its samples follow before the next one begins.
    ///
    /// # Errors
    /// What writing to the text returns.
    pub fn metric(&mut self, metric: Metric) -> Result<Samples<'_>, fmt::Error> {
        let kind = match metric.kind {
            Kind::Counter => MetricType::Counter,
            Kind::Gauge => MetricType::Gauge,
            Kind::Histogram => MetricType::Histogram,
        };
        // The crate ends a help text with a full stop only where metrics are registered one by one; here it is as the table has it.
        let encoder = self.0.encode_descriptor(metric.name, metric.help, None, kind)?;
        let buckets = Vec::new();
        Ok(Samples { encoder, buckets })
    }
}

impl Samples<'_> {
    /// One sample of a counter or gauge.
    ///
    /// # Errors
    /// What writing to the text returns.
    pub fn value<const LABELS: usize>(
        &mut self,
        labels: [(&'static str, &str); LABELS],
        value: impl EncodeGaugeValue,
    ) -> fmt::Result {
        if LABELS == 0 {
            return self.encoder.encode_gauge(&value); // an empty family would leave empty braces
        }
        self.encoder.encode_family(&labels)?.encode_gauge(&value)
    }

    /// One histogram.
    ///
    /// # Errors
    /// What writing to the text returns.
    pub fn histogram<const LABELS: usize, const BOUNDS: usize>(
        &mut self,
        labels: [(&'static str, &str); LABELS],
        histogram: &Histogram<BOUNDS>,
    ) -> fmt::Result {
        let sum_seconds = histogram.sum_seconds();
        self.buckets.clear();
        self.buckets.extend(histogram.buckets());
        // From the very same reading: the last bucket and the count must agree.
        let count = self
            .buckets
            .iter()
            .fold(0, |sum: u64, (_, count)| sum.saturating_add(*count));
        self.encoder
            .encode_family(&labels)?
            .encode_histogram::<NoLabelSet>(sum_seconds, count, &self.buckets, None)
    }
}

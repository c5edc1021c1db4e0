//! Medians, ranges and ratios of what was measured, and all of it as JSON.

use serde::Serialize;
use serde_json::{Value, json};

use crate::case::{Case, Load, Per};
use crate::common::machine::{machine, today};
use crate::contender::Contender;
use crate::measure::{Offered, Sample};
use crate::tools::ToolCheck;

/// One measurement, or why there is none.
#[derive(Clone, Debug)]
pub(crate) struct Record {
    pub(crate) case: String,
    pub(crate) contender: String,
    pub(crate) round: usize,
    pub(crate) sample: Result<Sample, String>,
}

/// One column of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Metric {
    RequestsPerSecond,
    BytesPerSecond,
    CpuPerRequest,
    CpuPerGigabyte,
    P50,
    /// The median response time beyond that without a balancer.
    AddedP50,
    P99,
    P999,
    Memory,
    MemoryPerConnection,
}

/// The middle of all rounds, and how far they lie apart.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Figure {
    pub(crate) median: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
}

/// All that was measured.
pub(crate) struct Results {
    pub(crate) place: String,
    pub(crate) rounds: usize,
    pub(crate) offered: Offered,
    pub(crate) contenders: Vec<Contender>,
    pub(crate) cases: Vec<Case>,
    pub(crate) tools: Vec<ToolCheck>,
    pub(crate) seconds: f64,
    records: Vec<Record>,
}

impl Metric {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::RequestsPerSecond => "requests/s",
            Self::BytesPerSecond => "GB/s",
            Self::CpuPerRequest => "CPU/request",
            Self::CpuPerGigabyte => "CPU/GB",
            Self::P50 => "p50",
            Self::AddedP50 => "added p50",
            Self::P99 => "p99",
            Self::P999 => "p99.9",
            Self::Memory => "memory",
            Self::MemoryPerConnection => "memory/connection",
        }
    }

    const fn of(self, sample: &Sample) -> f64 {
        match self {
            Self::RequestsPerSecond => sample.requests_per_second,
            Self::BytesPerSecond => sample.bytes_per_second,
            Self::CpuPerRequest => sample.cpu_seconds_per_request,
            Self::CpuPerGigabyte => sample.cpu_seconds_per_gigabyte,
            Self::P50 | Self::AddedP50 => sample.p50_seconds,
            Self::P99 => sample.p99_seconds,
            Self::P999 => sample.p99_9_seconds,
            Self::Memory => sample.memory_bytes,
            Self::MemoryPerConnection => sample.memory_bytes_per_connection,
        }
    }

    /// The value in the unit that people read it in.
    pub(crate) fn words(self, value: f64) -> String {
        match self {
            Self::RequestsPerSecond => format!("{value:.0}"),
            Self::BytesPerSecond => format!("{:.2}", value / 1e9),
            Self::CpuPerGigabyte => format!("{value:.3} s"),
            Self::CpuPerRequest | Self::P50 | Self::AddedP50 | Self::P99 | Self::P999 => {
                format!("{:.1} µs", value * 1e6)
            }
            Self::Memory => format!("{:.1} MB", value / 1e6),
            Self::MemoryPerConnection => format!("{value:.0} B"),
        }
    }
}

impl Case {
    /// What is told of it, the most telling first.
    pub(crate) fn metrics(&self) -> Vec<Metric> {
        use Metric::{
            AddedP50, BytesPerSecond, CpuPerGigabyte, CpuPerRequest, Memory, MemoryPerConnection, P50, P99, P999,
            RequestsPerSecond,
        };
        match (self.load, self.per) {
            (Load::Idle { .. }, _) => vec![MemoryPerConnection, Memory],
            (Load::Open { .. }, _) => vec![P50, P99, P999, CpuPerRequest],
            (_, Per::Gigabyte) => vec![BytesPerSecond, CpuPerGigabyte],
            (Load::Closed { conns: 1, .. }, _) => vec![RequestsPerSecond, CpuPerRequest, P50, AddedP50, P99, P999],
            _ if self.is_scaling => vec![RequestsPerSecond, CpuPerRequest, Memory, P99],
            _ => vec![RequestsPerSecond, CpuPerRequest, P50, P99, P999],
        }
    }
}

impl Results {
    pub(crate) fn new(
        place: String,
        rounds: usize,
        offered: Offered,
        contenders: &[Contender],
        cases: &[Case],
    ) -> Self {
        Self {
            place,
            rounds,
            offered,
            contenders: contenders.to_vec(),
            cases: cases.to_vec(),
            tools: Vec::new(),
            seconds: 0.0,
            records: Vec::new(),
        }
    }

    pub(crate) fn enter(&mut self, record: Record) {
        self.records.push(record);
    }

    fn samples<'a>(&'a self, case: &'a str, contender: &'a str) -> impl Iterator<Item = (usize, &'a Sample)> {
        self.records
            .iter()
            .filter(move |record| record.case == case && record.contender == contender)
            .filter_map(|record| Some((record.round, record.sample.as_ref().ok()?)))
    }

    /// How often it failed.
    pub(crate) fn failures(&self, case: &str, contender: &str) -> usize {
        let of_it = |record: &&Record| record.case == case && record.contender == contender;
        self.records
            .iter()
            .filter(of_it)
            .filter(|record| record.sample.is_err())
            .count()
    }

    /// The value of each round that has one.
    fn values(&self, case: &str, contender: &str, metric: Metric) -> Vec<(usize, f64)> {
        let value = |(round, sample): (usize, &Sample)| {
            let mut value = metric.of(sample);
            if metric == Metric::AddedP50 {
                let (_, direct) = self.samples(case, "direct").find(|(other, _)| *other == round)?;
                value -= direct.p50_seconds;
            }
            Some((round, value))
        };
        self.samples(case, contender).filter_map(value).collect()
    }

    pub(crate) fn figure(&self, case: &str, contender: &str, metric: Metric) -> Option<Figure> {
        figure(self.values(case, contender, metric).into_iter().map(|(_, value)| value))
    }

    /// Measurements of lb, or without a balancer, that failed.
    pub(crate) fn failures_of_ours(&self) -> usize {
        let is_ours = |record: &&Record| record.contender == "lb" || record.contender == "direct";
        self.records
            .iter()
            .filter(is_ours)
            .filter(|record| record.sample.is_err())
            .count()
    }

    /// What lb has for each one that `contender` has: taken round by round, so that a machine whose speed drifts doesn't matter
    /// much, and then the median of that.
    pub(crate) fn ratio(&self, case: &str, contender: &str, metric: Metric) -> Option<Figure> {
        let others = self.values(case, contender, metric);
        figure(
            self.values(case, "lb", metric)
                .into_iter()
                .filter_map(|(round, of_lb)| {
                    let (_, other) = others.iter().find(|(other, _)| *other == round)?;
                    (*other > 0.0).then(|| of_lb / other)
                }),
        )
    }

    pub(crate) fn to_json(&self) -> Value {
        let cases: Vec<Value> = self.cases.iter().map(|case| self.case_json(case)).collect();
        let contenders: Vec<Value> = self
            .contenders
            .iter()
            .map(|contender| json!({"name": contender.label, "version": contender.version}))
            .collect();
        json!({
            "machine": machine(),
            "date": today(),
            "place": self.place,
            "rounds": self.rounds,
            "seconds_each": self.offered.seconds,
            "open_loop_requests_per_second": self.offered.rate_per_second,
            "seconds": self.seconds,
            "contenders": contenders,
            "cases": cases,
            "load_tools": self.tools,
        })
    }

    fn case_json(&self, case: &Case) -> Value {
        let mut of_contenders = serde_json::Map::new();
        for contender in self.contenders.iter().filter(|contender| case.admits(contender)) {
            let label = contender.label.as_str();
            let mut figures = serde_json::Map::new();
            for metric in case.metrics() {
                figures.insert(
                    metric.name().to_owned(),
                    json!({"figure": self.figure(&case.id, label, metric), "lb_to_it": self.ratio(&case.id, label, metric)}),
                );
            }
            let samples: Vec<&Sample> = self.samples(&case.id, label).map(|(_, sample)| sample).collect();
            let failures = self.failures(&case.id, label);
            of_contenders.insert(
                label.to_owned(),
                json!({"figures": figures, "samples": samples, "failures": failures}),
            );
        }
        json!({"id": case.id, "title": case.title, "workers": case.workers, "backends": case.backends, "contenders": of_contenders})
    }
}

/// The median, the least and the most of some values.
pub(crate) fn figure(values: impl Iterator<Item = f64>) -> Option<Figure> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    let (low, high) = (values.len().saturating_sub(1) >> 1, values.len() >> 1);
    Some(Figure {
        median: (values.get(low)? + values.get(high)?) / 2.0,
        min: *values.first()?,
        max: *values.last()?,
    })
}

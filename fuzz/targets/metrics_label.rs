//! Any names as labels of metrics: the page tells, line by line, exactly these, as a scraper reads it.
//!
//! Source: prometheus.io/docs/instrumenting/exposition_formats: within a label's value `\\`, `\"` and `\n` are escaped, nothing else.
#![no_main]

use std::fmt;
use std::time::Duration;

use lb::observe::{CONNECT_SECONDS, Exposed, Exposition, Histogram, metrics, page};
use libfuzzer_sys::fuzz_target;

#[derive(Debug)]
struct Named {
    service: String,
    backend: String,
    count: u64,
}

impl Exposed for Named {
    fn expose(&self, page: &mut Exposition<'_>) -> fmt::Result {
        let labels = [("service", &*self.service), ("backend", &*self.backend)];
        page.metric(metrics::CONNECTIONS)?.value(labels, self.count)?;
        page.metric(metrics::CONNECTIONS_ACTIVE)?.value(labels, 7_u32)?;
        let histogram: Histogram<{ CONNECT_SECONDS.len() }> = Histogram::new(&CONNECT_SECONDS);
        histogram.note(Duration::from_micros(self.count));
        page.metric(metrics::CONNECT)?.histogram(labels, &histogram)
    }
}

fuzz_target!(|given: (String, String, u32)| {
    let (service, backend, count) = given;
    let named = Named {
        service: service.clone(),
        backend: backend.clone(),
        count: count.into(),
    };
    let text = page(named, 1024);
    let mut samples = 0;
    // Not `lines()`, which would cut a carriage return away.
    for line in text
        .split('\n')
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
    {
        let (labels, value) = labels(line);
        for (name, wanted) in [("service", &service), ("backend", &backend)] {
            let found: Vec<_> = labels.iter().filter(|(label, _)| label == name).collect();
            assert_eq!(found, [&(name.to_owned(), wanted.clone())], "{line:?}");
        }
        assert!(value.parse::<f64>().is_ok(), "{line:?}");
        samples += 1;
    }
    // One counter, one gauge; the histogram's buckets, its sum and its count.
    assert_eq!(samples, 1 + 1 + CONNECT_SECONDS.len() + 1 + 2, "{text:?}");
    assert!(!text.contains('\0') || service.contains('\0') || backend.contains('\0'));
});

/// The labels of a sample's line, and what stands behind them.
fn labels(line: &str) -> (Vec<(String, String)>, &str) {
    let (name, mut rest) = line.split_once('{').expect("a sample with labels");
    assert!(
        name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_'),
        "{name:?}"
    );
    let mut labels = Vec::new();
    loop {
        let (label, behind) = rest.split_once("=\"").expect("a label and its value");
        let mut value = String::new();
        let mut characters = behind.char_indices();
        let end = loop {
            match characters.next().expect("a value ends") {
                (at, '"') => break at,
                (_, '\\') => value.push(match characters.next().expect("what is escaped").1 {
                    'n' => '\n',
                    same @ ('\\' | '"') => same,
                    other => panic!("\\{other} is no escape"),
                }),
                (_, other) => value.push(other),
            }
        };
        labels.push((label.to_owned(), value));
        rest = &behind[end + 1..];
        match rest.strip_prefix(',') {
            Some(next) => rest = next,
            None => return (labels, rest.strip_prefix("} ").expect("the end of the labels")),
        }
    }
}

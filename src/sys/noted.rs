//! What was found of a destination a moment ago and needn't be found again yet: it holds for a while, and for longer each time.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Duration;

use super::Clock;
use crate::types::Moment;

/// The first and the longest time that a finding holds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Spans {
    pub(super) first: Duration,
    pub(super) most: Duration,
}

/// Destinations, until when something was found of them, and for how long.
#[derive(Debug, Default)]
pub(super) struct Noted(HashMap<SocketAddr, (Moment, Duration)>);

impl Noted {
    pub(super) fn holds(&self, address: SocketAddr) -> bool {
        // Looked up only where there is a shortage at all.
        !self.0.is_empty() && self.until(address).is_some_and(|until| Clock::now() < until)
    }

    /// Whether it held not long ago, if it doesn't now.
    pub(super) fn knows(&self, address: SocketAddr, now: Moment) -> bool {
        self.0
            .get(&address)
            .is_some_and(|(until, span)| now < until.plus(*span))
    }

    fn until(&self, address: SocketAddr) -> Option<Moment> {
        self.0.get(&address).map(|(until, _)| *until)
    }

    /// Found again within as long as it held the last time, it holds twice as long.
    pub(super) fn note(&mut self, address: SocketAddr, spans: Spans, now: Moment) {
        self.0.retain(|_, (until, span)| now < until.plus(*span));
        let last = self.0.get(&address).map(|(_, span)| span.saturating_mul(2));
        let span = last.map_or(spans.first, |span| span.min(spans.most));
        self.0.insert(address, (now.plus(span), span));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPANS: Spans = Spans {
        first: Duration::from_secs(1),
        most: Duration::from_secs(16),
    };

    #[test]
    fn a_shortage_that_is_found_again_and_again_holds_longer_and_is_forgotten_when_it_is_over() {
        let here = "127.0.0.1:1".parse().unwrap();
        let mut noted = Noted::default();
        let mut now = Moment::START;
        let spans: Vec<u64> = (0..7)
            .map(|_| {
                noted.note(here, SPANS, now);
                let until = noted.until(here).unwrap();
                let span = until.since(now);
                now = until.plus(Duration::from_millis(1));
                span.as_secs()
            })
            .collect();
        assert_eq!(spans, [1, 2, 4, 8, 16, 16, 16]);
        assert!(noted.knows(here, now));
        now = now.plus(Duration::from_secs(16));
        assert!(!noted.knows(here, now));
        noted.note(here, SPANS, now);
        assert_eq!(
            noted.until(here).unwrap().since(now),
            Duration::from_secs(1),
            "it was over for as long"
        );
    }
}

//! What `lb top` knows, and what becomes of it by each event. Pure: no terminal, no clock, no lb.

use super::ask::{Ask, Sample};
use super::keys::Key;
use super::rates::AllRates;
use super::rows::{Order, Row, rows};
use crate::api::{Backend, BackendChange, WantedState, Weight};

/// Everything that is drawn.
pub(super) struct Model {
    pub(super) sample: Sample,
    pub(super) rates: AllRates,
    /// Set while lb doesn't answer.
    pub(super) lost: Option<Lost>,
    pub(super) order: Order,
    /// What became of the last change, until the next key.
    pub(super) notice: Option<Result<String, String>>,
    pub(super) is_helping: bool,
    /// Service and backend.
    selected: Option<(String, String)>,
}

/// lb doesn't answer.
pub(super) struct Lost {
    pub(super) why: String,
    /// Looks without an answer.
    pub(super) looks: u64,
}

impl Model {
    /// Nothing is selected, so that no first key changes anything.
    pub(super) fn new(first: Sample) -> Self {
        Self {
            sample: first,
            rates: AllRates::default(),
            lost: None,
            order: Order::File,
            notice: None,
            is_helping: false,
            selected: None,
        }
    }

    /// lb answered.
    pub(super) fn sampled(&mut self, sample: Sample) {
        self.rates = AllRates::between(&self.sample, &sample);
        self.sample = sample;
        self.lost = None;
        if self.place().is_none() {
            self.selected = None;
        }
    }

    /// lb didn't answer. What it said last stays, without rates.
    pub(super) fn lost(&mut self, why: String) {
        let before = self.lost.take().map_or(0, |lost| lost.looks);
        let looks = before.saturating_add(1);
        self.lost = Some(Lost { why, looks });
        self.rates = AllRates::default();
    }

    /// A change was made or refused.
    pub(super) fn answered(&mut self, answer: Result<String, String>) {
        self.notice = Some(answer);
    }

    /// What is drawn of services and backends, in order.
    pub(super) fn rows(&self) -> Vec<Row<'_>> {
        rows(&self.sample.status, &self.rates, self.order)
    }

    /// Which of [`Model::rows`] is selected.
    pub(super) fn place(&self) -> Option<usize> {
        self.place_in(&self.rows())
    }

    fn place_in(&self, rows: &[Row<'_>]) -> Option<usize> {
        let (service, backend) = self.selected.as_ref()?;
        rows.iter().position(|row| row.is_backend(service, backend))
    }

    /// A key; what lb is to be asked then.
    pub(super) fn press(&mut self, key: Key) -> Option<Ask> {
        self.notice = None;
        match key {
            Key::Quit => None,
            Key::Help => {
                self.is_helping = !self.is_helping;
                None
            }
            Key::Sort => {
                self.order = self.order.next();
                None
            }
            Key::Up => self.step(true),
            Key::Down => self.step(false),
            Key::Drain => self.ask(|_| Some((state(WantedState::Draining), "drain".into()))),
            Key::Resume => self.ask(|_| Some((state(WantedState::Active), "resume".into()))),
            Key::Heavier => self.ask(|backend| weight(backend, u32::from(backend.weight).saturating_add(1))),
            Key::Lighter => self.ask(|backend| weight(backend, u32::from(backend.weight).saturating_sub(1))),
        }
    }

    fn step(&mut self, is_up: bool) -> Option<Ask> {
        let rows = self.rows();
        let mut names: Vec<(&str, &str)> = rows.iter().filter_map(Row::backend_names).collect();
        if is_up {
            names.reverse();
        }
        let is_selected = |(service, backend): &(&str, &str)| {
            let selected = self.selected.as_ref();
            selected.is_some_and(|(of, name)| of == service && name == backend)
        };
        let next = match names.iter().position(is_selected) {
            None => names.first(),
            // At the end it stays.
            Some(at) => names.get(at.saturating_add(1)).or(names.get(at)),
        };
        self.selected = next.map(|(service, backend)| ((*service).to_owned(), (*backend).to_owned()));
        None
    }

    fn ask(&mut self, change: impl FnOnce(&Backend) -> Option<(BackendChange, String)>) -> Option<Ask> {
        let Some((service, backend)) = self.selected.clone() else {
            self.notice = Some(Err("select a backend first, with the arrows or j and k".into()));
            return None;
        };
        let services = self.sample.status.services.iter_mut();
        let mut backends = services.filter(|of| of.name == service).flat_map(|of| &mut of.backends);
        let found = backends.find(|of| of.name == backend)?;
        let (change, what) = change(found)?;
        // Not to wait for lb: the next + counts from here. The next sample has the truth.
        if let Some(weight) = change.weight.and_then(|weight| u16::try_from(weight.0).ok()) {
            found.weight = weight;
        }
        Some(Ask {
            service,
            backend,
            change,
            what,
        })
    }
}

fn state(state: WantedState) -> BackendChange {
    BackendChange {
        state: Some(state),
        weight: None,
    }
}

fn weight(backend: &Backend, wanted: u32) -> Option<(BackendChange, String)> {
    let change = BackendChange {
        weight: Some(Weight(wanted)),
        state: None,
    };
    (wanted != u32::from(backend.weight)).then(|| (change, format!("weight {wanted}")))
}

#[cfg(test)]
mod tests;

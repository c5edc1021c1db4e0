//! Samples and keys in, rates, selection and questions out.

use super::super::fixture::sample;
use super::super::rates::Rates;
use super::super::rows::busiest;
use super::*;

fn model() -> Model {
    let mut model = Model::new(sample(100.0, 0));
    model.sampled(sample(102.0, 10));
    model
}

fn backends(model: &Model) -> Vec<String> {
    let rows = model.rows();
    rows.iter()
        .filter_map(Row::backend_names)
        .map(|(_, backend)| backend.to_owned())
        .collect()
}

fn selected(model: &Model) -> Option<(String, String)> {
    let rows = model.rows();
    let names = rows.get(model.place()?)?.backend_names();
    names.map(|(service, backend)| (service.to_owned(), backend.to_owned()))
}

fn named(service: &str, backend: &str) -> Option<(String, String)> {
    Some((service.into(), backend.into()))
}

#[test]
fn a_rate_is_what_grew_by_the_clock_of_lb() {
    let model = model();
    let rates = |connections: f64, to_backend: f64, to_client: f64| Rates {
        connections: Some(connections),
        to_backend: Some(to_backend),
        to_client: Some(to_client),
    };
    assert_eq!(model.rates.process, rates(30.0, 30_720.0, 52_428_800.0));
    assert_eq!(model.rates.of_service("echo"), rates(15.0, 15_360.0, 26_214_400.0));
    assert_eq!(
        model.rates.of_backend("echo", "server-9002"),
        rates(10.0, 10_240.0, 0.0)
    );
    assert_eq!(model.rates.of_backend("db", "server-9002"), Rates::default());
}

#[test]
fn what_fell_or_was_started_anew_has_no_rate() {
    let mut model = model();
    model.sampled(sample(103.0, 4));
    assert_eq!(model.rates.process, Rates::default());
    model.sampled(sample(1.0, 5));
    assert_eq!(model.rates.process, Rates::default());
    let mut anew = sample(4.0, 6);
    anew.status.pid = 8;
    model.sampled(anew);
    assert_eq!(model.rates.process, Rates::default());
}

#[test]
fn the_busiest_connection_moves_most_a_second() {
    let model = model();
    let ids = |most| {
        let busiest = busiest(&model.sample, &model.rates, most);
        busiest
            .into_iter()
            .map(|(live, rate)| (live.id.clone(), rate))
            .collect::<Vec<_>>()
    };
    assert_eq!(
        ids(9),
        [("5002".to_owned(), Some(40_960.0)), ("5001".to_owned(), Some(0.0))]
    );
    assert_eq!(ids(1).len(), 1);
}

#[test]
fn the_selection_goes_from_backend_to_backend_and_stays_at_the_ends() {
    let mut model = model();
    assert_eq!(selected(&model), None);
    for wanted in [
        ("echo", "server-9001"),
        ("echo", "server-9002"),
        ("db", "db-1"),
        ("db", "db-1"),
    ] {
        assert_eq!(model.press(Key::Down), None);
        assert_eq!(selected(&model), named(wanted.0, wanted.1));
    }
    for wanted in ["server-9002", "server-9001", "server-9001"] {
        assert_eq!(model.press(Key::Up), None);
        assert_eq!(selected(&model), named("echo", wanted));
    }
    let mut without = sample(103.0, 11);
    without.status.services.remove(0);
    model.sampled(without);
    assert_eq!(selected(&model), None);
    model.press(Key::Up);
    assert_eq!(selected(&model), named("db", "db-1"));
}

#[test]
fn nothing_is_asked_while_nothing_is_selected() {
    let mut model = model();
    for key in [Key::Drain, Key::Resume, Key::Heavier, Key::Lighter] {
        assert_eq!(model.press(key), None);
        assert!(matches!(&model.notice, Some(Err(line)) if line.contains("select a backend")));
    }
    model.press(Key::Sort);
    assert_eq!(model.notice, None);
}

#[test]
fn keys_ask_for_a_state_and_for_a_weight() {
    let mut model = model();
    model.press(Key::Down);
    let ask = |change: BackendChange, what: &str| {
        let (service, backend) = ("echo".into(), "server-9001".into());
        let what = what.into();
        Some(Ask {
            service,
            backend,
            change,
            what,
        })
    };
    let weight = |number: u32| BackendChange {
        weight: Some(Weight(number)),
        state: None,
    };
    assert_eq!(model.press(Key::Drain), ask(state(WantedState::Draining), "drain"));
    assert_eq!(model.press(Key::Resume), ask(state(WantedState::Active), "resume"));
    assert_eq!(model.press(Key::Heavier), ask(weight(2), "weight 2"));
    // lb hasn't answered yet.
    assert_eq!(model.press(Key::Heavier), ask(weight(3), "weight 3"));
    for wanted in [2, 1, 0] {
        assert_eq!(
            model.press(Key::Lighter),
            ask(weight(wanted), &format!("weight {wanted}"))
        );
    }
    assert_eq!(model.press(Key::Lighter), None);
}

#[test]
fn sorting_goes_round_and_keeps_the_selection() {
    let mut model = model();
    model.press(Key::Down);
    let orders: Vec<(Order, Vec<String>)> = std::iter::repeat_with(|| {
        model.press(Key::Sort);
        assert_eq!(selected(&model), named("echo", "server-9001"));
        (model.order, backends(&model))
    })
    .take(5)
    .collect();
    let (up, down) = (
        ["server-9001", "server-9002", "db-1"],
        ["server-9002", "server-9001", "db-1"],
    );
    let wanted = [
        (Order::Name, up),
        (Order::Active, down),
        (Order::Connections, down),
        (Order::Bytes, down),
        (Order::File, up),
    ];
    assert_eq!(
        orders,
        wanted.map(|(order, names)| (order, names.map(str::to_owned).to_vec()))
    );
}

#[test]
fn a_lost_lb_keeps_its_figures_without_rates_until_it_is_back() {
    let mut model = model();
    model.lost("no lb".into());
    model.lost("still none".into());
    let lost = model.lost.as_ref().unwrap();
    assert_eq!((lost.why.as_str(), lost.looks), ("still none", 2));
    assert_eq!(model.rates.process, Rates::default());
    assert_eq!(backends(&model).len(), 3);
    model.sampled(sample(104.0, 20));
    assert!(model.lost.is_none() && model.rates.process.connections == Some(30.0));
}

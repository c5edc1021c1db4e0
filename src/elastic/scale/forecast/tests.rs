//! What must hold of forecasts, whatever the load.

use std::f64::consts::TAU;

use proptest::prelude::*;

use super::*;

/// A season of an hour, a minute and a half ahead: 80 points.
const HOUR: Prediction = Prediction {
    ahead: Duration::from_secs(90),
    season: Duration::from_hours(1),
};
/// Seconds between two looks.
const LOOK: u64 = 10;

/// After `seasons` of a load: seconds -> live connections.
fn after(prediction: Prediction, seasons: f64, mut load: impl FnMut(f64) -> f64) -> Forecaster {
    let mut forecaster = Forecaster::new(prediction);
    let looks = (seasons * prediction.season.as_secs_f64()) as u64 / LOOK;
    for look in 0..looks {
        let now = Duration::from_secs(look * LOOK);
        forecaster.observe(now, load(now.as_secs_f64()) as u64);
    }
    forecaster
}

fn wave(seconds: f64) -> f64 {
    500.0 + 400.0 * (seconds / 3600.0 * TAU).sin()
}

/// Traffic of an office in fast motion: each hour a jump up, and one down.
fn office(seconds: f64) -> f64 {
    if (900.0..2700.0).contains(&(seconds % 3600.0)) {
        800.0
    } else {
        100.0
    }
}

fn assert_sound(outlook: Outlook) {
    match outlook {
        Outlook::Learning { have, need } => assert!(have <= need, "{have:?} of {need:?}"),
        Outlook::NotBetter(errors) => assert!(
            errors.own.is_finite() && errors.own >= 0.95 * errors.naive,
            "{errors:?}"
        ),
        Outlook::Use(forecast, errors) => {
            let Forecast { mean, lower, upper, .. } = forecast;
            assert!(
                lower >= 0.0 && lower <= mean && mean <= upper && upper.is_finite(),
                "{forecast:?}"
            );
            assert!(errors.own < errors.naive && errors.naive.is_finite(), "{errors:?}");
        }
    }
}

fn used(forecaster: &Forecaster) -> Forecast {
    match forecaster.outlook() {
        Outlook::Use(forecast, _) => forecast,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_jump_that_comes_each_season_is_seen_ahead() {
    // 60 s before the fifth hour's jump, 90 s ahead.
    let forecaster = after(HOUR, 4.0 + 840.0 / 3600.0, office);
    let forecast = used(&forecaster);
    assert!(forecast.mean > 500.0, "{forecast:?}: now it is 100, then 800");
    assert_eq!(forecast.at, Duration::from_secs(4 * 3600 + 830 + 90));
}

#[test]
fn a_wave_is_followed() {
    for quarter in 0..8 {
        let forecaster = after(HOUR, 4.0 + f64::from(quarter) / 8.0, wave);
        let forecast = used(&forecaster);
        let come = wave(forecast.at.as_secs_f64());
        assert!((forecast.mean - come).abs() < 25.0, "{forecast:?}, {come} came");
    }
}

#[test]
fn a_season_with_twice_the_load_is_expected_to_go_on_so() {
    let busy = |seconds: f64| wave(seconds) * if seconds < 4.0 * 3600.0 { 1.0 } else { 2.0 };
    for quarter in 1..4 {
        let forecaster = after(HOUR, 4.0 + f64::from(quarter) / 4.0, busy);
        let come = busy(forecaster.present.expect("a load").at + forecaster.ahead);
        let [.., by_present] = forecaster.guesses().expect("a pattern");
        assert!((by_present / come - 1.0).abs() < 0.15, "{by_present}, {come} came");
    }
}

#[test]
fn a_scaled_load_comes_back_as_it_was_and_nothing_as_what_is_none() {
    for load in [0.0, 1.0, 999.0, 1e9] {
        assert!((unscaled(scaled(load)) - load).abs() <= load * 1e-9);
    }
    for none in [-1.0, f64::NEG_INFINITY, 1e3, f64::INFINITY] {
        assert!((0.0..=1e9).contains(&unscaled(none)), "{none}");
    }
}

#[test]
fn it_learns_for_two_seasons_and_a_quarter() {
    let Outlook::Learning { need, .. } = Forecaster::new(HOUR).outlook() else {
        panic!("it knows at once");
    };
    assert_eq!(need, Duration::from_mins(135));
    assert!(matches!(after(HOUR, 2.2, wave).outlook(), Outlook::Learning { .. }));
    let at_last = after(HOUR, 2.35, wave).outlook();
    assert!(matches!(at_last, Outlook::Use(..)), "{at_last:?}");
}

#[test]
fn what_was_seen_grows_while_it_learns() {
    let mut before = Duration::ZERO;
    for tenth in 1..22 {
        let Outlook::Learning { have, .. } = after(HOUR, f64::from(tenth) / 10.0, wave).outlook() else {
            panic!("it knows after {tenth} tenths");
        };
        assert!(have >= before, "{have:?} after {before:?}");
        before = have;
    }
    assert!(before >= Duration::from_mins(115), "{before:?}");
}

#[test]
fn a_load_without_a_pattern_gets_no_forecast() {
    // It jumps at random moments to a random height: the best guess is that it stays.
    let mut random = fastrand::Rng::with_seed(5);
    let mut height = 400.0;
    let forecaster = after(HOUR, 6.0, |_| {
        if random.f64() < 0.01 {
            height = 50.0 + 800.0 * random.f64();
        }
        height
    });
    let outlook = forecaster.outlook();
    assert!(matches!(outlook, Outlook::NotBetter(_)), "{outlook:?}");
}

#[test]
fn a_pattern_that_ends_is_trusted_no_longer() {
    let mut random = fastrand::Rng::with_seed(9);
    let mut height = 400.0;
    let forecaster = after(HOUR, 8.0, |seconds| {
        if seconds < 4.0 * 3600.0 {
            return wave(seconds);
        }
        if random.f64() < 0.01 {
            height = 50.0 + 800.0 * random.f64();
        }
        height
    });
    let outlook = forecaster.outlook();
    assert!(matches!(outlook, Outlook::NotBetter(_)), "{outlook:?}");
}

#[test]
fn a_load_that_never_changes_needs_no_forecast() {
    for load in [0.0, 1.0, 700.0] {
        let outlook = after(HOUR, 4.0, |_| load).outlook();
        assert!(
            matches!(outlook, Outlook::NotBetter(Errors { naive: 0.0, .. })),
            "{load}: {outlook:?}"
        );
    }
}

#[test]
fn the_interval_holds_most_of_what_comes() {
    // Eight in ten by its making; the load is noise around the wave.
    let mut random = fastrand::Rng::with_seed(3);
    let mut forecaster = Forecaster::new(HOUR);
    let (mut inside, mut all) = (0.0, 0.0);
    let mut waiting: Option<Forecast> = None;
    for look in 0..3600 {
        let now = Duration::from_secs(look * LOOK);
        let load = (wave(now.as_secs_f64()) * (0.9 + 0.2 * random.f64())) as u64;
        forecaster.observe(now, load);
        if let Some(forecast) = waiting.filter(|forecast| forecast.at <= now) {
            inside += f64::from((forecast.lower..=forecast.upper).contains(&(load as f64)));
            all += 1.0;
            waiting = None;
        }
        if let (None, Outlook::Use(forecast, _)) = (waiting, forecaster.outlook()) {
            waiting = Some(forecast);
        }
    }
    let share = inside / all;
    assert!(all > 200.0 && (0.7..0.9).contains(&share), "{share} of {all}");
}

#[test]
fn a_gap_is_bridged_and_a_long_one_begins_anew() {
    let mut bridged = after(HOUR, 4.0, wave);
    for minutes in 20..35 {
        let now = Duration::from_secs(4 * 3600 + minutes * 60);
        bridged.observe(now, wave(now.as_secs_f64()) as u64);
    }
    let forecast = used(&bridged);
    let come = wave(forecast.at.as_secs_f64());
    assert!((forecast.mean - come).abs() < 50.0, "{forecast:?}, {come} came");
    bridged.observe(Duration::from_hours(9), 500);
    assert!(matches!(
        bridged.outlook(),
        Outlook::Learning {
            have: Duration::ZERO,
            ..
        }
    ));
}

#[test]
fn a_moment_that_is_past_changes_nothing() {
    let mut forecaster = after(HOUR, 4.0, wave);
    let before = forecaster.outlook();
    forecaster.observe(Duration::from_secs(60), 1_000_000);
    assert_eq!(forecaster.outlook(), before);
}

#[test]
fn memory_is_bounded() {
    let forecaster = after(HOUR, 20.0, wave);
    assert!(
        forecaster.points.len() <= SEASONS_KEPT * forecaster.period,
        "{}",
        forecaster.points.len()
    );
    assert!(forecaster.points.capacity() <= 1024 && forecaster.scores.len() <= forecaster.period);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_load_brings_a_figure_that_is_none(
        kind in 0_u8..6, size in prop_oneof![0_u64..10, 0_u64..100_000, any::<u64>()], seed in any::<u64>(), seasons in 0.0..5.0_f64
    ) {
        let mut random = fastrand::Rng::with_seed(seed);
        let size = size as f64;
        let prediction = Prediction { ahead: Duration::from_secs(1 + seed % 900), season: Duration::from_hours(1) };
        let forecaster = after(prediction, seasons, |seconds| match kind {
            0 => size,
            1 => size * random.f64(),
            2 => size * (1.0 + (seconds / 3600.0 * TAU).sin()) / 2.0,
            3 => if seconds > 7000.0 { size } else { 0.0 },
            4 => if random.f64() < 0.001 { size } else { 1.0 },
            _ => size * seconds,
        });
        assert_sound(forecaster.outlook());
    }

    #[test]
    fn looks_at_any_moments_break_nothing(moments in proptest::collection::vec((any::<u32>(), any::<u64>()), 0..200)) {
        let mut forecaster = Forecaster::new(HOUR);
        for (millis, load) in moments {
            forecaster.observe(Duration::from_millis(u64::from(millis)), load);
            assert_sound(forecaster.outlook());
        }
    }
}

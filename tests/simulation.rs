//! A session on simulated sockets, virtual time and a seed: every schedule of events, bytes, FINs, RSTs, shortages and timers.
//!
//! `LB_SIM_SEEDS=100000` runs more seeds than every test run does, from `LB_SIM_FROM` on; `LB_SIM_SEED=7` replays one with its
//! transcript. What must hold is in `model` and at the calls in `calls`; the single cases, by name, are in `tables`, `resets` and
//! `connects`.

#![allow(clippy::print_stdout, reason = "a transcript is for whoever runs it")]

mod calls;
mod connects;
mod driver;
mod introductions;
mod kernel;
mod latency;
mod liveness;
mod model;
mod peer;
mod resets;
mod rng;
mod script;
mod stage;
mod tables;
mod world;

use lb::observe::End;

use driver::{Census, run};

const SEEDS: u64 = 1_024;
const STEPS: u64 = 3_000;
/// How much of a transcript a failure shows.
const TAIL: usize = 60;

fn number_from_environment(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{name}: found {text:?}, wanted a number")),
    )
}

/// The story of a seed that failed.
fn explain(seed: u64) -> String {
    match run(seed, STEPS, true, &mut Census::default()) {
        Ok(()) => format!("seed {seed} passes when traced: the simulation is not deterministic"),
        Err(failure) => {
            let tail = failure.transcript.len().saturating_sub(TAIL);
            format!(
                "seed {seed}, step {}: {}\n{}\nreplay: LB_SIM_SEED={seed} cargo test --test suite simulation -- --nocapture",
                failure.step,
                failure.violations.join("; "),
                failure.transcript[tail..].join("\n"),
            )
        }
    }
}

#[test]
fn every_seed_keeps_every_invariant() {
    if let Some(seed) = number_from_environment("LB_SIM_SEED") {
        let outcome = run(seed, STEPS, true, &mut Census::default());
        if let Err(failure) = &outcome {
            println!("{}", failure.transcript.join("\n"));
        }
        assert!(outcome.is_ok(), "{}", explain(seed));
        return;
    }
    let first = number_from_environment("LB_SIM_FROM").unwrap_or(0);
    let seeds = number_from_environment("LB_SIM_SEEDS").unwrap_or(SEEDS);
    let mut census = Census::default();
    for seed in first..first + seeds {
        if run(seed, STEPS, false, &mut census).is_err() {
            panic!("{}", explain(seed));
        }
    }
    println!("{census:?}");
    // A simulation that never gets anywhere would pass as well.
    for end in [
        End::ClientClosed,
        End::BackendClosed,
        End::ClientReset,
        End::BackendReset,
        End::ConnectFailed,
        End::NoBackend,
        End::IdleTimeout,
        End::HalfCloseTimeout,
        End::Refused,
    ] {
        assert!(
            census.ends[end as usize] >= seeds / 16,
            "too few sessions end as {end}: {census:?}"
        );
    }
    for (what, count) in [
        ("splices", census.spliced),
        ("races", census.raced),
        ("turns", census.went_on),
        ("sessions that wait for their turn", census.deferred),
        ("clients by header", census.introduced),
        ("backends told", census.told),
    ] {
        assert!(count >= seeds / 16, "too few {what}: {census:?}");
    }
}

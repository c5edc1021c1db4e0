//! Bytes as the choices of the simulation in `tests/simulation`: who sends what, which call fails, which event comes when. The session
//! is the real one, and what its model forbids is a crash.
//!
//! The simulation is the suite's own; only its dice are other ones. The first byte of an input says how many steps it has.
#![no_main]
#![allow(dead_code, reason = "what only the suite's own tests use")]

#[path = "../../tests/simulation/calls.rs"]
mod calls;
#[path = "../../tests/simulation/driver.rs"]
mod driver;
#[path = "../../tests/simulation/kernel.rs"]
mod kernel;
#[path = "../../tests/simulation/model.rs"]
mod model;
#[path = "../../tests/simulation/peer.rs"]
mod peer;
#[path = "tape.rs"]
mod rng;
#[path = "../../tests/simulation/stage.rs"]
mod stage;
#[path = "../../tests/simulation/world.rs"]
mod world;

use driver::{Census, run};
use libfuzzer_sys::fuzz_target;

/// Of a long script; a session takes some dozens to some hundreds.
const STEPS_MAX: u64 = 2_040;

fuzz_target!(|bytes: &[u8]| {
    let Some((length, script)) = bytes.split_first() else {
        return;
    };
    let steps = (u64::from(*length) + 1) * STEPS_MAX / 256;
    rng::put(script);
    if run(0, steps, false, &mut Census::default()).is_err() {
        rng::put(script);
        let Err(failure) = run(0, steps, true, &mut Census::default()) else {
            panic!("it passes when traced: the simulation isn't deterministic");
        };
        let story = failure.transcript.join("\n");
        panic!("{story}\nstep {}: {}", failure.step, failure.violations.join("; "));
    }
});

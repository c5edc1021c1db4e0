//! Samples on disk: the dashboard's half hour survives a restart.

use std::fs;
use std::path::Path;

use serde_json::Value;

use super::common::{Backend, Balancer, Config, eventually, greeted_by};

const HISTORY: &str = "/api/v1/history?service=echo";

fn times(balancer: &Balancer) -> Vec<String> {
    let history = balancer.admin().json(HISTORY);
    serde_json::from_value(history["times"].clone()).unwrap()
}

fn lines_in(folder: &Path) -> usize {
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    files
        .map(|file| fs::read_to_string(file).unwrap().matches('\n').count())
        .sum()
}

#[test]
fn the_samples_of_before_are_there_after_a_restart_and_after_a_crash() {
    let a = Backend::named("a");
    let folder = tempfile::tempdir().unwrap();
    let history = format!(
        "listen = \"127.0.0.1:0\"\n[history]\ndirectory = {:?}",
        folder.path().join("new")
    );
    let config = Config::with_backends(&[("a", a.address())]).admin(&history);
    let lb = Balancer::start(&config);
    greeted_by(lb.address());
    let first = eventually("two samples", || Some(times(&lb)).filter(|times| times.len() >= 2));
    lb.finish();
    let mut lb = Balancer::start(&config);
    let second = eventually("those and one of its own", || {
        Some(times(&lb)).filter(|times| times.len() > first.len())
    });
    assert_eq!(second[..first.len()], first[..]);
    // Written by a thread of its own: what is shown may not be on disk yet.
    eventually("all on disk", || {
        (lines_in(&folder.path().join("new")) >= second.len()).then_some(())
    });
    lb.program_mut().kill();
    lb.forget();
    let lb = Balancer::start(&config);
    eventually("all of them", || (times(&lb).starts_with(&second)).then_some(()));
    let history: Value = lb.admin().json(HISTORY);
    let total = &history["services"]["echo"]["backends"]["a"]["total"];
    assert!(total.as_array().unwrap().contains(&Value::from(1)), "{history}");
    lb.finish();
}

//! `lb` beside HAProxy, nginx and no balancer at all: the same load, the same backends, in turn, round by round.
//!
//! Run by `scripts/bench.sh` (`cargo bench --bench compare`). `case` says what is measured, `contender` who takes part, `place` on
//! which cores and in which network, `measure` is one measurement, with `usage` of the balancer; `summary` makes medians and ratios of
//! them, `table`, `page` and the JSON file tell it. `common` starts and ends the programs. It uses them as a user would, and of lb's
//! rooms only `page`.

mod case;
#[path = "../common/mod.rs"]
mod common;
mod contender;
mod measure;
mod page;
mod place;
mod summary;
mod table;
mod tools;
mod usage;

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;

use case::{Case, Load};
use common::machine::machine;
use common::{Failure, say};
use contender::{Contender, Kind};
use measure::{Offered, Sample};
use place::Place;
use summary::{Record, Results};

/// Measures lb beside HAProxy and nginx, in turn, and writes results/bench.json and results/bench.html.
#[derive(Parser)]
#[command(name = "scripts/bench.sh")]
struct Arguments {
    /// A look in under three minutes: few and short rounds, no scaling
    #[arg(long)]
    quick: bool,
    /// Rounds of every case; the median is told [default: 7, quick: 3]
    #[arg(long, value_name = "N")]
    rounds: Option<usize>,
    /// How long each measurement sends [default: 2, quick: 0.6]
    #[arg(long, value_name = "SECONDS")]
    seconds: Option<f64>,
    /// Only the cases whose name holds this
    #[arg(long, value_name = "PART")]
    only: Option<String>,
    /// Another HAProxy, beside the installed one
    #[arg(long, value_name = "PROGRAM", env = "HAPROXY")]
    haproxy: Option<PathBuf>,
    /// Another lb, such as that of an earlier commit, beside this one's
    #[arg(long, value_name = "PROGRAM")]
    lb: Option<PathBuf>,
    /// Only these, beside lb
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    beside: Vec<String>,
    /// Where the results go
    #[arg(long, value_name = "DIRECTORY", default_value = "results")]
    out: PathBuf,
    /// What cargo bench passes
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> ExitCode {
    match compare(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            drop(writeln!(io::stderr().lock(), "bench: {failure}"));
            ExitCode::FAILURE
        }
    }
}

fn compare(arguments: &Arguments) -> Result<(), Failure> {
    let begun = Instant::now();
    common::clear_away_when_interrupted()?;
    let place = Place::new()?;
    let mut contenders = contender::all(arguments.lb.as_deref(), arguments.haproxy.as_deref())?;
    if !arguments.beside.is_empty() {
        contenders.retain(|contender| contender.label == "lb" || arguments.beside.contains(&contender.label));
    }
    let mut cases = case::all(arguments.quick);
    if let Some(part) = &arguments.only {
        let names: Vec<String> = cases.iter().map(|case| case.id.clone()).collect();
        cases.retain(|case| case.id.contains(part.as_str()));
        if cases.is_empty() {
            return Err(format!(
                "--only: found \"{part}\", wanted a part of one of: {}",
                names.join(", ")
            )
            .into());
        }
    }
    let rounds = arguments.rounds.unwrap_or(if arguments.quick { 3 } else { 7 });
    let seconds = arguments.seconds.unwrap_or(if arguments.quick { 0.6 } else { 2.0 });
    say(&format!("{}\n{}", machine(), place.words()));
    for contender in &contenders {
        say(&format!("  {:<16} {}", contender.label, contender.version));
    }
    let rate_per_second = match cases.iter().any(|case| matches!(case.load, Load::Open { .. })) {
        true => half_of_capacity(&place, &contenders)?,
        false => 0.0,
    };
    let offered = Offered {
        seconds,
        rate_per_second,
    };
    let mut results = Results::new(place.words(), rounds, offered, &contenders, &cases);
    for round in 0..rounds {
        for case in cases.iter().filter(|case| round < case.rounds_max) {
            one_round(round, case, &place, &contenders, offered, &mut results);
        }
        say(&format!(
            "round {} of {rounds}: {:.0} s",
            round.saturating_add(1),
            begun.elapsed().as_secs_f64()
        ));
    }
    if arguments.only.is_none() {
        results.tools = tools::measure(&place, seconds);
    }
    results.seconds = begun.elapsed().as_secs_f64();
    say(&table::text(&results));
    std::fs::create_dir_all(&arguments.out)?;
    let (json, html) = (arguments.out.join("bench.json"), arguments.out.join("bench.html"));
    std::fs::write(&json, serde_json::to_string_pretty(&results.to_json())?)?;
    std::fs::write(&html, page::html(&results))?;
    say(&format!(
        "\n{} and {} written; {:.0} s",
        json.display(),
        html.display(),
        results.seconds
    ));
    match results.failures_of_ours() {
        0 => Ok(()),
        count => Err(format!("{count} measurements of lb, or without a balancer, failed; see above").into()),
    }
}

/// Everyone once. Who begins changes from round to round, so that nobody always comes after the same neighbour.
fn one_round(
    round: usize,
    case: &Case,
    place: &Place,
    contenders: &[Contender],
    offered: Offered,
    results: &mut Results,
) {
    let mut turn: Vec<&Contender> = contenders.iter().filter(|contender| case.admits(contender)).collect();
    let first = round.checked_rem(turn.len()).unwrap_or(0);
    turn.rotate_left(first);
    for contender in turn {
        let outcome = measure::one(case, contender, place, offered);
        if let Err(failure) = &outcome {
            say(&format!("{} through {}: {failure}", case.id, contender.label));
        }
        results.enter(Record {
            case: case.id.clone(),
            contender: contender.label.clone(),
            round,
            sample: outcome.map_err(|failure| failure.to_string()),
        });
    }
}

/// The load that everyone is offered in an open loop: half of what the slowest balancer does, in whole thousands.
fn half_of_capacity(place: &Place, contenders: &[Contender]) -> Result<f64, Failure> {
    let case = Case::request_response("capacity", 64, 64);
    let offered = Offered {
        seconds: 1.0,
        rate_per_second: 0.0,
    };
    let mut slowest = f64::INFINITY;
    for contender in contenders {
        if contender.kind != Kind::Direct && case.admits(contender) {
            let sample: Sample = measure::one(&case, contender, place, offered)?;
            slowest = slowest.min(sample.requests_per_second);
        }
    }
    Ok((slowest / 2000.0).floor().max(1.0) * 1000.0)
}

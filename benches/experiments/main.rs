//! What each policy does with real connections: seven experiments, each a chapter of one page with pictures.
//!
//! Run by `scripts/experiments.sh` (`cargo bench --bench experiments`). Each experiment is a module, and sets its `scene`: real
//! backends, a real `lb`, the real `client`; only the last, `scaling`, is simulated (`traffic`, `replicas`). `policy` has the
//! configurations that are compared, `chapter` is what an experiment hands over to the `report`, `access_log` and `http` read what the
//! programs tell, `figures` has the sums.

mod access_log;
mod chapter;
#[path = "../common/mod.rs"]
mod common;
mod crash;
mod even;
mod figures;
mod growing;
mod hashing;
mod http;
mod keys;
mod policy;
mod replicas;
mod report;
mod requests;
mod scaling;
mod scene;
mod slow;
mod sources;
mod traffic;

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;

use chapter::Chapter;
use common::machine::{machine, today};
use common::network::Network;
use common::{Failure, say};
use report::Report;
use scene::Stage;

/// Compares the policies on this machine, and writes results/report.html, results/a1.json and so on.
#[derive(Parser)]
#[command(name = "scripts/experiments.sh")]
struct Arguments {
    /// A look in under 40 seconds: fewer connections, fewer policies
    #[arg(long)]
    quick: bool,
    /// Only these
    #[arg(long, value_name = "EXPERIMENT", value_delimiter = ',', value_parser = NAMES)]
    only: Vec<String>,
    /// Where the results go
    #[arg(long, value_name = "DIRECTORY", default_value = "results")]
    out: PathBuf,
    /// What cargo bench passes
    #[arg(long, hide = true)]
    bench: bool,
}

const NAMES: [&str; 7] = ["a1", "a2", "a3", "a4", "a5", "a6", "a7"];

fn main() -> ExitCode {
    match experiment(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            drop(writeln!(io::stderr().lock(), "experiments: {failure}"));
            ExitCode::FAILURE
        }
    }
}

fn experiment(arguments: &Arguments) -> Result<(), Failure> {
    let begun = Instant::now();
    common::clear_away_when_interrupted()?;
    let stage = Stage {
        network: Network::new(),
        is_quick: arguments.quick,
    };
    let place = format!("{}, {}; {}", machine(), today(), stage.network.words());
    say(&place);
    let mut report = Report::new(&arguments.out, place)?;
    for name in NAMES {
        if arguments.only.is_empty() || arguments.only.iter().any(|only| only == name) {
            report.enter(name, run(name, &stage, &arguments.out))?;
            say(&format!("{name}: {:.0} s", begun.elapsed().as_secs_f64()));
        }
    }
    report.finish()
}

fn run(name: &str, stage: &Stage, out: &Path) -> Result<Chapter, Failure> {
    match name {
        "a1" => even::run(stage),
        "a2" => growing::run(stage),
        "a3" => crash::run(stage),
        "a4" => hashing::run(stage),
        "a5" => slow::run(stage),
        "a6" => requests::run(stage, &out.join("requests_per_server.txt")),
        _ => scaling::run(stage),
    }
}

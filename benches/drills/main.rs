//! Puts `lb` through its drills, or HAProxy or nginx in its place, and says what held: one table, and `results/drills.json`.
//!
//! Run by `scripts/drills.sh`. The drills themselves are tests of the suite (`tests/faults/`); each is started alone, with the release
//! build of the programs, and leaves a row, which `rows` keeps and `table` tells.

#[path = "../common/machine.rs"]
mod machine;
mod rows;
mod table;

use std::error::Error;
use std::ffi::OsString;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::Instant;

use clap::Parser;
use serde::Deserialize;

use rows::{Row, Rows};

/// Any reason to give up.
type Failure = Box<dyn Error + Send + Sync>;

/// In the order of the table. (T14, upgrades, is tests/upgrade.rs; T18 and T24 are of what lb hasn't got.)
const DRILLS: [&str; 23] = [
    "T1", "T2", "T3", "T4", "T5", "T6", "T7", "T8", "T9", "T10", "T11", "T12", "T13", "T15", "T16", "T17", "T19",
    "T20", "T22", "T23", "T25", "T26", "T28",
];
const SUBJECTS: [&str; 3] = ["lb", "haproxy", "nginx"];

/// Puts lb, or a peer in its place, through faults; prints what held, what was measured and what is to be beaten.
///
/// Needs root, ip and nft (each drill has network namespaces of its own), and strace for T25 and T28. Writes results/drills.json:
/// one row a drill and subject; what isn't run again stays. Exit 1 if something of lb's didn't hold.
#[derive(Parser)]
#[command(
    name = "scripts/drills.sh",
    after_help = "Examples:\n  scripts/drills.sh\n  scripts/drills.sh T2 T8\n  scripts/drills.sh --long --subject all\n  scripts/drills.sh --subject haproxy T3"
)]
struct Arguments {
    /// The long forms: a quarter of an hour a subject, on a machine with nothing else to do
    #[arg(long)]
    long: bool,
    /// Who is put to the test
    #[arg(long, value_name = "SUBJECT", default_value = "lb", value_parser = ["lb", "haproxy", "nginx", "all"])]
    subject: String,
    /// Puts the table into docs/reliability.md too
    #[arg(long)]
    docs: bool,
    /// Where drills.json is
    #[arg(long, value_name = "DIRECTORY", default_value = "results")]
    out: PathBuf,
    /// Where the release builds of lb, tcp_server and client are
    #[arg(long, value_name = "DIRECTORY", default_value = "target/release")]
    programs: PathBuf,
    /// Only these; all without
    #[arg(value_name = "DRILL", value_parser = DRILLS)]
    drills: Vec<String>,
    /// What cargo bench passes
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(failure) => {
            say_error(&format!("drills: {failure}"));
            ExitCode::FAILURE
        }
    }
}

fn say_error(line: &str) {
    drop(writeln!(io::stderr().lock(), "{line}"));
}

/// Whether all of lb's held.
fn run(arguments: &Arguments) -> Result<bool, Failure> {
    let begun = Instant::now();
    let suite = suite()?;
    let file = arguments.out.join("drills.json");
    let mut rows = Rows::read(&file)?;
    let wanted = |drill: &&str| arguments.drills.is_empty() || arguments.drills.iter().any(|name| name == drill);
    let subjects: Vec<&str> = SUBJECTS
        .into_iter()
        .filter(|subject| arguments.subject == "all" || arguments.subject == *subject)
        .collect();
    let drills: Vec<&str> = DRILLS.into_iter().filter(wanted).collect();
    for subject in &subjects {
        for drill in &drills {
            if let Some(row) = one(&suite, drill, subject, arguments)? {
                say_error(&table::line(&row));
                rows.put(row);
                // After each: a run that is broken off has told what it saw.
                rows.write(&file)?;
            }
        }
    }
    let text = table::text(&rows, &subjects, &drills);
    writeln!(io::stdout().lock(), "{text}")?;
    if arguments.docs {
        table::into_page(Path::new("docs/reliability.md"), &rows)?;
    }
    say_error(&format!("{}; {:.0} s", file.display(), begun.elapsed().as_secs_f64()));
    Ok(subjects
        .iter()
        .all(|subject| *subject != "lb" || rows.all_held(subject, &drills)))
}

/// Where cargo has put the suite, built if it must be.
fn suite() -> Result<PathBuf, Failure> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"));
    let output = Command::new(cargo)
        .args([
            "test",
            "--locked",
            "--test",
            "suite",
            "--no-run",
            "--quiet",
            "--message-format=json",
        ])
        .stderr(Stdio::inherit())
        .output()?;
    let lines = String::from_utf8(output.stdout)?;
    let mut built = lines
        .lines()
        .filter_map(|line| serde_json::from_str::<Built>(line).ok());
    let suite = built.find_map(|built| built.executable.filter(|_| built.target.name == "suite"));
    suite.ok_or_else(|| "the suite can't be built".into())
}

/// A line of cargo's, as far as it is of use here.
#[derive(Deserialize)]
struct Built {
    target: Target,
    executable: Option<PathBuf>,
}

#[derive(Deserialize)]
struct Target {
    name: String,
}

/// One drill of one subject, in a process of its own: its row, unless it isn't for that subject.
fn one(suite: &Path, drill: &str, subject: &str, arguments: &Arguments) -> Result<Option<Row>, Failure> {
    let folder = tempfile::tempdir()?;
    let output = Command::new(suite)
        .arg(format!("::{}_", drill.to_lowercase()))
        .env("LB_DRILLS_SUBJECT", subject)
        .env("LB_DRILLS_LONG", if arguments.long { "1" } else { "0" })
        .env("LB_DRILLS_ROWS", folder.path())
        .env("LB_TEST_PROGRAMS", std::path::absolute(&arguments.programs)?)
        .stdin(Stdio::null())
        .output()?;
    let file = folder.path().join(format!("{drill}-{subject}.json"));
    match std::fs::read_to_string(file) {
        Ok(text) => {
            let mut row: Row = serde_json::from_str(&text)?;
            row.date = machine::today();
            row.machine = machine::machine();
            Ok(Some(row))
        }
        Err(_) if output.status.success() => {
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            let skipped = said.lines().find(|line| line.contains("skipped"));
            skipped.map_or(Ok(None), |line| Err(line.to_owned().into()))
        }
        Err(_) => Err(format!(
            "{drill} of {subject} left no row:\n{}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        )
        .into()),
    }
}

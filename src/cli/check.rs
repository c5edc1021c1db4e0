//! `lb check`, and how a bad configuration file is told.

use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use super::human::counted;
use crate::config::{self, Config, Problems};
use crate::control;

/// `lb check`: 0 and one line on standard output, or 1 and every problem on standard error.
pub fn check(path: &Path) -> ExitCode {
    match config::load(path) {
        Err(problems) => report(&problems),
        Ok(config) => {
            let rights = match control::examine(&config, path) {
                Ok(words) => words,
                Err(wrong) => {
                    drop(writeln!(io::stderr().lock(), "{}: {wrong}", path.display())); // as with `report`
                    return ExitCode::FAILURE;
                }
            };
            let head = format!("{}: ok ({})", path.display(), summary(&config));
            let lines: Vec<String> = std::iter::once(head).chain(rights).collect();
            let said = writeln!(io::stdout().lock(), "{}", lines.join("\n"));
            // Nobody saw the "ok", for instance on a full disk: then it must not count as one.
            if said.is_ok() {
                ExitCode::SUCCESS
            } else {
                ExitCode::FAILURE
            }
        }
    }
}

/// Prints every problem to standard error; the exit status of a command that a bad file ends.
pub fn report(problems: &Problems) -> ExitCode {
    // With standard error gone there is nobody left to tell; the exit status still does.
    drop(writeln!(io::stderr().lock(), "{problems}"));
    ExitCode::FAILURE
}

fn summary(config: &Config) -> String {
    format!(
        "{}, {}",
        counted(config.services.len() as u64, "service"),
        counted(config.backends() as u64, "backend")
    )
}

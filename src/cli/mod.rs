//! The command line of `lb`: what may be typed, and the commands that need no running balancer.
//!
//! Called by `bin/lb.rs`: [`parse`] once, then [`check`], or for `run` [`config::load`] and, where that fails, [`report`].
//!
//! May not: start a balancer, or print anywhere but here.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::config::{self, Config, Problems};

/// A raw-TCP, layer-4 load balancer.
#[derive(Debug, Parser)]
#[command(name = "lb", version, after_help = EXAMPLES, disable_help_subcommand = true)]
pub struct Cli {
    /// The configuration file
    #[arg(long, global = true, value_name = "FILE", default_value = "lb.toml")]
    pub config: PathBuf,
    /// What to do; [`Command::Run`] where none is typed, see [`Cli::command`]
    #[command(subcommand)]
    pub subcommand: Option<Command>,
}

/// A subcommand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Subcommand)]
pub enum Command {
    /// Balance until told to stop (the default)
    #[command(after_help = RUN_EXAMPLE)]
    Run,
    /// Read the configuration file and print every problem, with its line and key
    #[command(after_help = CHECK_EXAMPLE)]
    Check,
}

const EXAMPLES: &str = "\
Examples:
  lb                               run, from ./lb.toml
  lb --config /etc/lb.toml         run, from another file
  lb check                         print every problem of ./lb.toml

Exit status: 0 done, 1 failed, 2 wrong usage";

const RUN_EXAMPLE: &str = "\
Example:
  lb run --config /etc/lb.toml

SIGTERM or SIGINT (Ctrl-C) drains and stops; a second one exits at once, with 1.
RUST_LOG=debug tells more than the log level of the file; NO_COLOR is heeded.";

const CHECK_EXAMPLE: &str = "\
Example:
  lb check --config /etc/lb.toml && systemctl restart lb

Exit status: 0 no problem, 1 a problem";

impl Cli {
    /// What to do.
    pub fn command(&self) -> Command {
        self.subcommand.unwrap_or(Command::Run)
    }
}

/// Reads the process's arguments. Ends the process itself for `--help` and `--version` (0) and for wrong usage (2).
pub fn parse() -> Cli {
    Cli::parse()
}

/// `lb check`: 0 and one line on standard output, or 1 and every problem on standard error.
pub fn check(path: &Path) -> ExitCode {
    match config::load(path) {
        Err(problems) => report(&problems),
        Ok(config) => {
            let said = writeln!(io::stdout().lock(), "{}: ok ({})", path.display(), summary(&config));
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
        counted(config.services.len(), "service"),
        counted(config.backends(), "backend")
    )
}

fn counted(number: usize, what: &str) -> String {
    if number == 1 {
        format!("1 {what}")
    } else {
        format!("{number} {what}s")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;
    use clap::error::ErrorKind;

    fn typed(arguments: &[&str]) -> Result<(Command, PathBuf), ErrorKind> {
        let cli = Cli::try_parse_from([&["lb"], arguments].concat()).map_err(|error| error.kind())?;
        Ok((cli.command(), cli.config))
    }

    #[test]
    fn the_definition_is_sound() {
        <Cli as CommandFactory>::command().debug_assert();
    }

    #[test]
    fn no_subcommand_means_run_from_lb_toml() {
        assert_eq!(typed(&[]), Ok((Command::Run, "lb.toml".into())));
        assert_eq!(typed(&["run"]), typed(&[]));
    }

    #[test]
    fn config_may_stand_before_or_after_the_subcommand() {
        assert_eq!(
            typed(&["--config", "a.toml", "check"]),
            Ok((Command::Check, "a.toml".into()))
        );
        assert_eq!(
            typed(&["check", "--config", "a.toml"]),
            Ok((Command::Check, "a.toml".into()))
        );
    }

    #[test]
    fn an_unknown_subcommand_is_wrong_usage() {
        assert_eq!(typed(&["chekc"]), Err(ErrorKind::InvalidSubcommand));
        assert_eq!(typed(&["--config"]), Err(ErrorKind::InvalidValue));
    }

    #[test]
    fn every_subcommand_has_an_example() {
        for subcommand in <Cli as CommandFactory>::command().get_subcommands() {
            let help = subcommand.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(
                help.contains(&format!("lb {}", subcommand.get_name())),
                "{}",
                subcommand.get_name()
            );
        }
    }

    #[test]
    fn one_is_singular() {
        assert_eq!(counted(1, "service"), "1 service");
        assert_eq!(counted(3, "backend"), "3 backends");
    }
}

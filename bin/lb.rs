//! `lb`: the balancer. Parses arguments, calls the library, turns the outcome into an exit status; nothing else.

use std::process::ExitCode;

use lb::cli::{self, Command};
use lb::{config, control, observe};

fn main() -> ExitCode {
    let arguments = cli::parse();
    match arguments.command() {
        Command::Check => cli::check(&arguments.config),
        Command::Remote(command) => cli::speak(&arguments.remote, &command),
        Command::Completions { shell } => cli::completions(shell),
        Command::Man { of } => cli::man(of.as_deref()),
        Command::Run => match config::load(&arguments.config) {
            Ok(config) => run(&config),
            Err(problems) => cli::report(&problems),
        },
    }
}

fn run(config: &config::Config) -> ExitCode {
    let log = observe::start_log(config.log.level);
    let signals = match control::watch_signals() {
        Ok(signals) => signals,
        Err(error) => {
            log::error!("can't watch for signals: {error}");
            return ExitCode::FAILURE;
        }
    };
    let outcome = match control::start(config) {
        Ok(running) => {
            running.serve(&signals);
            ExitCode::SUCCESS
        }
        Err(error) => {
            log::error!("{error}");
            ExitCode::FAILURE
        }
    };
    drop(log);
    outcome
}

//! `lb`: the balancer. Parses arguments, calls the library, turns the outcome into an exit status; nothing else.

use std::path::Path;
use std::process::ExitCode;

use lb::cli::{self, Command};
use lb::elastic::managed::{Managed, Surroundings};
use lb::{admin, config, control, keeper, observe};

fn main() -> ExitCode {
    let arguments = cli::parse();
    match arguments.command() {
        Command::Check => cli::check(&arguments.config),
        Command::Remote(command) => cli::speak(&arguments.remote, &command),
        Command::KeepReplica { .. } => keeper::run(),
        Command::Completions { shell } => cli::completions(shell),
        Command::Man { of } => cli::man(of.as_deref()),
        Command::Run => match config::load(&arguments.config) {
            Ok(config) => run(&config, &arguments.config),
            Err(problems) => cli::report(&problems),
        },
    }
}

fn run(config: &config::Config, path: &Path) -> ExitCode {
    let log = observe::start_log(config.log.level);
    let signals = match control::watch_signals() {
        Ok(signals) => signals,
        Err(error) => {
            log::error!("can't watch for signals: {error}");
            return ExitCode::FAILURE;
        }
    };
    let outcome = start(config, path).map(|(running, managed, admin)| {
        running.serve(&signals);
        managed.stop();
        drop(admin);
    });
    if let Err(error) = &outcome {
        log::error!("{error}");
    }
    drop(log);
    outcome.map_or(ExitCode::FAILURE, |()| ExitCode::SUCCESS)
}

/// All that runs.
type Started = (control::Running, Managed, Option<admin::AdminThread>);

/// Opens everything before anything runs.
fn start(config: &config::Config, path: &Path) -> Result<Started, String> {
    let admin = admin::Admin::open(&config.admin)?;
    let mut running = control::start(config, path).map_err(|error| error.to_string())?;
    if let Some(Ok(Some(address))) = admin.as_ref().map(admin::Admin::address) {
        running.keep_off(address);
    }
    let answer =
        |admin: admin::Admin| admin.start(running.board(), running.commander(), running.admin_connections_max());
    let thread = admin.map(answer).transpose();
    let thread = thread.map_err(|error| format!("can't start the thread admin: {error}"))?;
    let managed = managed(&running).map_err(|error| format!("can't start the thread replicas: {error}"))?;
    running.tell_ready(config);
    Ok((running, managed, thread))
}

fn managed(running: &control::Running) -> std::io::Result<Managed> {
    let around = Surroundings {
        board: running.board(),
        commander: running.commander(),
        requests: running.replica_requests(),
        keeper: Surroundings::OWN_PROGRAM.into(),
    };
    Managed::start(around, None)
}

//! `lb`: the balancer. Parses arguments, calls the library, turns the outcome into an exit status; nothing else.

use std::path::Path;
use std::process::ExitCode;

use lb::cli::{self, Command};
use lb::elastic::{discovery, managed};
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
    // Ports and rights first: every thread, the log's too, has to be inside the sandbox.
    let inherited = control::Inherited::take();
    let witness = inherited.as_ref().ok().and_then(control::Inherited::witness);
    let inherited = inherited.and_then(|inherited| inherited.prepare(config, path));
    let log = observe::start_log(config.log.level);
    let signals = match control::watch_signals() {
        Ok(signals) => signals,
        Err(error) => {
            log::error!("can't watch for signals: {error}");
            return ExitCode::FAILURE;
        }
    };
    let outcome = inherited
        .and_then(|inherited| start(config, path, inherited))
        .map(|(running, rooms)| {
            running.serve(&signals);
            rooms.managed.stop();
        });
    if let Err(error) = &outcome {
        log::error!("{error}");
    }
    drop((log, witness)); // in this order
    outcome.map_or(ExitCode::FAILURE, |()| ExitCode::SUCCESS)
}

/// The threads beside those of traffic.
struct Rooms {
    managed: managed::Managed,
    _discovery: discovery::DiscoveryThread,
    _admin: Option<admin::AdminThread>,
}

/// Opens everything before anything runs.
fn start(
    config: &config::Config,
    path: &Path,
    mut inherited: control::Inherited,
) -> Result<(control::Running, Rooms), String> {
    fn no_thread<T>(name: &str, started: std::io::Result<T>) -> Result<T, String> {
        started.map_err(|error| format!("can't start the thread {name}: {error}"))
    }
    let admin = admin::Admin::open(config, &mut inherited)?;
    let replicas = inherited.luggage(managed::NAME);
    let mut running = control::start(config, path, inherited).map_err(|error| error.to_string())?;
    if let Some(Ok(Some(address))) = admin.as_ref().map(admin::Admin::address) {
        running.keep_off(address);
    }
    let answer =
        |admin: admin::Admin| admin.start(running.board(), running.commander(), running.admin_connections_max());
    let mut admin = no_thread("admin", admin.map(answer).transpose())?;
    if let Some(companion) = admin.as_mut().and_then(admin::AdminThread::companion) {
        running.accompany(Box::new(companion));
    }
    let around = managed::Surroundings {
        board: running.board(),
        commander: running.commander(),
        requests: running.replica_requests(),
        keeper: managed::Surroundings::OWN_PROGRAM.into(),
    };
    let managed = no_thread("replicas", managed::Managed::start(around, replicas))?;
    running.accompany(Box::new(managed.companion()));
    let finder = no_thread("discovery", discovery::start(running.board(), running.commander()))?;
    running.tell_ready(config);
    let rooms = Rooms {
        managed,
        _discovery: finder,
        _admin: admin,
    };
    Ok((running, rooms))
}

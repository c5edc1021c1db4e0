//! What may be typed, as clap reads it. The help, the completions and the manual come from these definitions too.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::builder::NonEmptyStringValueParser;
use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap::{ArgMatches, Args, CommandFactory, FromArgMatches, Parser, Subcommand};
use clap_complete::Shell;

use super::examples;

/// A raw-TCP, layer-4 load balancer.
#[derive(Debug, Parser)]
#[command(name = "lb", version, after_help = examples::ALL, disable_help_subcommand = true)]
pub struct Cli {
    /// The configuration file
    #[arg(long, global = true, value_name = "FILE", default_value = "lb.toml")]
    pub config: PathBuf,
    /// Where a running lb is asked.
    #[command(flatten)]
    pub remote: RemoteFlags,
    /// What to do; [`Command::Run`] where none is typed, see [`Cli::command`]
    #[command(subcommand)]
    pub subcommand: Option<Command>,
}

/// Flags of the commands that speak to a running lb. Read as they are: a bad value in the environment is no matter of `lb run`.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
#[command(next_help_heading = "For the commands that ask a running lb")]
pub struct RemoteFlags {
    /// The `[admin] listen` of its lb.toml: ADDRESS:PORT, or unix:/path/to/socket
    #[arg(
        long,
        global = true,
        value_name = "ADDR",
        env = "LB_ADMIN",
        default_value = "127.0.0.1:8000"
    )]
    pub admin: String,
    /// A file that holds a token: its first line that isn't empty and no comment, `TOKEN` or `role:TOKEN`
    #[arg(long, global = true, value_name = "FILE", env = "LB_TOKEN_FILE")]
    pub token_file: Option<OsString>,
    /// Print what lb answers, as JSON
    #[arg(long, global = true)]
    pub json: bool,
}

/// A subcommand.
#[derive(Clone, Debug, PartialEq, Eq, Subcommand)]
pub enum Command {
    /// Balance until told to stop (the default)
    #[command(after_help = examples::RUN)]
    Run,
    /// Read the configuration file and print every problem, with its line and key
    #[command(after_help = examples::CHECK)]
    Check,
    /// One that asks a running lb.
    #[command(flatten)]
    Remote(RemoteCommand),
    /// Keep one replica alive, for the lb that started this; nothing to type
    #[command(hide = true)]
    KeepReplica {
        /// Which one, for whoever looks at the list of processes
        #[arg(value_name = "SERVICE/NAME")]
        of: Option<String>,
    },
    /// Print a script that completes what is typed
    #[command(after_help = examples::COMPLETIONS)]
    Completions {
        /// Of which shell
        #[arg(value_name = "SHELL")]
        shell: Shell,
    },
    /// Print the manual, for man(1)
    #[command(after_help = examples::MAN)]
    Man {
        /// The page of one subcommand
        #[arg(value_name = "COMMAND")]
        of: Option<String>,
    },
}

/// A subcommand that asks a running lb.
#[derive(Clone, Debug, PartialEq, Eq, Subcommand)]
pub enum RemoteCommand {
    /// Show what lb is doing: its services and their backends
    #[command(after_help = examples::STATUS)]
    Status,
    /// List the backends, of all services or of one
    #[command(after_help = examples::BACKENDS)]
    Backends {
        /// The service; all, if none is named
        #[arg(value_parser = NonEmptyStringValueParser::new())]
        service: Option<String>,
    },
    /// Add a backend to a service
    #[command(after_help = examples::ADD)]
    Add {
        /// Which one
        #[command(flatten)]
        backend: Named,
        /// Where it listens: an IP address and a port
        address: String,
        /// How much it gets, compared to the others
        #[arg(long, value_name = "W", default_value_t = 1)]
        weight: u32,
        /// Use it only while no other backend is up
        #[arg(long)]
        backup: bool,
    },
    /// Remove a backend from a service, when its connections have ended
    #[command(after_help = examples::REMOVE)]
    Remove {
        /// Which one
        #[command(flatten)]
        backend: Named,
        /// How long its connections may live on; the drain_timeout of lb.toml, if it isn't said
        #[arg(long, value_name = "TIME")]
        drain: Option<String>,
    },
    /// Give a backend no new connection
    #[command(after_help = examples::DRAIN)]
    Drain {
        /// Which one
        #[command(flatten)]
        backend: Named,
    },
    /// Give a backend new connections again
    #[command(after_help = examples::RESUME)]
    Resume {
        /// Which one
        #[command(flatten)]
        backend: Named,
    },
    /// Change the weight of a backend
    #[command(after_help = examples::WEIGHT)]
    Weight {
        /// Which one
        #[command(flatten)]
        backend: Named,
        /// 0 = takes no new connection
        #[arg(value_name = "W")]
        weight: u32,
    },
    /// Read the configuration file again, and put in force what changed
    #[command(after_help = examples::RELOAD)]
    Reload,
    /// Start the program anew, which takes over without losing a connection
    #[command(after_help = examples::UPGRADE)]
    Upgrade,
    /// List live connections
    #[command(after_help = examples::CONNECTIONS)]
    Connections {
        /// Only of this service
        #[arg(value_parser = NonEmptyStringValueParser::new())]
        service: Option<String>,
        /// Only of this backend
        #[arg(long, value_name = "NAME", value_parser = NonEmptyStringValueParser::new())]
        backend: Option<String>,
        /// At most so many
        #[arg(long, value_name = "N", default_value_t = 100)]
        limit: u32,
    },
    /// End a live connection
    #[command(after_help = examples::END)]
    End {
        /// As `lb connections` shows it
        #[arg(value_parser = NonEmptyStringValueParser::new())]
        id: String,
    },
    /// Watch lb live, and steer it
    #[command(after_help = examples::TOP)]
    Top,
}

/// A backend by its names.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub struct Named {
    /// The service
    #[arg(value_parser = NonEmptyStringValueParser::new())]
    pub service: String,
    /// The backend's name
    #[arg(value_parser = NonEmptyStringValueParser::new())]
    pub name: String,
}

impl Cli {
    /// What to do.
    pub fn command(&self) -> Command {
        self.subcommand.clone().unwrap_or(Command::Run)
    }
}

/// Reads the process's arguments. Ends the process itself for `--help` and `--version` (0) and for wrong usage (2).
pub fn parse() -> Cli {
    parsed(std::env::args_os()).unwrap_or_else(|error| error.exit())
}

fn parsed(arguments: impl IntoIterator<Item: Into<OsString> + Clone>) -> Result<Cli, clap::Error> {
    let mut command = <Cli as CommandFactory>::command();
    let matches = command.try_get_matches_from_mut(arguments)?;
    let cli = Cli::from_arg_matches(&matches).map_err(|error| error.format(&mut command))?;
    if let (false, Some(flag)) = (matches!(cli.command(), Command::Remote(_)), typed_remote_flag(&matches)) {
        let name = matches.subcommand_name().unwrap_or("run");
        let message =
            format!("the argument '--{flag}' is only for commands that ask a running lb; 'lb {name}' doesn't");
        return Err(command.error(ErrorKind::ArgumentConflict, message));
    }
    Ok(cli)
}

/// A flag of [`RemoteFlags`] that was typed, not taken from the environment.
fn typed_remote_flag(matches: &ArgMatches) -> Option<&'static str> {
    let is_typed = |id: &str| matches.value_source(id) == Some(ValueSource::CommandLine);
    let flags = [("admin", "admin"), ("token_file", "token-file"), ("json", "json")];
    flags.into_iter().find(|(id, _)| is_typed(id)).map(|(_, flag)| flag)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cli(arguments: &[&str]) -> Result<Cli, ErrorKind> {
        parsed([&["lb"], arguments].concat()).map_err(|error| error.kind())
    }

    fn typed(arguments: &[&str]) -> Result<(Command, PathBuf), ErrorKind> {
        cli(arguments).map(|cli| (cli.command(), cli.config))
    }

    fn remote(arguments: &[&str]) -> RemoteCommand {
        match typed(arguments).map(|(command, _)| command) {
            Ok(Command::Remote(command)) => command,
            other => panic!("{arguments:?}: {other:?}"),
        }
    }

    fn echo_a() -> Named {
        Named {
            service: "echo".into(),
            name: "a".into(),
        }
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
    fn global_flags_may_stand_before_or_after_the_subcommand() {
        let check = Ok((Command::Check, "a.toml".into()));
        assert_eq!(typed(&["--config", "a.toml", "check"]), check);
        assert_eq!(typed(&["check", "--config", "a.toml"]), check);
        let flags = ["--admin", "[::1]:1", "--token-file", "t", "--json"];
        let (before, after) = ([&flags[..], &["status"]].concat(), [&["status"], &flags[..]].concat());
        let (before, after) = (cli(&before).unwrap().remote, cli(&after).unwrap().remote);
        assert_eq!(before, after);
        assert_eq!((before.admin.as_str(), before.json), ("[::1]:1", true));
        assert_eq!(before.token_file, Some("t".into()));
    }

    #[test]
    fn what_only_a_running_lb_can_answer_is_not_asked_of_another_command() {
        for arguments in [
            &["--json"][..],
            &["run", "--admin", "127.0.0.1:1"],
            &["--token-file", "t", "check"],
            &["man", "--json"],
        ] {
            assert_eq!(typed(arguments), Err(ErrorKind::ArgumentConflict), "{arguments:?}");
        }
    }

    #[test]
    fn a_backend_is_named_by_its_service_and_its_name() {
        let backend = echo_a();
        let typed = remote(&["add", "echo", "a", "127.0.0.1:1", "--weight", "3", "--backup"]);
        let address = "127.0.0.1:1".into();
        let (weight, backup) = (3, true);
        let add = RemoteCommand::Add {
            backend,
            address,
            weight,
            backup,
        };
        assert_eq!(typed, add);
        let drain = Some("5m".into());
        let backend = echo_a();
        let removal = RemoteCommand::Remove { backend, drain };
        assert_eq!(remote(&["remove", "echo", "a", "--drain", "5m"]), removal);
        assert_eq!(
            remote(&["drain", "echo", "a"]),
            RemoteCommand::Drain { backend: echo_a() }
        );
        assert_eq!(
            remote(&["resume", "echo", "a"]),
            RemoteCommand::Resume { backend: echo_a() }
        );
        let (backend, weight) = (echo_a(), 0);
        assert_eq!(
            remote(&["weight", "echo", "a", "0"]),
            RemoteCommand::Weight { backend, weight }
        );
    }

    #[test]
    fn what_is_listed_may_be_narrowed() {
        assert_eq!(remote(&["backends"]), RemoteCommand::Backends { service: None });
        let (service, backend, limit) = (Some("echo".into()), Some("a".into()), 7);
        let narrowed = remote(&["connections", "echo", "--backend", "a", "--limit", "7"]);
        assert_eq!(
            narrowed,
            RemoteCommand::Connections {
                service,
                backend,
                limit
            }
        );
    }

    #[test]
    fn wrong_usage_is_told_by_kind() {
        assert_eq!(typed(&["chekc"]), Err(ErrorKind::InvalidSubcommand));
        assert_eq!(typed(&["--config"]), Err(ErrorKind::InvalidValue));
        assert_eq!(typed(&["drain", "echo"]), Err(ErrorKind::MissingRequiredArgument));
        assert_eq!(typed(&["drain", "echo", ""]), Err(ErrorKind::InvalidValue));
        assert_eq!(typed(&["weight", "echo", "a", "-1"]), Err(ErrorKind::UnknownArgument));
        assert_eq!(typed(&["weight", "echo", "a", "much"]), Err(ErrorKind::ValueValidation));
        assert_eq!(typed(&["completions", "cmd.exe"]), Err(ErrorKind::InvalidValue));
    }

    #[test]
    fn every_subcommand_has_an_example() {
        let all = <Cli as CommandFactory>::command();
        for subcommand in all.get_subcommands().filter(|subcommand| !subcommand.is_hide_set()) {
            let help = subcommand.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(
                help.contains("Example") && help.contains(&format!("lb {}", subcommand.get_name())),
                "{}",
                subcommand.get_name()
            );
        }
    }
}

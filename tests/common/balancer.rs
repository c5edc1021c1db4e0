//! A running `lb`, and what must hold when a test is over.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;

use super::{Config, Http, Process, Program, Signal, eventually, tell};

/// `lb` with a configuration, in a folder of its own. Dropped, it is checked: see [`Balancer::finish`].
pub(crate) struct Balancer {
    program: Program,
    addresses: BTreeMap<String, Vec<SocketAddr>>,
    config: String,
    folder: TempDir,
    services: Vec<String>,
    fds: usize,
    threads: usize,
    is_checked: bool,
}

/// What `lb` told when it stopped.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Closing {
    /// Of each service: its connections and how they ended.
    pub(crate) services: BTreeMap<String, (u64, BTreeMap<String, u64>)>,
    /// Of each `service: backend`, the line about it.
    pub(crate) backends: BTreeMap<String, String>,
}

impl Closing {
    /// How often the first service's connections ended so.
    pub(crate) fn ended(&self, end: &str) -> u64 {
        self.service("echo").1.get(end).copied().unwrap_or(0)
    }

    pub(crate) fn service(&self, name: &str) -> &(u64, BTreeMap<String, u64>) {
        &self.services[name]
    }

    /// The number before `what` in the line about a backend of `echo`.
    pub(crate) fn backend(&self, name: &str, what: &str) -> u64 {
        let line = &self.backends[&format!("echo: {name}")];
        let part = line.split(", ").find_map(|part| part.strip_suffix(what));
        part.unwrap_or_else(|| panic!("no {what:?} in {line:?}"))
            .trim()
            .parse()
            .unwrap()
    }
}

/// The command that runs `lb` in `folder`, where `lb.toml` is.
pub(crate) fn lb_command(folder: &Path) -> Command {
    let mut command = Command::new(built("lb", env!("CARGO_BIN_EXE_lb")));
    command.current_dir(folder);
    command
}

/// The same command, run by another program: in its folder, its streams captured.
pub(crate) fn run_by(by: &[&str], command: &Command) -> Command {
    let mut outer = Command::new(by[0]);
    outer.args(&by[1..]).arg(command.get_program()).args(command.get_args());
    outer.stdout(Stdio::piped()).stderr(Stdio::piped());
    if let Some(folder) = command.get_current_dir() {
        outer.current_dir(folder);
    }
    outer
}

/// One of the package's programs: of the folder `LB_TEST_PROGRAMS` (release builds, for figures), else the one built with the tests.
fn built(name: &str, debug: &str) -> PathBuf {
    std::env::var_os("LB_TEST_PROGRAMS").map_or_else(|| debug.into(), |folder| Path::new(&folder).join(name))
}

/// The command that runs `client`.
pub(crate) fn client_command() -> Command {
    Command::new(built("client", env!("CARGO_BIN_EXE_client")))
}

/// A real echo backend: the program, and where it listens.
pub(crate) fn tcp_server(arguments: &[&str]) -> (Program, SocketAddr) {
    let mut command = Command::new(built("tcp_server", env!("CARGO_BIN_EXE_tcp_server")));
    command.args(arguments);
    let program = Program::captured(command);
    let line = program.line("listening on ");
    let address = line.rsplit_once(' ').unwrap().1.parse().unwrap();
    (program, address)
}

impl Balancer {
    pub(crate) fn start(config: &Config) -> Self {
        Self::start_with(config, |command| command)
    }

    /// `change` may put another program before it, or other streams.
    pub(crate) fn start_with(config: &Config, change: impl FnOnce(Command) -> Command) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("lb.toml"), config.text()).unwrap();
        let mut command = lb_command(folder.path());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let program = Program::start(change(command));
        let mut balancer = Self {
            program,
            addresses: BTreeMap::new(),
            config: config.text(),
            folder,
            services: config.names(),
            fds: 0,
            threads: 0,
            is_checked: false,
        };
        balancer.wait_until_ready();
        balancer
    }

    fn wait_until_ready(&mut self) {
        for name in &self.services {
            let line = self.program.line(&format!("{name}: listening on "));
            let (_, rest) = line.split_once(": listening on ").unwrap();
            let (addresses, _) = rest.rsplit_once(", ").unwrap();
            let addresses = addresses.split(" and ").map(|address| address.parse().unwrap());
            self.addresses.insert(name.clone(), addresses.collect());
        }
        self.program.line("ready: ");
        self.fds = self.program.process().fds();
        self.threads = self.program.process().threads();
    }

    /// Its admin port, for a configuration that has one.
    pub(crate) fn admin(&self) -> Http {
        let line = self.program.line("admin: dashboard, API and metrics on http://");
        let (_, rest) = line.split_once("http://").unwrap();
        Http::new(rest.trim_end_matches('/').parse().unwrap())
    }

    /// Where the first service listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.addresses_of(&self.services[0])[0]
    }

    pub(crate) fn addresses_of(&self, service: &str) -> &[SocketAddr] {
        &self.addresses[service]
    }

    /// Writes another file, which nobody has read yet.
    pub(crate) fn write(&self, config: &Config) {
        // Whole or not at all, as an editor does it.
        let next = self.folder().join("lb.toml.next");
        std::fs::write(&next, config.text()).unwrap();
        std::fs::rename(&next, self.folder().join("lb.toml")).unwrap();
    }

    /// Puts another file in force; what lb says that it changed.
    pub(crate) fn reload(&self, admin: &Http, config: &Config) -> Vec<String> {
        self.write(config);
        let answer = admin.ask("POST", "/api/v1/reload", &[], "");
        assert_eq!(answer.status, 200, "{}", answer.text());
        serde_json::from_value(answer.json()["changes"].clone()).unwrap()
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn process(&self) -> Process {
        self.program.process()
    }

    /// Descriptors beyond those it started with.
    pub(crate) fn fds_more(&self) -> usize {
        self.process().fds().saturating_sub(self.fds)
    }

    /// Waits until it has exactly so many descriptors more than at its start.
    pub(crate) fn wait_for_fds_more(&self, count: usize) {
        eventually(&format!("{count} descriptors more than at the start"), || {
            (self.fds_more() == count).then_some(())
        });
    }

    /// Waits until it holds no more than when it started.
    pub(crate) fn wait_until_idle(&self) {
        let process = self.process();
        eventually(
            &format!("at most {} descriptors, {} threads", self.fds, self.threads),
            || (process.fds() <= self.fds && process.threads() <= self.threads).then_some(()),
        );
    }

    /// The end of a test: no session left, nothing held, it stops when asked, and what it tells adds up.
    pub(crate) fn finish(mut self) -> Closing {
        self.check()
    }

    fn check(&mut self) -> Closing {
        self.is_checked = true;
        self.wait_until_idle();
        self.program.signal(Signal::TERM);
        self.check_stopped()
    }

    /// The end of a test with replicas, which hold descriptors: it stops when asked, and what it tells adds up.
    pub(crate) fn finish_with_replicas(mut self) -> Closing {
        self.is_checked = true;
        self.program.signal(Signal::TERM);
        self.check_stopped()
    }

    /// For a test that has told it to stop by itself.
    pub(crate) fn finish_stopped(mut self) -> Closing {
        self.is_checked = true;
        self.check_stopped()
    }

    /// For a test that has ended it in a way that can't be checked.
    pub(crate) fn forget(mut self) {
        self.is_checked = true;
    }

    pub(crate) const fn program_mut(&mut self) -> &mut Program {
        &mut self.program
    }

    fn check_stopped(&mut self) -> Closing {
        assert_eq!(self.program.exit_code(), Some(0), "exit code of lb");
        for wrong in ["fault of lb", "faults of lb", "panicked", "doesn't stop"] {
            let lines = self.program.lines_with(wrong);
            assert!(lines.is_empty(), "{lines:#?}");
        }
        let mut closing = Closing::default();
        for service in self.services.clone() {
            let prefix = format!("] {service}: ");
            for line in self.program.stderr() {
                let Some((_, said)) = line.split_once(&prefix) else {
                    continue;
                };
                if let Some((count, ends)) = said.split_once(" connections, 0 still there (") {
                    let ends = ends_of(ends.trim_end_matches(')'));
                    let count: u64 = count.parse().unwrap();
                    assert_eq!(ends.values().sum::<u64>(), count, "the ends add up: {line}");
                    closing.services.insert(service.clone(), (count, ends));
                } else if let Some((name, figures)) = said.split_once(": ")
                    && figures.contains(" failed connects, ")
                {
                    closing
                        .backends
                        .insert(format!("{service}: {name}"), figures.to_owned());
                }
            }
        }
        let told: Vec<_> = closing.services.keys().collect();
        assert_eq!(
            told.len(),
            self.services.len(),
            "every service is told of at the end, not only {told:?}"
        );
        closing
    }
}

fn ends_of(text: &str) -> BTreeMap<String, u64> {
    text.split(", ")
        .filter_map(|part| part.rsplit_once(' '))
        .map(|(end, count)| (end.to_owned(), count.parse().unwrap()))
        .collect()
}

impl Deref for Balancer {
    type Target = Program;

    fn deref(&self) -> &Program {
        &self.program
    }
}

impl Drop for Balancer {
    fn drop(&mut self) {
        if std::thread::panicking() {
            tell(&format!("--- lb.toml:\n{}\n{}", self.config, self.program.story()));
        } else if !self.is_checked {
            self.check();
        }
    }
}

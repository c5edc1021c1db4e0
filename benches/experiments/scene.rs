//! The scene of a measurement: backends, lb before them with the configuration in question, and a client let loose on it.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::access_log::{self, Entry};
use crate::common::folder::Folder;
use crate::common::load::{Load, Report, start_server, told_address};
use crate::common::network::Network;
use crate::common::program::{Program, free_address};
use crate::common::{Failure, say};
use crate::http;
use crate::policy::Policy;

/// How long something that must happen may take.
const PATIENCE: Duration = Duration::from_secs(20);
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// What all experiments are told.
#[derive(Debug)]
pub(crate) struct Stage {
    pub(crate) network: Network,
    pub(crate) is_quick: bool,
}

/// What a scene is made of.
#[derive(Clone, Debug)]
pub(crate) struct Setup<'a> {
    pub(crate) policy: Policy,
    /// Further lines of `[[service]]`.
    pub(crate) keys: &'a str,
    /// Further tables of it.
    pub(crate) tables: &'a str,
    /// One backend each: how long it takes to answer.
    pub(crate) delays: Vec<&'static str>,
    /// Whether lb leads to the side ports of the backends, which say their names, instead of the echo.
    pub(crate) is_http: bool,
}

/// Nobody but the clients connects: the backends' own counts are exact then.
pub(crate) const NO_HEALTH: &str = "[service.health]\nkind = \"off\"\n";

struct Server {
    program: Program,
    address: SocketAddr,
    http: SocketAddr,
}

/// Programs at work.
pub(crate) struct Scene<'a> {
    folder: &'a Path,
    servers: Vec<Server>,
    lb: Program,
    /// Where lb listens.
    pub(crate) listen: SocketAddr,
    setup: &'a Setup<'a>,
}

/// The name of the backend at a place.
pub(crate) fn server_name(place: usize) -> String {
    format!("server-{}", place.saturating_add(1))
}

impl Stage {
    /// Sets a scene in a network of its own and lets `act` play there. A failure tells the end of lb's log too.
    pub(crate) fn play<T: Send>(
        &self,
        setup: &Setup<'_>,
        act: impl FnOnce(&mut Scene<'_>) -> Result<T, Failure> + Send,
    ) -> Result<T, Failure> {
        self.network.within(|| {
            let folder = Folder::open()?;
            let mut scene = Scene::start(folder.path(), setup)?;
            act(&mut scene).map_err(|failure| {
                let (policy, log) = (setup.policy.label, scene.lb.log_tail());
                format!("{policy}: {failure}\nthe end of lb's log:\n{log}").into()
            })
        })
    }

    /// One number for the whole, another for a quick look.
    pub(crate) fn either<T>(&self, whole: T, quick: T) -> T {
        if self.is_quick { quick } else { whole }
    }
}

impl<'a> Scene<'a> {
    fn start(folder: &'a Path, setup: &'a Setup<'a>) -> Result<Self, Failure> {
        let start = |(place, delay): (usize, &&str)| start_one(folder, place, "0", delay);
        let servers: Vec<Server> = setup
            .delays
            .iter()
            .enumerate()
            .map(start)
            .collect::<Result<_, Failure>>()?;
        let listen = free_address()?;
        let file = folder.join("lb.toml");
        fs::write(&file, configuration(folder, setup, listen, &servers))?;
        let mut command = Command::new(env!("CARGO_BIN_EXE_lb"));
        let mut lb = Program::start(command.arg("--config").arg(&file), &folder.join("lb.log"))?;
        lb.await_listening(listen)?;
        Ok(Self {
            folder,
            servers,
            lb,
            listen,
            setup,
        })
    }

    /// Lets the client loose; every byte must come back.
    pub(crate) fn load(&self, arguments: &[&str]) -> Result<Report, Failure> {
        let report = self.begin_load(arguments)?.finish_answered()?;
        match report.0.pointer("/errors").and_then(Value::as_object) {
            Some(errors) if errors.is_empty() => Ok(report),
            errors => Err(format!("connections ended wrongly: {errors:?}").into()),
        }
    }

    /// The same, without waiting for it.
    pub(crate) fn begin_load(&self, arguments: &[&str]) -> Result<Load, Failure> {
        Load::start(self.listen, arguments, self.folder)
    }

    /// Connections that each backend has taken, as it says itself.
    pub(crate) fn connections(&self) -> Result<Vec<f64>, Failure> {
        let count = |server: &Server| {
            let page = http::get(Ipv4Addr::LOCALHOST, server.http, "/metrics")?;
            let line = page
                .lines()
                .find_map(|line| line.strip_prefix("echo_connections_total "));
            let count = line.and_then(|count| count.parse().ok());
            count.ok_or_else(|| format!("no echo_connections_total in {page:?}").into())
        };
        self.servers.iter().map(count).collect()
    }

    /// Kills a backend, as a crash would.
    pub(crate) fn kill(&mut self, place: usize) -> Result<Timestamp, Failure> {
        let server = self.servers.get_mut(place).ok_or("no such backend")?;
        let pid = Pid::from_raw(server.program.id().cast_signed()).ok_or("no such program")?;
        let now = Timestamp::now();
        kill_process(pid, Signal::KILL)?;
        server.program.wait()?;
        Ok(now)
    }

    /// Starts it again where it was. When it was ready.
    pub(crate) fn start_again(&mut self, place: usize) -> Result<Timestamp, Failure> {
        let server = self.servers.get_mut(place).ok_or("no such backend")?;
        let delay = self.setup.delays.get(place).ok_or("no such backend")?;
        let http = server.http.port().to_string();
        let port = server.address.port().to_string();
        *server = start_one_at(self.folder, place, [&port, &http], delay)?;
        Ok(Timestamp::now())
    }

    /// When lb's log said a line with these words, after `since`; waits for it.
    pub(crate) fn await_log(&self, words: &str, since: Timestamp) -> Result<Timestamp, Failure> {
        let file = self.folder.join("lb.log");
        await_some(&format!("lb to say {words:?}"), || {
            let text = fs::read_to_string(&file)?;
            let mut moments = text.lines().filter(|line| line.contains(words)).filter_map(moment);
            Ok(moments.find(|moment| *moment >= since))
        })
    }

    /// The access log, once it has so many lines.
    pub(crate) fn await_access_log(&self, count: usize) -> Result<Vec<Entry>, Failure> {
        let file = access_file(self.folder);
        await_some(&format!("{count} lines in the access log"), || {
            let entries = access_log::read(&file)?;
            Ok((entries.len() >= count).then_some(entries))
        })
    }
}

fn start_one(folder: &Path, place: usize, port: &str, delay: &str) -> Result<Server, Failure> {
    start_one_at(folder, place, [port, "0"], delay)
}

fn start_one_at(folder: &Path, place: usize, [port, http]: [&str; 2], delay: &str) -> Result<Server, Failure> {
    let name = server_name(place);
    let log = folder.join(format!("{name}.log"));
    let (mut program, address) = start_server([port, "--id", &name, "--http", http, "--delay", delay], &log)?;
    let http = told_address(&mut program)?;
    Ok(Server { program, address, http })
}

fn access_file(folder: &Path) -> PathBuf {
    folder.join("access.log")
}

fn configuration(folder: &Path, setup: &Setup<'_>, listen: SocketAddr, servers: &[Server]) -> String {
    let access = access_file(folder);
    let mut text = format!(
        "[log]\naccess = \"{}\"\n\n[admin]\nlisten = \"off\"\n\n[[service]]\nname = \"echo\"\nlisten = \"{listen}\"\n{}\n{}\n\n{}\n",
        access.display(),
        setup.policy.keys,
        setup.keys,
        setup.tables
    );
    for (place, server) in servers.iter().enumerate() {
        let address = if setup.is_http { server.http } else { server.address };
        let name = server_name(place);
        text.push_str(&format!(
            "[[service.backend]]\nname = \"{name}\"\naddress = \"{address}\"\n\n"
        ));
    }
    text
}

/// When a line of lb's log was written: it begins with `[2026-01-31T12:00:00.123Z `.
fn moment(line: &str) -> Option<Timestamp> {
    line.strip_prefix('[')?.split(' ').next()?.parse().ok()
}

/// Looks until there is something.
fn await_some<T>(what: &str, mut look: impl FnMut() -> Result<Option<T>, Failure>) -> Result<T, Failure> {
    let until = Instant::now().checked_add(PATIENCE).ok_or("no such time")?;
    loop {
        if let Some(found) = look()? {
            return Ok(found);
        }
        if Instant::now() >= until {
            return Err(format!("waited {} s in vain for {what}", PATIENCE.as_secs()).into());
        }
        thread::park_timeout(LOOK_EVERY);
    }
}

/// Says what was just measured, so that whoever waits sees it go on.
pub(crate) fn tell(experiment: &str, words: &str) {
    say(&format!("  {experiment} {words}"));
}

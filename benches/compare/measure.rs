//! One measurement: backends, a balancer, the load, and what the balancer used for it.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::thread;
use std::time::Duration;

use serde::Serialize;

use crate::case::{Case, Load};
use crate::common::Failure;
use crate::common::folder::Folder;
use crate::common::load::{self, Report, start_server};
use crate::common::program::{Program, free_address};
use crate::contender::{Contender, Wiring};
use crate::place::{Cores, Place, Role};
use crate::usage::Usage;

/// Programs that echo; more backends than that share them.
const SERVERS_MAX: usize = 3;
/// How long idle connections are watched.
const IDLE_WATCH: Duration = Duration::from_millis(500);

/// What is the same for everyone in a run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Offered {
    pub(crate) seconds: f64,
    /// Of the open loop.
    pub(crate) rate_per_second: f64,
}

/// What came of it.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Sample {
    pub(crate) requests_per_second: f64,
    /// Request and reply bytes that passed, each counted once.
    pub(crate) bytes_per_second: f64,
    pub(crate) p50_seconds: f64,
    pub(crate) p99_seconds: f64,
    pub(crate) p99_9_seconds: f64,
    /// The balancer's user and system time for a request, and for 10^9 bytes.
    pub(crate) cpu_seconds_per_request: f64,
    pub(crate) cpu_seconds_per_gigabyte: f64,
    /// Cores that it kept busy.
    pub(crate) cores: f64,
    /// Its memory after the load, and for each idle connection.
    pub(crate) memory_bytes: f64,
    pub(crate) memory_bytes_per_connection: f64,
}

pub(crate) fn one(case: &Case, contender: &Contender, place: &Place, offered: Offered) -> Result<Sample, Failure> {
    place.within(case.workers, |cores| {
        let folder = Folder::open()?;
        cores.pin(Role::Load)?;
        let servers = servers(case, folder.path())?;
        let targets: Vec<SocketAddr> = servers.iter().map(|(_, address)| *address).collect();
        let backends = spread(&targets, case.backends);
        let listen = free_address()?;
        let command = contender.command(
            case,
            &Wiring {
                listen,
                backends: &backends,
                folder: folder.path(),
            },
        )?;
        let Some(mut command) = command else {
            let target = targets.first().copied().ok_or("no backend")?;
            return load(case, target, None, offered, folder.path());
        };
        cores.pin(Role::Balancer)?;
        let mut balancer = Program::start(&mut command, &folder.path().join("balancer.log"))?;
        balancer.await_listening(listen)?;
        cores.pin(Role::Load)?;
        match case.load {
            Load::Idle { conns } => idle(conns, listen, &balancer, cores),
            _ => load(case, listen, Some(&balancer), offered, folder.path()),
        }
    })
}

/// The backends' programs: on one core a thread each, or they would only take it from one another.
fn servers(case: &Case, folder: &Path) -> Result<Vec<(Program, SocketAddr)>, Failure> {
    let mut arguments: Vec<String> = ["0", "--host", "0.0.0.0", "--threads", "1"].map(str::to_owned).to_vec();
    if let Load::Closed {
        request_bytes,
        reply_bytes,
        ..
    } = case.load
        && request_bytes != reply_bytes
    {
        arguments.extend(["--request-size".to_owned(), request_bytes.to_string()]);
        arguments.extend(["--reply-size".to_owned(), reply_bytes.to_string()]);
    }
    let start = |number| start_server(&arguments, &folder.join(format!("server-{number}.log")));
    (0..case.backends.min(SERVERS_MAX)).map(start).collect()
}

/// So many addresses of the loopback network that lead to these servers.
fn spread(servers: &[SocketAddr], count: usize) -> Vec<SocketAddr> {
    (0..count)
        .zip(servers.iter().cycle())
        .map(|(number, server)| {
            let number = u32::try_from(number).unwrap_or(0);
            // 127.0.0.1 for the first, so that with three backends nothing is unusual.
            let host = 0x7f00_0001_u32.saturating_add(if count > servers.len() { number } else { 0 });
            (std::net::Ipv4Addr::from(host), server.port()).into()
        })
        .collect()
}

/// Lets the client loose on `target`, and reads its report.
fn load(
    case: &Case,
    target: SocketAddr,
    balancer: Option<&Program>,
    offered: Offered,
    folder: &Path,
) -> Result<Sample, Failure> {
    let mut arguments: Vec<String> = ["--threads", "1"].map(str::to_owned).to_vec();
    let mut add = |flag: &str, value: String| arguments.extend([flag.to_owned(), value]);
    add("--duration", format!("{}ms", (offered.seconds * 1000.0).round()));
    let conns = match case.load {
        Load::Closed {
            conns,
            request_bytes,
            reply_bytes,
        } => {
            add("--size", request_bytes.to_string());
            if request_bytes != reply_bytes {
                add("--reply-size", reply_bytes.to_string());
            }
            conns
        }
        Load::Open { conns } => {
            add("--rate", offered.rate_per_second.to_string());
            conns
        }
        Load::Short { conns } => conns,
        Load::Idle { .. } => return Err("idle connections are no load".into()),
    };
    add("--conns", conns.to_string());
    add("--concurrency", conns.to_string());
    if matches!(case.load, Load::Short { .. }) {
        arguments.push("--new-connection".to_owned());
    }
    let before = balancer.map(Usage::of).unwrap_or_default();
    let report = load::Load::start(target, &arguments, folder)?.finish_answered()?;
    let after = balancer.map(Usage::of).unwrap_or_default();
    sample(&report, before, after)
}

fn sample(report: &Report, before: Usage, after: Usage) -> Result<Sample, Failure> {
    let requests = report.number("/requests/ok")?;
    let seconds = report.number("/seconds")?;
    // Of an echo both are the same.
    let bytes = match report.number("/bytes_sent") {
        Ok(sent) => sent + report.number("/bytes_received")?,
        Err(_) => 2.0 * report.number("/bytes")?,
    };
    let cpu_seconds = after.cpu_seconds - before.cpu_seconds;
    Ok(Sample {
        requests_per_second: report.number("/requests_per_second")?,
        bytes_per_second: bytes / seconds,
        p50_seconds: report.number("/response_time_seconds/p50")?,
        p99_seconds: report.number("/response_time_seconds/p99")?,
        p99_9_seconds: report.number("/response_time_seconds/p99_9")?,
        cpu_seconds_per_request: cpu_seconds / requests,
        cpu_seconds_per_gigabyte: cpu_seconds / bytes * 1e9,
        cores: cpu_seconds / seconds,
        memory_bytes: after.memory_bytes as f64,
        memory_bytes_per_connection: 0.0,
    })
}

/// Opens connections, moves 1 KiB each way on every one, and looks at the balancer while they rest.
fn idle(conns: usize, target: SocketAddr, balancer: &Program, cores: &Cores<'_>) -> Result<Sample, Failure> {
    cores.pin(Role::Load)?;
    let before = Usage::of(balancer);
    let mut open = Vec::with_capacity(conns);
    let (sent, mut received) = ([7_u8; 1024], [0_u8; 1024]);
    for _ in 0..conns {
        let mut connection = TcpStream::connect(target)?;
        connection.set_read_timeout(Some(Duration::from_secs(10)))?;
        connection.write_all(&sent)?;
        connection.read_exact(&mut received)?;
        open.push(connection);
    }
    let full = Usage::of(balancer);
    thread::park_timeout(IDLE_WATCH);
    let rested = Usage::of(balancer);
    Ok(Sample {
        memory_bytes: full.memory_bytes as f64,
        memory_bytes_per_connection: full.memory_bytes.saturating_sub(before.memory_bytes) as f64 / conns as f64,
        cores: (rested.cpu_seconds - full.cpu_seconds) / IDLE_WATCH.as_secs_f64(),
        ..Sample::default()
    })
}

//! `client`: a load generator that checks every byte. Parses the command line and calls `lb::load`.
use clap::Parser;
use lb::load::{LoadOptions, ResultFile, StopHandle, parse_size, parse_target, run};
use std::io::{self, Write};
use std::net::SocketAddr;
use std::{error::Error, path::PathBuf, process::ExitCode, time::Duration};

/// Opens connections to an echo service, sends messages and checks that the very same bytes come back.
///
/// Every connection of the window (--concurrency) is opened, makes its requests one after the other, half-closes and
/// reads to the end; then the next one takes its place. When the window has room for all of --conns, each connection
/// stays open until every one has connected and finished: --conns 9500 --concurrency 9500 is 9,500 at once.
/// With --duration each connection of the window sends until the time is over. With --rate requests are due at
/// even distances, whether earlier ones are back or not, and their time counts from when they were due.
#[derive(Parser)]
#[command(
    name = "client",
    version,
    after_help = "Examples:\n  client --conns 100\n  client --conns 9500 --concurrency 9500\n  client --conns 50 --rate 2000 --duration 10s\n  client --conns 50 --duration 10s --report result.html\n  client --conns 8 --size 64MiB\n  client --conns 8 --size 64KiB --reply-size 64\n\nExit status: 0 all went well, 1 a request failed or the run was stopped, 2 wrong usage."
)]
struct Arguments {
    /// Where to connect
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:9000", value_parser = parse_target)]
    target: SocketAddr,
    /// Connections in all
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    conns: u64,
    /// Requests of each connection
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..), conflicts_with = "duration")]
    requests: u64,
    /// Connections at a time [default: all of --conns, at most 1000]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    concurrency: Option<u64>,
    /// Bytes of a request, such as 64 or 64KiB
    #[arg(long, value_name = "BYTES", default_value = "64", value_parser = parse_size)]
    size: u64,
    /// Bytes of each reply, when tcp_server has --reply-size [default: --size, an echo]
    #[arg(long, value_name = "BYTES", value_parser = parse_size)]
    reply_size: Option<u64>,
    /// Requests a second over all connections, due at even distances
    #[arg(long, value_name = "R")]
    rate: Option<f64>,
    /// Send for so long, such as 10s, instead of a count
    #[arg(long, value_parser = humantime::parse_duration)]
    duration: Option<Duration>,
    /// A new connection for every request; its connect counts as part of the response time
    #[arg(long)]
    new_connection: bool,
    /// How long a connect may take
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = humantime::parse_duration)]
    connect_timeout: Duration,
    /// How long a request may go without progress
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = humantime::parse_duration)]
    timeout: Duration,
    /// Threads [default: one per core]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=256))]
    threads: Option<u64>,
    /// Write the result and the parameters to this file too
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Write a page with the result, the parameters and pictures of them to this file too; it opens without a network
    #[arg(long, value_name = "FILE.html")]
    report: Option<PathBuf>,
    /// lb's admin API: if it answers, the result shows how many of the connections each backend got
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8000")]
    admin: SocketAddr,
}

fn main() -> ExitCode {
    match load(Arguments::parse()) {
        Ok(code) => code,
        Err(error) => {
            // With stderr closed there is nobody left to tell; the exit code says it.
            drop(writeln!(io::stderr().lock(), "{error}"));
            match error.downcast_ref() {
                // Wrong usage, as clap's.
                Some(lb::load::LoadError::Options(_)) => ExitCode::from(2),
                _ => ExitCode::FAILURE,
            }
        }
    }
}

fn load(arguments: Arguments) -> Result<ExitCode, Box<dyn Error>> {
    let stop = StopHandle::new();
    let asked = stop.clone();
    ctrlc::set_handler(move || asked.stop())?;
    // Before the run: a wrong path must not cost one.
    let json = arguments.json.clone().map(ResultFile::open).transpose()?;
    let page = arguments.report.clone().map(ResultFile::open).transpose()?;
    let report = run(&options(arguments), &stop)?;
    // A reader that went away is no failure of the run.
    drop(write!(io::stdout().lock(), "{report}"));
    if let Some(file) = json {
        file.write(&format!("{:#}\n", report.to_json()))?;
    }
    if let Some(file) = page {
        file.write(&report.to_html())?;
    }
    Ok(ExitCode::from(u8::from(!report.is_success())))
}

fn options(arguments: Arguments) -> LoadOptions {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    LoadOptions {
        connections: arguments.conns,
        requests: arguments.requests,
        concurrency: LoadOptions::window(arguments.concurrency, arguments.conns),
        size: arguments.size,
        reply_size: arguments.reply_size,
        rate: arguments.rate,
        duration: arguments.duration,
        new_connection: arguments.new_connection,
        connect_timeout: arguments.connect_timeout,
        timeout: arguments.timeout,
        threads: arguments.threads.map_or(cores, |threads| threads as usize),
        admin: Some(arguments.admin),
        ..LoadOptions::new(arguments.target)
    }
}

//! `tcp_server`: an echo backend. Parses the command line and calls `lb::echo`.

use clap::Parser;
use lb::echo::{EchoError, EchoOptions, EchoServer, MessageSizes};
use lb::load::parse_size;
use std::io::{self, Write};
use std::num::NonZeroUsize;
use std::process::ExitCode;
use std::time::Duration;

/// Sends back every byte it gets, on every connection.
///
/// With --request-size and --reply-size it answers each whole request with a reply of another size. A shorter reply's
/// byte i is the XOR of the request's bytes whose place modulo --reply-size is i; a longer one has the request's bytes
/// over and over. With equal sizes it echoes. client has the same sizes as --size and --reply-size, and checks every byte.
///
/// Prints one line when it is ready, and one with its totals when it is stopped (Ctrl-C or SIGTERM).
#[derive(Parser)]
#[command(
    name = "tcp_server",
    version,
    after_help = "Examples:\n  tcp_server 9001\n  tcp_server 9001 --id eu-1 --http 9101\n  tcp_server 0 --delay 5ms\n  tcp_server 9001 --request-size 64KiB --reply-size 64"
)]
struct Arguments {
    /// Port to listen on; 0 takes a free one, which the ready line tells
    port: u16,
    /// Address or name to listen on
    #[arg(long, default_value = "127.0.0.1")]
    host: String,
    /// The server's name [default: server-PORT]
    #[arg(long, value_name = "NAME")]
    id: Option<String>,
    /// Side port that speaks HTTP: /, /home, /health, /heartbeat, /metrics; 0 takes a free one
    #[arg(long, value_name = "PORT")]
    http: Option<u16>,
    /// How long each echo waits, such as 5ms
    #[arg(long, default_value = "0s", value_parser = humantime::parse_duration)]
    delay: Duration,
    /// Bytes of a request, such as 64KiB; at most 64KiB when replies are longer
    #[arg(long, value_name = "BYTES", value_parser = parse_size, requires = "reply_size")]
    request_size: Option<u64>,
    /// Bytes of the reply to it; at most 64KiB when requests are longer
    #[arg(long, value_name = "BYTES", value_parser = parse_size, requires = "request_size")]
    reply_size: Option<u64>,
    /// Threads that echo [default: one per core]
    #[arg(long, value_name = "N")]
    threads: Option<NonZeroUsize>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // With stderr closed there is nobody left to tell; the exit code says it.
            drop(writeln!(io::stderr().lock(), "{error}"));
            match error.downcast_ref() {
                // Wrong usage, as clap's.
                Some(EchoError::Sizes(_)) => ExitCode::from(2),
                _ => ExitCode::FAILURE,
            }
        }
    }
}

fn run(arguments: &Arguments) -> Result<(), Box<dyn std::error::Error>> {
    let sizes = match (arguments.request_size, arguments.reply_size) {
        (Some(request), Some(reply)) => Some(MessageSizes::new(request, reply)?),
        _ => None,
    };
    let (asked, stop_asked) = crossbeam_channel::bounded(1);
    // A full channel means that stopping is already asked for.
    ctrlc::set_handler(move || {
        asked.try_send(()).ok();
    })?;
    let server = EchoServer::start(&EchoOptions {
        host: arguments.host.clone(),
        port: arguments.port,
        id: arguments.id.clone(),
        http_port: arguments.http,
        delay: arguments.delay,
        sizes,
        threads: arguments.threads,
    })?;
    say(&format!("{} listening on {}", server.id(), server.address()));
    if let Some(address) = server.http_address() {
        say(&format!("{} http on {address}", server.id()));
    }
    stop_asked.recv()?;
    let id = server.id().to_owned();
    let totals = server.stop();
    say(&format!(
        "{id}: {} connections, {} bytes echoed",
        totals.connections, totals.bytes
    ));
    Ok(())
}

/// Prints a line at once. A reader that went away is no reason to stop echoing.
fn say(line: &str) {
    let mut stdout = io::stdout().lock();
    drop(writeln!(stdout, "{line}").and_then(|()| stdout.flush()));
}

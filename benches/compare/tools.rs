//! Whether the client and the servers are fast enough to measure with: the same load without a balancer, beside tools that the world
//! uses for it, each pair on the cores that the load has.

use std::process::Command;

use serde::Serialize;

use crate::case::{Case, Load};
use crate::common::folder::Folder;
use crate::common::program::{Program, free_address};
use crate::common::{Failure, say};
use crate::contender::{Contender, Kind, find};
use crate::measure::{self, Offered};
use crate::place::{Place, Role};
use crate::summary::figure;

const ROUNDS: usize = 3;

/// Ours and another's figure for the same load.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct ToolCheck {
    pub(crate) what: String,
    pub(crate) ours: f64,
    pub(crate) other: f64,
    pub(crate) tool: String,
}

/// One of them: what it is, our case for it, the server and the client of the other tool, and how its report is read.
struct Check {
    what: &'static str,
    case: Case,
    bytes: bool,
    server: &'static [&'static str],
    client: Vec<String>,
    read: fn(&str) -> Option<f64>,
}

/// Compares with every tool that is installed; says which isn't.
pub(crate) fn measure(place: &Place, seconds: f64) -> Vec<ToolCheck> {
    let mut done = Vec::new();
    for check in checks(seconds) {
        let tool = check.client.first().cloned().unwrap_or_default();
        if find(&tool).is_none() || check.server.first().is_none_or(|server| find(server).is_none()) {
            say(&format!("skipped: {}: {tool} isn't installed", check.what));
            continue;
        }
        match compare(&check, place, seconds) {
            Ok((ours, other)) => done.push(ToolCheck {
                what: check.what.to_owned(),
                ours,
                other,
                tool,
            }),
            Err(failure) => say(&format!("{}: {tool}: {failure}", check.what)),
        }
    }
    done
}

fn checks(seconds: f64) -> Vec<Check> {
    let words = |line: String| line.split(' ').map(str::to_owned).collect();
    let redis_server: &[&str] = &[
        "redis-server",
        "--save",
        "",
        "--appendonly",
        "no",
        "--bind",
        "127.0.0.1",
        "--port",
    ];
    let message = "x".repeat(64);
    let requests = (seconds * 60_000.0).round();
    let mut short = Case::request_response("tool", 64, 64);
    short.load = Load::Short { conns: 64 };
    let mut bulk = Case::request_response("tool", 8, 65_536);
    bulk.load = Load::Closed {
        conns: 8,
        request_bytes: 65_536,
        reply_bytes: 64,
    };
    vec![
        Check {
            what: "requests/s, 64 connections x 64 B",
            case: Case::request_response("tool", 64, 64),
            bytes: false,
            server: redis_server,
            client: words(format!(
                "redis-benchmark -c 64 -n {requests} --csv -p @PORT@ ECHO {message}"
            )),
            read: redis_rate,
        },
        Check {
            what: "short connections/s, 64 at a time",
            case: short,
            bytes: false,
            server: redis_server,
            client: words(format!(
                "redis-benchmark -k 0 -c 64 -n {} --csv -p @PORT@ ECHO {message}",
                requests / 6.0
            )),
            read: redis_rate,
        },
        Check {
            what: "MB/s to the server, 8 connections x 64 KiB",
            case: bulk,
            bytes: true,
            server: &["iperf3", "-s", "-p"],
            client: words(format!(
                "iperf3 -J -c 127.0.0.1 -P 8 -l 64K -t {} -p @PORT@",
                seconds.ceil()
            )),
            read: iperf_rate,
        },
    ]
}

fn compare(check: &Check, place: &Place, seconds: f64) -> Result<(f64, f64), Failure> {
    let direct = Contender {
        label: "direct".to_owned(),
        version: String::new(),
        kind: Kind::Direct,
    };
    let offered = Offered {
        seconds,
        rate_per_second: 0.0,
    };
    let (mut ours, mut others) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let sample = measure::one(&check.case, &direct, place, offered)?;
        ours.push(if check.bytes {
            sample.bytes_per_second / 1e6
        } else {
            sample.requests_per_second
        });
        others.push(other(check, place)?);
    }
    let median = |values: Vec<f64>| figure(values.into_iter()).map_or(0.0, |figure| figure.median);
    Ok((median(ours), median(others)))
}

fn other(check: &Check, place: &Place) -> Result<f64, Failure> {
    place.within(1, |cores| {
        cores.pin(Role::Load)?;
        let address = free_address()?;
        let port = address.port().to_string();
        let (server, arguments) = check.server.split_first().ok_or("no server")?;
        let mut command = Command::new(find(server).ok_or("its server is gone")?);
        let folder = Folder::open()?;
        let mut server = Program::start(command.args(arguments).arg(&port), &folder.path().join("server.log"))?;
        server.await_listening(address)?;
        let (client, arguments) = check.client.split_first().ok_or("no client")?;
        let mut command = Command::new(client);
        for argument in arguments {
            command.arg(argument.replace("@PORT@", &port));
        }
        let output = command.output()?;
        let text = String::from_utf8_lossy(&output.stdout);
        (check.read)(&text).ok_or_else(|| format!("its report can't be read: {}", text.trim()).into())
    })
}

/// `"ECHO xxx","95000.00",…` behind a line of headings.
fn redis_rate(text: &str) -> Option<f64> {
    let line = text.lines().rfind(|line| line.starts_with('"'))?;
    line.split(',').nth(1)?.trim_matches('"').parse().ok()
}

fn iperf_rate(text: &str) -> Option<f64> {
    let report: serde_json::Value = serde_json::from_str(text).ok()?;
    Some(report.pointer("/end/sum_received/bits_per_second")?.as_f64()? / 8e6)
}

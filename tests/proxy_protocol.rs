//! The PROXY protocol over real sockets: who a client is said to be, who is believed, and what backends are told.

mod accepting;
mod peers;
mod sending;
mod vectors;

use std::net::SocketAddr;

use lb::proxy_protocol::{Endpoints, Version, encode};
use serde_json::Value;

use super::common::{Balancer, Config, eventually};

/// What both tests' programs and peers connect from.
const TRUSTING: &str = "accept = true\ntrusted = [\"127.0.0.1/32\", \"::1/128\"]";
/// Nobody's address: TEST-NET-3 (RFC 5737).
const CLIENT: &str = "203.0.113.7:4711";
const DESTINATION: &str = "203.0.113.80:443";

/// A service with one backend, an admin port and an access log.
fn config(backend: SocketAddr, lines: &str) -> Config {
    Config::with_backends(&[("a", backend)])
        .admin("listen = \"127.0.0.1:0\"")
        .log("access = \"access.log\"")
        .proxy_protocol(lines)
}

fn endpoints(source: &str, destination: &str) -> Endpoints {
    Endpoints::new(source.parse().unwrap(), destination.parse().unwrap())
}

/// A header of [`CLIENT`].
fn header(version: Version) -> Vec<u8> {
    encode(version, Some(endpoints(CLIENT, DESTINATION)))
}

/// The access log, once it has `count` lines.
fn records(lb: &Balancer, count: usize) -> Vec<Value> {
    let path = lb.folder().join("access.log");
    let text = eventually(&format!("{count} lines in the access log"), || {
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        (text.ends_with('\n') && text.lines().count() >= count).then_some(text)
    });
    assert_eq!(text.lines().count(), count, "{text}");
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// `lb_connections_refused_total` of the service by its reason.
fn refused(lb: &Balancer, reason: &str) -> u64 {
    let text = lb.admin().get("/metrics").text();
    let sample = format!("lb_connections_refused_total{{service=\"echo\",reason=\"{reason}\"}} ");
    let line = text.lines().find_map(|line| line.strip_prefix(&sample));
    line.unwrap_or_else(|| panic!("no {sample} in {text}")).parse().unwrap()
}

//! The names and addresses that a browser may know the admin port by. Asked by `fence.rs`.

use std::net::{IpAddr, SocketAddr};

/// What a browser doesn't write (RFC 9110, 4.2.1).
const HTTP_PORT: u16 = 80;

/// How a browser may know us.
#[derive(Debug)]
pub(super) struct Hosts {
    /// `name:port` and `[address]:port` in lower case.
    names: Vec<String>,
    /// We listen on every address of the machine, with this port: any address is ours then. Rebinding takes a name.
    any_with: Option<u16>,
}

impl Hosts {
    /// Of a listener at `address`, known by these `names` too.
    pub(super) fn new(address: SocketAddr, names: &[String]) -> Self {
        let port = address.port();
        let loopback = ["localhost", "127.0.0.1", "[::1]"].map(ToOwned::to_owned);
        let named = loopback.iter().chain(names).map(|name| format!("{name}:{port}"));
        // A browser leaves the port away where it is http's own.
        let bare = loopback.iter().chain(names).filter(|_| port == HTTP_PORT).cloned();
        let is_any = address.ip().is_unspecified();
        let own = (!is_any).then(|| address.to_string());
        Self {
            names: named.chain(own).chain(bare).collect(),
            any_with: is_any.then_some(port),
        }
    }

    pub(super) fn allow(&self, host: &str) -> bool {
        let is_ours = |port| {
            let bare = host
                .strip_prefix('[')
                .map_or(Some(host), |rest| rest.strip_suffix(']'))
                .filter(|_| port == HTTP_PORT);
            host.parse().is_ok_and(|address: SocketAddr| address.port() == port)
                || bare.is_some_and(|ip| ip.parse::<IpAddr>().is_ok())
        };
        self.names.iter().any(|name| name == host) || self.any_with.is_some_and(is_ours)
    }
}

impl std::fmt::Display for Hosts {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(&self.names.join(", "))?;
        self.any_with
            .map_or(Ok(()), |port| write!(out, ", or any IP address with port {port}"))
    }
}

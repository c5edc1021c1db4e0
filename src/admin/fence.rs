//! Who is let in: asked of every request before anything else of it is looked at.
//!
//! In this order: the Host it thinks to speak to (a page whose name was pointed at us names another: DNS rebinding), the page it
//! comes from (a foreign one may not even look: CSRF), then its token. Wrong ones are throttled by source; a right one is always
//! let in, so that nobody locks others out by guessing beside them (a token has 16 bytes or more: guessing leads nowhere).

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use hyper::http::request::Parts;
use hyper::{HeaderMap, Method, StatusCode, header};

use super::answer::Failure;
use super::hosts::Hosts;
use super::tokens::{Role, Tokens};
use crate::types::Moment;

/// Wrong tokens from one source in [`GUESS_SPAN`], after which it is told to wait.
const GUESSES_MAX: u32 = 10;
const GUESS_SPAN: Duration = Duration::from_secs(60);
/// Sources remembered. When there are more, who comes with a wrong token is told to wait: somebody guesses from everywhere.
const SOURCES_MAX: usize = 1024;

/// Where a request came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Source {
    /// This address.
    Ip(IpAddr),
    /// A socket in the file system.
    Unix,
}

impl Source {
    /// Who guesses together: whoever has one address of a network in IPv6 has all 2^64 of it (RFC 4291).
    fn network(self) -> Self {
        match self {
            Self::Ip(IpAddr::V6(address)) => {
                Self::Ip(Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)).into())
            }
            Self::Ip(IpAddr::V4(_)) | Self::Unix => self,
        }
    }
}

/// The rules.
#[derive(Debug)]
pub(super) struct Fence {
    /// `None`: no browser gets here, so none is asked.
    hosts: Option<Hosts>,
    tokens: Option<Arc<Tokens>>,
    guesses: HashMap<Source, (Moment, u32)>,
}

impl Fence {
    /// For a TCP listener at `address`, known by these `names` too; `None`: a unix socket.
    pub(super) fn new(address: Option<SocketAddr>, names: &[String], tokens: Option<Arc<Tokens>>) -> Self {
        Self {
            hosts: address.map(|address| Hosts::new(address, names)),
            tokens,
            guesses: HashMap::new(),
        }
    }

    /// The role that a request has.
    ///
    /// # Errors
    /// It is not let in.
    pub(super) fn admit(&mut self, request: &Parts, source: Source, now: Moment) -> Result<Role, Failure> {
        let host = self.check_host(request)?;
        check_origin(request, &host)?;
        self.role(&request.headers, source, now)
    }

    fn check_host(&self, request: &Parts) -> Result<String, Failure> {
        let mut hosts = request.headers.get_all(header::HOST).iter();
        let host = match (hosts.next(), hosts.next()) {
            (Some(host), None) if !host.is_empty() => host.to_str().ok().map(str::to_ascii_lowercase),
            _ => None,
        };
        let host =
            host.ok_or_else(|| Failure::new(StatusCode::BAD_REQUEST, "bad_host", "wanted exactly one Host header"))?;
        // Of a request for a whole URI its authority counts (RFC 9112, 3.2.2): it must be the same.
        if request
            .uri
            .authority()
            .is_some_and(|authority| !authority.as_str().eq_ignore_ascii_case(&host))
        {
            let message = "the URI names another host than the Host header";
            return Err(Failure::new(StatusCode::BAD_REQUEST, "bad_host", message));
        }
        match &self.hosts {
            Some(allowed) if !allowed.allow(&host) => {
                let message = format!(
                    "lb isn't known as {}, only as {allowed}; [admin] hosts in lb.toml names more",
                    host.escape_debug(),
                );
                Err(Failure::new(StatusCode::FORBIDDEN, "host_not_allowed", message))
            }
            _ => Ok(host),
        }
    }

    fn role(&mut self, headers: &HeaderMap, source: Source, now: Moment) -> Result<Role, Failure> {
        let Some(tokens) = &self.tokens else {
            return Ok(Role::Operate);
        };
        let mut given = headers.get_all(header::AUTHORIZATION).iter();
        let Some(authorization) = given.next() else {
            return Ok(Role::Nobody);
        };
        let role = match (bearer(authorization.as_bytes()), given.next()) {
            (Some(token), None) => tokens.role(token),
            _ => Role::Nobody,
        };
        match role {
            Role::Nobody => Err(self.count_wrong(source, now)),
            role => Ok(role),
        }
    }

    /// One more wrong token, and what is said to it.
    fn count_wrong(&mut self, source: Source, now: Moment) -> Failure {
        let network = source.network();
        if self.guesses.len() >= SOURCES_MAX {
            self.guesses.retain(|_, (since, _)| now.since(*since) < GUESS_SPAN);
        }
        let is_crowded = self.guesses.len() >= SOURCES_MAX && !self.guesses.contains_key(&network);
        if !is_crowded {
            let tries = self.guesses.entry(network).or_insert((now, 0));
            if now.since(tries.0) >= GUESS_SPAN {
                *tries = (now, 0);
            }
            if tries.1 < GUESSES_MAX {
                tries.1 = tries.1.saturating_add(1);
                log::warn!("admin: a wrong token from {source}");
                return Failure::unauthorized("the token isn't one of token_file");
            }
        }
        let message = format!("{GUESSES_MAX} wrong tokens came from there; wait a minute");
        Failure::new(StatusCode::TOO_MANY_REQUESTS, "too_many_guesses", message).retry_after(GUESS_SPAN)
    }
}

impl std::fmt::Display for Source {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Ip(address) => address.fmt(out),
            Self::Unix => out.write_str("the socket"),
        }
    }
}

/// The token of `Bearer TOKEN` (RFC 6750); the scheme's case doesn't matter (RFC 9110).
fn bearer(authorization: &[u8]) -> Option<&[u8]> {
    let (scheme, rest) = authorization.split_at_checked(7)?;
    scheme.eq_ignore_ascii_case(b"bearer ").then(|| rest.trim_ascii())
}

/// Refuses what another page sent. To follow a link from elsewhere to the dashboard is allowed: that page learns nothing by it.
fn check_origin(request: &Parts, host: &str) -> Result<(), Failure> {
    let foreign = || {
        let message = "a page from elsewhere asked for this; lb answers only its own pages, and programs";
        Failure::new(StatusCode::FORBIDDEN, "cross_site", message)
    };
    let text = |name: &str| request.headers.get(name).map(|value| value.to_str().unwrap_or("?"));
    let mut origins = request.headers.get_all(header::ORIGIN).iter();
    let origin = origins
        .next()
        .map(|origin| origin.to_str().unwrap_or("?").to_ascii_lowercase());
    if origins.next().is_some() || origin.is_some_and(|origin| origin != format!("http://{host}")) {
        return Err(foreign());
    }
    let is_visit = request.method == Method::GET
        && request.uri.path() == "/"
        && text("sec-fetch-mode") == Some("navigate")
        && text("sec-fetch-dest") == Some("document");
    match text("sec-fetch-site") {
        None | Some("same-origin" | "none") => Ok(()),
        Some(_) if is_visit => Ok(()),
        Some(_) => Err(foreign()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::Request;

    const TOKEN: &str = "operate:0123456789abcdef0123456789abcdef";

    fn fence(tokens: Option<&str>) -> Fence {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tokens");
        let tokens = tokens.map(|text| {
            std::fs::write(&path, text).unwrap();
            std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
            Arc::new(Tokens::load(&path).unwrap())
        });
        Fence::new(
            Some("10.0.0.5:8000".parse().unwrap()),
            &["lb.example".to_owned()],
            tokens,
        )
    }

    fn asks(fence: &mut Fence, path: &str, headers: &[(&str, &str)]) -> Result<Role, u16> {
        asks_from("10.0.0.9", fence, path, headers)
    }

    fn asks_from(source: &str, fence: &mut Fence, path: &str, headers: &[(&str, &str)]) -> Result<Role, u16> {
        let mut request = Request::builder().uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let (parts, ()) = request.body(()).unwrap().into_parts();
        let source = Source::Ip(source.parse().unwrap());
        fence
            .admit(&parts, source, Moment::START)
            .map_err(|failure| failure.status().as_u16())
    }

    #[test]
    fn only_known_hosts_are_answered() {
        let mut fence = fence(None);
        for host in [
            "localhost:8000",
            "LOCALHOST:8000",
            "127.0.0.1:8000",
            "[::1]:8000",
            "10.0.0.5:8000",
            "lb.example:8000",
        ] {
            assert_eq!(asks(&mut fence, "/", &[("host", host)]), Ok(Role::Operate), "{host}");
        }
        for host in [
            "evil.example:8000",
            "localhost",
            "localhost:8001",
            "127.0.0.1:8000.evil",
            "10.0.0.6:8000",
        ] {
            assert_eq!(asks(&mut fence, "/", &[("host", host)]), Err(403), "{host}");
        }
        assert_eq!(asks(&mut fence, "/", &[]), Err(400));
        assert_eq!(asks(&mut fence, "/", &[("host", "")]), Err(400));
        assert_eq!(
            asks(
                &mut fence,
                "/",
                &[("host", "localhost:8000"), ("host", "localhost:8000")]
            ),
            Err(400)
        );
    }

    #[test]
    fn on_every_address_any_address_is_a_host_and_a_name_is_not() {
        for (listen, ports) in [("0.0.0.0:8000", ":8000"), ("[::]:80", ":80"), ("[::]:80", "")] {
            let mut fence = Fence::new(Some(listen.parse().unwrap()), &[], None);
            for ip in ["10.0.0.5", "192.168.1.1", "[2001:db8::1]", "localhost"] {
                let host = format!("{ip}{ports}");
                assert_eq!(asks(&mut fence, "/", &[("host", &host)]), Ok(Role::Operate), "{host}");
            }
            for host in ["evil.example", "10.0.0.5:8001", "[2001:db8::1", "10.0.0.5.evil.example"] {
                let host = if host.contains(":8001") {
                    host.to_owned()
                } else {
                    format!("{host}{ports}")
                };
                assert_eq!(asks(&mut fence, "/", &[("host", &host)]), Err(403), "{host}");
            }
        }
    }

    #[test]
    fn foreign_pages_are_refused_but_for_a_visit_to_the_dashboard() {
        let mut fence = fence(None);
        let host = ("host", "localhost:8000");
        assert_eq!(
            asks(&mut fence, "/metrics", &[host, ("origin", "http://localhost:8000")]),
            Ok(Role::Operate)
        );
        for origin in [
            "http://evil.example",
            "null",
            "https://localhost:8000",
            "http://localhost:8001",
        ] {
            assert_eq!(
                asks(&mut fence, "/metrics", &[host, ("origin", origin)]),
                Err(403),
                "{origin}"
            );
        }
        for (site, outcome) in [
            ("same-origin", Ok(Role::Operate)),
            ("none", Ok(Role::Operate)),
            ("cross-site", Err(403)),
            ("same-site", Err(403)),
        ] {
            assert_eq!(
                asks(&mut fence, "/metrics", &[host, ("sec-fetch-site", site)]),
                outcome,
                "{site}"
            );
        }
        let visit = [
            host,
            ("sec-fetch-site", "cross-site"),
            ("sec-fetch-mode", "navigate"),
            ("sec-fetch-dest", "document"),
        ];
        assert_eq!(asks(&mut fence, "/", &visit), Ok(Role::Operate));
        assert_eq!(asks(&mut fence, "/api/v1/status", &visit), Err(403));
        let framed = [
            host,
            ("sec-fetch-site", "cross-site"),
            ("sec-fetch-mode", "navigate"),
            ("sec-fetch-dest", "iframe"),
        ];
        assert_eq!(asks(&mut fence, "/", &framed), Err(403));
    }

    #[test]
    fn a_token_gives_its_role_and_guessing_is_throttled() {
        let mut fence = fence(Some(TOKEN));
        let host = ("host", "localhost:8000");
        let right = ("authorization", "Bearer 0123456789abcdef0123456789abcdef");
        assert_eq!(asks(&mut fence, "/", &[host]), Ok(Role::Nobody));
        assert_eq!(asks(&mut fence, "/", &[host, right]), Ok(Role::Operate));
        assert_eq!(asks(&mut fence, "/", &[host, right, right]), Err(401), "one is enough");
        for wrong in [
            "Bearer x",
            "Basic eDp5",
            "Bearer",
            "bearer  ",
            "Bearer 0123456789abcdef0123456789abcdee",
        ] {
            assert_eq!(
                asks(&mut fence, "/", &[host, ("authorization", wrong)]),
                Err(401),
                "{wrong}"
            );
        }
        let wrong = ("authorization", "Bearer x");
        for _ in 0..4 {
            assert_eq!(asks(&mut fence, "/", &[host, wrong]), Err(401));
        }
        assert_eq!(asks(&mut fence, "/", &[host, wrong]), Err(429));
        assert_eq!(
            asks(&mut fence, "/", &[host, right]),
            Ok(Role::Operate),
            "whoever guesses beside it"
        );
        assert_eq!(asks(&mut fence, "/", &[host]), Ok(Role::Nobody));
    }

    #[test]
    fn addresses_of_one_network_guess_together_and_a_full_table_refuses_only_who_is_wrong() {
        let mut fence = fence(Some(TOKEN));
        let host = ("host", "localhost:8000");
        let wrong = [host, ("authorization", "Bearer x")];
        let right = [host, ("authorization", "Bearer 0123456789abcdef0123456789abcdef")];
        for number in 0..GUESSES_MAX {
            let source = format!("2001:db8::{number:x}");
            assert_eq!(asks_from(&source, &mut fence, "/", &wrong), Err(401), "{source}");
        }
        assert_eq!(asks_from("2001:db8::ffff:0:0:1", &mut fence, "/", &wrong), Err(429));
        assert_eq!(asks_from("2001:db8:0:1::1", &mut fence, "/", &wrong), Err(401));
        for number in 2..SOURCES_MAX {
            let source = format!("2001:db8:1:{number:x}::1");
            assert_eq!(asks_from(&source, &mut fence, "/", &wrong), Err(401), "{source}");
        }
        assert_eq!(asks_from("10.0.0.1", &mut fence, "/", &wrong), Err(429));
        assert_eq!(asks_from("10.0.0.1", &mut fence, "/", &right), Ok(Role::Operate));
        assert!(fence.guesses.len() <= SOURCES_MAX);
    }
}

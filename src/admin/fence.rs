//! Who is let in: asked of every request before anything else of it is looked at.
//!
//! In this order: the Host it thinks to speak to (a page whose name was pointed at us names another: DNS rebinding), the page it
//! comes from (a foreign one may not even look: CSRF), then its token. Guesses are throttled by source.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use hyper::http::request::Parts;
use hyper::{HeaderMap, Method, StatusCode, header};

use super::answer::Failure;
use super::tokens::{Role, Tokens};
use crate::types::Moment;

/// Wrong tokens from one source in [`GUESS_SPAN`], after which it is not listened to.
const GUESSES_MAX: u32 = 10;
const GUESS_SPAN: Duration = Duration::from_secs(60);
/// Sources remembered. When there are more, all who come are told to wait: somebody guesses from everywhere.
const SOURCES_MAX: usize = 1024;

/// Where a request came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Source {
    /// This address.
    Ip(IpAddr),
    /// A socket in the file system.
    Unix,
}

/// The rules.
#[derive(Debug)]
pub(super) struct Fence {
    /// `name:port` and `[address]:port` in lower case; `None`: no browser gets here, so none is asked.
    hosts: Option<Vec<String>>,
    tokens: Option<Arc<Tokens>>,
    guesses: HashMap<Source, (Moment, u32)>,
}

impl Fence {
    /// For a TCP listener at `address`, known by these `names` too; `None`: a unix socket.
    pub(super) fn new(address: Option<SocketAddr>, names: &[String], tokens: Option<Arc<Tokens>>) -> Self {
        let hosts = address.map(|address| {
            let port = address.port();
            let loopback = ["localhost", "127.0.0.1", "[::1]"].map(ToOwned::to_owned);
            let own = SocketAddr::new(address.ip(), port).to_string();
            let named = loopback.iter().chain(names).map(|name| format!("{name}:{port}"));
            // A browser leaves the port away where it is http's own.
            let bare = loopback.iter().chain(names).filter(|_| port == 80).cloned();
            named.chain([own]).chain(bare).collect()
        });
        Self {
            hosts,
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
        match &self.hosts {
            Some(allowed) if !allowed.contains(&host) => {
                let message = format!(
                    "lb isn't known as {}, only as {}; [admin] hosts in lb.toml names more",
                    host.escape_debug(),
                    allowed.join(", ")
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
        if self.guesses.len() >= SOURCES_MAX {
            self.guesses.retain(|_, (since, _)| now.since(*since) < GUESS_SPAN);
        }
        let is_crowded = self.guesses.len() >= SOURCES_MAX && !self.guesses.contains_key(&source);
        let tries = self
            .guesses
            .get(&source)
            .filter(|(since, _)| now.since(*since) < GUESS_SPAN);
        if is_crowded || tries.is_some_and(|(_, count)| *count >= GUESSES_MAX) {
            let message = format!("{GUESSES_MAX} wrong tokens came from there; wait a minute");
            return Err(
                Failure::new(StatusCode::TOO_MANY_REQUESTS, "too_many_guesses", message).retry_after(GUESS_SPAN)
            );
        }
        let role = match (bearer(authorization.as_bytes()), given.next()) {
            (Some(token), None) => tokens.role(token),
            _ => Role::Nobody,
        };
        if role == Role::Nobody {
            let tries = self.guesses.entry(source).or_insert((now, 0));
            if now.since(tries.0) >= GUESS_SPAN {
                *tries = (now, 0);
            }
            tries.1 = tries.1.saturating_add(1);
            log::warn!("admin: a wrong token from {source:?}");
            return Err(Failure::unauthorized("the token isn't one of token_file"));
        }
        Ok(role)
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
        let mut request = Request::builder().uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let (parts, ()) = request.body(()).unwrap().into_parts();
        let source = Source::Ip("10.0.0.9".parse().unwrap());
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
        for _ in 0..4 {
            assert_eq!(asks(&mut fence, "/", &[host, ("authorization", "Bearer x")]), Err(401));
        }
        assert_eq!(
            asks(&mut fence, "/", &[host, right]),
            Err(429),
            "even the right one, or guessing would go on"
        );
        assert_eq!(asks(&mut fence, "/", &[host]), Ok(Role::Nobody));
    }
}

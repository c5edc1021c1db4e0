//! Who got the connections of a run: what `lb`'s admin API counts before it and after it (`GET /api/v1/services`).
//!
//! Called by `run`. Nobody has to answer: without a balancer, or without an admin API, a run has no shares, and is a run all the same.
//! May not: go on for longer than [`PATIENCE`], or believe more than [`ANSWER_BYTES_MAX`] of an answer.

use plotly::Bar;
use plotly::common::Marker;
use serde::Deserialize;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use super::human::grouped;
use crate::page::{Picture, axis};

/// For a connect, and for each read and write: it is this machine, or one near by.
const PATIENCE: Duration = Duration::from_secs(1);
/// 50,000 backends of 150 bytes fit.
const ANSWER_BYTES_MAX: u64 = 16 << 20;
/// Headers of an answer.
const HEADERS_MAX: usize = 64;

const COLOUR: &str = "#0b7285";

/// Connections by backend, in the balancer's order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Shares(Vec<(String, u64)>);

#[derive(Deserialize)]
struct Service {
    listen: Vec<String>,
    backends: Vec<Backend>,
}

#[derive(Deserialize)]
struct Backend {
    name: String,
    connections: Connections,
}

#[derive(Deserialize)]
struct Connections {
    total: u64,
}

impl Shares {
    /// What the service that listens on `target` has counted so far. `None`: nobody answers at `admin`, or not of that service.
    pub(super) fn ask(admin: SocketAddr, target: SocketAddr) -> Option<Self> {
        let answer = get(admin).ok()?;
        of_service(body(&answer)?, target)
    }

    /// What has come to it since `before`.
    pub(super) fn since(self, before: &Self) -> Self {
        let earlier = |name: &str| {
            before
                .0
                .iter()
                .find(|(other, _)| other == name)
                .map_or(0, |(_, total)| *total)
        };
        let since = |(name, total): (String, u64)| {
            let count = total.saturating_sub(earlier(&name));
            (name, count)
        };
        Self(self.0.into_iter().map(since).collect())
    }

    /// Each backend's name and count.
    pub(super) fn counts(&self) -> &[(String, u64)] {
        &self.0
    }

    /// A bar for each, with two sentences.
    pub(super) fn picture(&self) -> Option<Picture> {
        let total = self.0.iter().fold(0_u64, |sum, (_, count)| sum.saturating_add(*count));
        let (most, least) = (
            self.0.iter().max_by_key(|(_, count)| count)?,
            self.0.iter().min_by_key(|(_, count)| count)?,
        );
        if total == 0 {
            return None;
        }
        let percent = |count: u64| format!("{:.1}\u{a0}%", count as f64 * 100.0 / total as f64);
        let (names, counts) = self.0.iter().cloned().unzip::<_, _, Vec<_>, Vec<_>>();
        let caption = format!(
            "{} got most, {} connections ({}). {} got fewest, {} ({}).",
            most.0,
            grouped(most.1),
            percent(most.1),
            least.0,
            grouped(least.1),
            percent(least.1),
        );
        let picture = Picture::new("Connections by backend").y_axis(axis("connections").tick_format(","));
        Some(
            picture
                .trace(Bar::new(names, counts).marker(Marker::new().color(COLOUR)))
                .caption(&caption),
        )
    }
}

/// The whole answer. HTTP/1.0 (RFC 1945), so that its end is that of the connection and nothing comes in chunks.
fn get(admin: SocketAddr) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect_timeout(&admin, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    write!(
        stream,
        "GET /api/v1/services HTTP/1.0\r\nHost: {admin}\r\nAccept: application/json\r\n\r\n"
    )?;
    let mut answer = Vec::new();
    stream.take(ANSWER_BYTES_MAX).read_to_end(&mut answer)?;
    Ok(answer)
}

/// What stands behind the head, if the status is 200.
fn body(answer: &[u8]) -> Option<&[u8]> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut head = httparse::Response::new(&mut headers);
    match head.parse(answer).ok()? {
        httparse::Status::Complete(length) if head.code == Some(200) => answer.get(length..),
        _ => None,
    }
}

fn of_service(body: &[u8], target: SocketAddr) -> Option<Shares> {
    let is_target = |listen: &String| {
        let listens = |address: SocketAddr| {
            address == target || (address.ip().is_unspecified() && address.port() == target.port())
        };
        listen.parse().is_ok_and(listens)
    };
    let services: Vec<Service> = serde_json::from_slice(body).ok()?;
    let service = services
        .into_iter()
        .find(|service| service.listen.iter().any(is_target))?;
    let backends = service.backends.into_iter();
    Some(Shares(
        backends
            .map(|backend| (backend.name, backend.connections.total))
            .collect(),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SERVICES: &str = r#"[
        {"name":"other","listen":["127.0.0.1:9001"],"backends":[]},
        {"name":"echo","listen":["[::1]:9000","0.0.0.0:9000"],"balance":"round_robin","backends":[
            {"name":"a","state":"up","connections":{"active":1,"total":12,"failed":0}},
            {"name":"b","state":"up","connections":{"active":0,"total":7,"failed":2}}]}]"#;

    fn shares(counts: &[(&str, u64)]) -> Shares {
        Shares(
            counts
                .iter()
                .map(|(name, count)| ((*name).to_owned(), *count))
                .collect(),
        )
    }

    #[test]
    fn the_service_that_listens_on_the_target_is_found_behind_a_wildcard_too() {
        let found = |target: &str| of_service(SERVICES.as_bytes(), target.parse().unwrap());
        assert_eq!(found("127.0.0.1:9000"), Some(shares(&[("a", 12), ("b", 7)])));
        assert_eq!(found("127.0.0.1:9002"), None);
        assert_eq!(of_service(b"[{}]", "127.0.0.1:9000".parse().unwrap()), None);
    }

    #[test]
    fn a_backend_that_came_since_counts_from_nothing() {
        let (before, after) = (shares(&[("a", 12)]), shares(&[("a", 15), ("b", 4)]));
        assert_eq!(after.since(&before), shares(&[("a", 3), ("b", 4)]));
    }

    #[test]
    fn only_an_answer_of_200_has_a_body() {
        assert_eq!(
            body(b"HTTP/1.1 200 OK\r\nContent-Type: a/b\r\n\r\n[]"),
            Some(&b"[]"[..])
        );
        for other in [
            &b"HTTP/1.1 401 Unauthorized\r\n\r\n[]"[..],
            b"HTTP/1.1 200 OK\r\n",
            b"SSH-2.0-x\r\n",
            b"",
        ] {
            assert_eq!(body(other), None);
        }
    }

    #[test]
    fn nobody_at_the_admin_address_is_no_failure() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let gone = listener.local_addr().unwrap();
        drop(listener);
        assert_eq!(Shares::ask(gone, "127.0.0.1:9000".parse().unwrap()), None);
    }
}

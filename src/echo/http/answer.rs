//! The HTTP side as a function: bytes of a request in, bytes of a response out. No socket, no clock.
//!
//! RFC 9112 for the message, RFC 9110 for the status codes. Every response closes its connection: what follows a request
//! head (a body, a second request) is never looked at, so nothing can be smuggled in it.

use super::super::counters::EchoTotals;
use super::super::process::ProcessFacts;

/// The longest request head; more is answered with 431.
pub(super) const HEAD_BYTES_MAX: usize = 8 * 1024;

const HEADERS_MAX: usize = 64;
const TEXT: &str = "text/plain; charset=utf-8";

/// What a response tells.
#[derive(Clone, Copy)]
pub(super) struct Snapshot<'a> {
    pub(super) id: &'a str,
    pub(super) totals: EchoTotals,
    pub(super) process: Option<ProcessFacts>,
}

struct Response {
    status: &'static str,
    content_type: &'static str,
    allow: bool,
    body: String,
}

/// The response to a request that begins with `input`, or nothing while the head is incomplete.
pub(super) fn answer(input: &[u8], snapshot: &Snapshot<'_>) -> Option<Vec<u8>> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut request = httparse::Request::new(&mut headers);
    let (response, is_head) = match request.parse(input) {
        Ok(httparse::Status::Partial) if input.len() < HEAD_BYTES_MAX => return None,
        Ok(httparse::Status::Partial) | Err(httparse::Error::TooManyHeaders) => {
            (failure("431 Request Header Fields Too Large"), false)
        }
        Err(httparse::Error::Version) => (failure("505 HTTP Version Not Supported"), false),
        Err(_) => (failure("400 Bad Request"), false),
        Ok(httparse::Status::Complete(_)) => (route(&request, snapshot), request.method == Some("HEAD")),
    };
    Some(write(&response, is_head))
}

fn route(request: &httparse::Request<'_, '_>, snapshot: &Snapshot<'_>) -> Response {
    let hosts = request
        .headers
        .iter()
        .filter(|header| header.name.eq_ignore_ascii_case("host"))
        .count();
    // RFC 9112, 3.2: exactly one Host in HTTP/1.1.
    if hosts > 1 || (hosts == 0 && request.version == Some(1)) {
        return failure("400 Bad Request");
    }
    let page = match path(request.path.unwrap_or_default()) {
        Some("/") => ok(TEXT, format!("Hello from {}\n", snapshot.id)),
        Some("/home") => ok("application/json", home(snapshot.id)),
        Some("/health") => ok(TEXT, "OK".to_owned()),
        Some("/heartbeat") => ok(TEXT, String::new()),
        Some("/metrics") => ok("text/plain; version=0.0.4; charset=utf-8", metrics(snapshot)),
        _ => return failure("404 Not Found"),
    };
    match request.method {
        Some("GET" | "HEAD") => page,
        _ => Response {
            allow: true,
            ..failure("405 Method Not Allowed")
        },
    }
}

/// The path of a target in origin form or absolute form (RFC 9112, 3.2), without its query.
fn path(target: &str) -> Option<&str> {
    let target = match target.strip_prefix("http://") {
        Some(rest) => rest.find('/').and_then(|at| rest.get(at..)).unwrap_or("/"),
        None => target,
    };
    target.split(['?', '#']).next()
}

fn ok(content_type: &'static str, body: String) -> Response {
    Response {
        status: "200 OK",
        content_type,
        allow: false,
        body,
    }
}

fn failure(status: &'static str) -> Response {
    Response {
        status,
        content_type: TEXT,
        allow: false,
        body: format!("{status}\n"),
    }
}

fn home(id: &str) -> String {
    #[derive(serde::Serialize)]
    struct Home {
        message: String,
        status: &'static str,
    }
    let home = Home {
        message: format!("Hello from Server: {id}"),
        status: "successful",
    };
    // Two strings can always be written as JSON.
    serde_json::to_string(&home).unwrap_or_default()
}

fn metrics(snapshot: &Snapshot<'_>) -> String {
    let mut text = String::new();
    let mut add = |name: &str, kind: &str, help: &str, value: String| {
        text.push_str(&format!("# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}\n"));
    };
    if let Some(process) = snapshot.process {
        let cpu = process.cpu_seconds.to_string();
        add("process_cpu_seconds_total", "counter", "User and system CPU time.", cpu);
        let resident = process.resident_bytes.to_string();
        add("process_resident_memory_bytes", "gauge", "Resident memory.", resident);
        let start = process.start_seconds.to_string();
        add(
            "process_start_time_seconds",
            "gauge",
            "Start time since the Unix epoch.",
            start,
        );
    }
    let connections = snapshot.totals.connections.to_string();
    add("echo_connections_total", "counter", "Connections taken.", connections);
    let bytes = snapshot.totals.bytes.to_string();
    add("echo_bytes_total", "counter", "Bytes echoed.", bytes);
    text
}

fn write(response: &Response, is_head: bool) -> Vec<u8> {
    let allow = if response.allow { "Allow: GET, HEAD\r\n" } else { "" };
    let mut message = format!(
        "HTTP/1.1 {}\r\nContent-Type: {}\r\nContent-Length: {}\r\n{allow}Cache-Control: no-store\r\nConnection: close\r\n\r\n",
        response.status,
        response.content_type,
        response.body.len(),
    );
    if !is_head {
        message.push_str(&response.body);
    }
    message.into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(request: &str) -> Option<String> {
        let snapshot = Snapshot {
            id: "say \"hi\"",
            totals: EchoTotals {
                connections: 34,
                bytes: 2176,
            },
            process: None,
        };
        answer(request.as_bytes(), &snapshot).map(|bytes| String::from_utf8(bytes).unwrap())
    }

    fn get(path: &str) -> String {
        ask(&format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n")).unwrap()
    }

    #[test]
    fn an_id_with_quotes_stays_valid_json() {
        let response = get("/home");
        let (_, body) = response.split_once("\r\n\r\n").unwrap();
        assert_eq!(
            body,
            r#"{"message":"Hello from Server: say \"hi\"","status":"successful"}"#
        );
    }

    #[test]
    fn health_says_ok_and_heartbeat_is_empty() {
        assert!(
            get("/health").ends_with("Content-Length: 2\r\nCache-Control: no-store\r\nConnection: close\r\n\r\nOK")
        );
        assert!(get("/heartbeat?x=1").starts_with("HTTP/1.1 200 OK\r\n"));
        assert!(get("/heartbeat").ends_with("\r\n\r\n"));
    }

    #[test]
    fn metrics_have_help_and_type() {
        let response = get("http://x:1/metrics");
        assert!(response.contains("# TYPE echo_connections_total counter\necho_connections_total 34\n"));
        assert!(response.contains("# HELP echo_bytes_total Bytes echoed.\n"));
    }

    #[test]
    fn head_has_the_length_but_no_body() {
        let response = ask("HEAD /health HTTP/1.0\r\n\r\n").unwrap();
        assert!(response.contains("Content-Length: 2\r\n") && response.ends_with("\r\n\r\n"));
    }

    #[test]
    fn an_incomplete_head_is_waited_for() {
        assert_eq!(ask("GET / HTTP/1.1\r\nHost: x\r\n"), None);
    }

    #[test]
    fn what_is_wrong_has_its_status() {
        for (request, status) in [
            ("GET /nowhere HTTP/1.1\r\nHost: x\r\n\r\n", "404"),
            ("POST / HTTP/1.1\r\nHost: x\r\n\r\n", "405"),
            ("GET / HTTP/1.1\r\n\r\n", "400"),
            ("GET / HTTP/1.1\r\nHost: x\r\nhost: y\r\n\r\n", "400"),
            ("nonsense\r\n\r\n", "400"),
            ("GET / HTTP/2.0\r\nHost: x\r\n\r\n", "505"),
            (&"A".repeat(HEAD_BYTES_MAX), "431"),
        ] {
            let response = ask(request).unwrap();
            assert_eq!(response.get(9..12), Some(status), "{request}");
        }
        assert!(
            ask("PUT / HTTP/1.1\r\nHost: x\r\n\r\n")
                .unwrap()
                .contains("Allow: GET, HEAD\r\n")
        );
    }
}

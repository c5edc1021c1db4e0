//! The admin port under attack: who may ask what, and what the slow, the many and the malformed cost.

use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;

use serde_json::Value;

use super::common::{Backend, Balancer, Config, Http, Peer, Program, lb_command, raise_fd_limit};

const READ: &str = "0123456789abcdef-read";
const OPERATE: &str = "0123456789abcdef-operate";

struct Scene {
    lb: Balancer,
    admin: Http,
    _backend: Backend,
    _folder: tempfile::TempDir,
}

fn guarded() -> Scene {
    let folder = tempfile::tempdir().unwrap();
    let tokens = folder.path().join("tokens");
    std::fs::write(&tokens, format!("# people\nread:{READ}\noperate:{OPERATE}\n")).unwrap();
    std::fs::set_permissions(&tokens, PermissionsExt::from_mode(0o600)).unwrap();
    let backend = Backend::named("a");
    let lines = format!("listen = \"127.0.0.1:0\"\ntoken_file = \"{}\"", tokens.display());
    let lb = Balancer::start(&Config::with_backends(&[("a", backend.address())]).admin(&lines));
    let admin = lb.admin();
    Scene {
        lb,
        admin,
        _backend: backend,
        _folder: folder,
    }
}

fn open() -> Scene {
    let backend = Backend::named("a");
    let lb = Balancer::start(&Config::with_backends(&[("a", backend.address())]).admin("listen = \"127.0.0.1:0\""));
    let admin = lb.admin();
    Scene {
        lb,
        admin,
        _backend: backend,
        _folder: tempfile::tempdir().unwrap(),
    }
}

/// Every endpoint that the description names: method, a path with made-up parameters, whether a token is asked for.
fn endpoints(admin: &Http) -> Vec<(String, String, bool)> {
    let description = admin.json("/api/v1/openapi.json");
    let mut endpoints = Vec::new();
    for (path, methods) in description["paths"].as_object().unwrap() {
        let path: Vec<&str> = path
            .split('/')
            .map(|part| if part.starts_with('{') { "nobody" } else { part })
            .collect();
        for (method, operation) in methods.as_object().unwrap() {
            let is_guarded = operation.get("security").is_some();
            endpoints.push((method.to_uppercase(), path.join("/"), is_guarded));
        }
    }
    assert!(endpoints.len() >= 18, "{endpoints:?}");
    endpoints
}

/// The status of a request whose answer may have no end.
fn status(admin: &Http, method: &str, path: &str) -> u16 {
    if path != "/api/v1/events" {
        return admin.send(method, path, &Value::Object(serde_json::Map::new())).status;
    }
    admin.events_status()
}

#[test]
fn every_endpoint_asks_for_the_role_it_needs() {
    let Scene {
        lb,
        admin,
        _backend,
        _folder,
    } = guarded();
    let (reader, operator) = (admin.with_token(READ), admin.with_token(OPERATE));
    // Who may ask for a reload or an upgrade gets as far as this.
    lb.write(&Config::new().service("wieght = 1"));
    for (method, path, is_guarded) in endpoints(&operator) {
        let changes = method != "GET";
        let statuses = [&admin, &reader, &operator].map(|who| status(who, &method, &path));
        let is_through = |status: u16| !matches!(status, 401 | 403);
        match (is_guarded, changes) {
            (false, false) => assert!(statuses.into_iter().all(is_through), "{method} {path}: {statuses:?}"),
            (true, false) => {
                assert_eq!(statuses[0], 401, "{method} {path}");
                assert!(
                    statuses[1..].iter().copied().all(is_through),
                    "{method} {path}: {statuses:?}"
                );
            }
            (_, true) => {
                assert!(is_guarded, "{method} {path}");
                assert_eq!((statuses[0], statuses[1]), (401, 403), "{method} {path}");
                assert!(is_through(statuses[2]), "{method} {path}: {statuses:?}");
            }
        }
    }
    for (who, role) in [(&admin, "none"), (&reader, "read"), (&operator, "operate")] {
        assert_eq!(who.get("/healthcheck").header("lb-role"), Some(role));
    }
    lb.finish();
}

#[test]
fn guessing_is_throttled_and_no_token_is_told() {
    let Scene {
        lb,
        admin,
        _backend,
        _folder,
    } = guarded();
    let statuses: Vec<u16> = (0..12)
        .map(|number| {
            admin
                .with_token(&format!("guess-{number}"))
                .get("/api/v1/status")
                .status
        })
        .collect();
    assert_eq!(statuses[..10], [401; 10]);
    assert_eq!(statuses[10..], [429; 2]);
    let wrong = admin.with_token("guess-again").get("/api/v1/status");
    assert_eq!((wrong.status, wrong.header("retry-after")), (429, Some("60")));
    let right = admin.with_token(OPERATE).get("/api/v1/status");
    assert_eq!(right.status, 200, "whoever guesses beside it");
    assert_eq!(admin.get("/healthcheck").status, 200);
    let told = lb.stderr().join("\n");
    assert!(
        told.contains("a wrong token") && !told.contains("guess-") && !told.contains(OPERATE),
        "{told}"
    );
    lb.finish();
}

#[test]
fn other_names_and_other_pages_are_turned_away_before_anything_else() {
    let Scene {
        lb,
        admin,
        _backend,
        _folder,
    } = open();
    let own = admin.address().to_string();
    for (headers, wanted) in [
        (vec![("Host", "evil.example")], 403),
        (vec![("Host", "127.0.0.1:1")], 403),
        (vec![("Host", own.as_str()), ("Host", own.as_str())], 400),
        (vec![("Host", own.as_str()), ("Origin", "http://evil.example")], 403),
        (vec![("Host", own.as_str()), ("Origin", "null")], 403),
        (vec![("Host", own.as_str()), ("Sec-Fetch-Site", "cross-site")], 403),
    ] {
        for path in ["/api/v1/status", "/", "/nothing"] {
            assert_eq!(
                admin.ask("GET", path, &headers, "").status,
                wanted,
                "{path} {headers:?}"
            );
        }
    }
    let answer = admin.get("/api/v1/status");
    for header in [
        "content-security-policy",
        "x-content-type-options",
        "x-frame-options",
        "referrer-policy",
    ] {
        assert!(answer.header(header).is_some(), "{header}");
    }
    assert!(answer.header("access-control-allow-origin").is_none());
    lb.finish();
}

#[test]
fn the_malformed_and_the_endless_are_answered_or_cut_and_nothing_is_harmed() {
    let Scene {
        lb,
        admin,
        _backend,
        _folder,
    } = open();
    let endless = [b"GET / HTTP/1.1\r\nHost: x\r\nX: ".to_vec(), vec![b'a'; 1 << 20]].concat();
    let many = [
        b"GET / HTTP/1.1\r\nHost: x\r\n".to_vec(),
        b"X: y\r\n".repeat(10_000),
        b"\r\n".to_vec(),
    ]
    .concat();
    for request in [
        b"\x16\x03\x01\x02\x00\x01\x00".to_vec(),
        b"GET\r\n\r\n".to_vec(),
        b"GET /%00%ff\x80 HTTP/9.9\r\n\r\n".to_vec(),
        b"POST /api/v1/services/echo/backends HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n".to_vec(),
        b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\nzzzz\r\n".to_vec(),
        endless,
        many,
    ] {
        let answer = String::from_utf8_lossy(&admin.raw(&request)).into_owned();
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{answer}");
    }
    // Pipelined: each is answered, in order.
    let own = admin.address();
    let one = format!("GET /healthcheck HTTP/1.1\r\nHost: {own}\r\n\r\n");
    let last = format!("GET /healthcheck HTTP/1.1\r\nHost: {own}\r\nConnection: close\r\n\r\n");
    let answers = admin.raw(format!("{}{last}", one.repeat(20)).as_bytes());
    assert_eq!(String::from_utf8_lossy(&answers).matches("HTTP/1.1 200").count(), 21);
    assert_eq!(admin.get("/healthcheck").status, 200);
    lb.finish();
}

#[test]
fn a_thousand_idle_connections_harm_nobody() {
    raise_fd_limit();
    let Scene {
        lb,
        admin,
        _backend,
        _folder,
    } = open();
    let idle: Vec<_> = (0..1000)
        .map(|number| {
            let mut stream = admin.connect();
            if number % 2 == 0 {
                // It may have been shown the door already.
                drop(stream.write_all(b"GET / HTTP/1.1\r\nHost:"));
            }
            stream
        })
        .collect();
    assert_eq!(admin.get("/healthcheck").status, 200, "who asks is answered");
    let client = Peer::connect(lb.address());
    assert_eq!(client.line(), "a");
    client.send(b"as ever").expect(b"as ever").fin().expect_eof();
    assert!(lb.fds_more() <= 80, "{} descriptors more", lb.fds_more());
    drop(idle);
    lb.finish();
}

#[test]
fn who_asks_much_and_reads_nothing_is_cut() {
    let Scene {
        lb,
        admin,
        _backend,
        _folder,
    } = open();
    let mut stream = admin.connect();
    let request = format!("GET /api/v1/openapi.json HTTP/1.1\r\nHost: {}\r\n\r\n", admin.address());
    // Answers pile up until the socket takes no more; then the balancer gives up on it, and the rest is refused.
    while stream.write_all(request.as_bytes()).is_ok() {}
    let mut rest = Vec::new();
    drop(stream.read_to_end(&mut rest)); // what had come, and a reset
    assert_eq!(admin.get("/healthcheck").status, 200);
    lb.finish();
}

/// What `lb` says when it doesn't start.
fn refused(lines: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    let backend = Backend::named("a");
    let config = Config::with_backends(&[("a", backend.address())]).admin(lines);
    std::fs::write(folder.path().join("lb.toml"), config.text()).unwrap();
    let mut command = lb_command(folder.path());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut lb = Program::start(command);
    assert_eq!(lb.exit_code(), Some(1));
    lb.stderr().join("\n")
}

#[test]
fn it_does_not_start_where_it_would_be_open_or_unheard() {
    let said = refused("listen = \"0.0.0.0:0\"");
    assert!(said.contains("admin.listen") && said.contains("token_file"), "{said}");
    let said = refused("listen = \"127.0.0.1:0\"\ntoken_file = \"/nonexistent/tokens\"");
    assert!(said.contains("admin.token_file: /nonexistent/tokens"), "{said}");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let said = refused(&format!("listen = \"{address}\""));
    assert!(
        said.contains(&format!("admin.listen: can't listen on {address}")),
        "{said}"
    );
}

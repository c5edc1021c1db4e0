//! One JSON line for each connection that has ended, with what happened to it.

use serde_json::Value;

use super::common::{Backend, Balancer, Config, Peer, Refusing, eventually, expect_refusal};

const FIELDS: [&str; 10] = [
    "time",
    "service",
    "client",
    "backend",
    "connect_seconds",
    "seconds",
    "bytes_to_backend",
    "bytes_to_client",
    "retries",
    "end",
];

fn parse(line: &str) -> Value {
    let line: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
    let mut found: Vec<_> = line.as_object().unwrap().keys().map(String::as_str).collect();
    let mut wanted = FIELDS.to_vec();
    found.sort_unstable();
    wanted.sort_unstable();
    assert_eq!(found, wanted, "{line}");
    let time: jiff::Timestamp = line["time"].as_str().unwrap().parse().unwrap();
    assert!(line["time"].as_str().unwrap().ends_with('Z'), "{line}");
    assert!((jiff::Timestamp::now() - time).get_hours() == 0, "{line}");
    line
}

/// Waits until there are `count` lines, each complete.
fn lines(lb: &Balancer, count: usize) -> Vec<Value> {
    let path = lb.folder().join("access.log");
    let text = eventually(&format!("{count} lines in the access log"), || {
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        (text.ends_with('\n') && text.lines().count() >= count).then_some(text)
    });
    assert_eq!(text.lines().count(), count, "{text}");
    text.lines().map(parse).collect()
}

#[test]
fn a_connection_that_is_refused_at_a_limit_has_a_line_and_the_log_says_why() {
    let backend = Backend::echo();
    let config = Config::with_backends(&[("a", backend.address())])
        .log("access = \"access.log\"")
        .service("max_connections = 1");
    let lb = Balancer::start(&config);
    let inside = Peer::connect(lb.address());
    inside.send(b"in").expect(b"in");
    expect_refusal(lb.address());
    let line = lines(&lb, 1).pop().unwrap();
    assert_eq!(
        (&line["end"], &line["backend"]),
        (&"refused".into(), &Value::Null),
        "{line}"
    );
    lb.line("refused: the connections that the service may have are taken: 1");
}

#[test]
fn each_connection_has_one_line_with_its_bytes_backend_and_end() {
    let (gone, backend) = (Refusing::bind(), Backend::listen());
    let config = Config::new()
        .log("access = \"access.log\"")
        .service("idle_timeout = \"3s\"\nmax_connections = 1")
        .backend("gone", gone.address(), "weight = 256")
        .backend("here", backend.address(), "");
    let lb = Balancer::start(&config);
    let mut told = 0;
    let mut last = |client: &str| {
        told += 1;
        let line = lines(&lb, told).pop().unwrap();
        assert_eq!(
            (line["service"].as_str(), line["client"].as_str()),
            (Some("echo"), Some(client)),
            "{line}"
        );
        lb.wait_until_idle();
        line
    };

    let client = Peer::connect(lb.address());
    client.send_noise(1, 12_345).fin();
    let server = backend.accept();
    server.expect_noise(1, 12_345).expect_eof().send_noise(2, 54_321).fin();
    client.expect_noise(2, 54_321).expect_eof();
    let line = last(&client.local().to_string());
    assert_eq!(line["backend"], "here", "{line}");
    assert_eq!(
        (&line["bytes_to_backend"], &line["bytes_to_client"]),
        (&12_345.into(), &54_321.into()),
        "{line}"
    );
    assert_eq!(
        (&line["retries"], &line["end"]),
        (&1.into(), &"client_closed".into()),
        "{line}"
    );
    assert!(
        line["connect_seconds"].as_f64().unwrap() <= line["seconds"].as_f64().unwrap(),
        "{line}"
    );

    let client = Peer::connect(lb.address());
    let server = backend.accept();
    let address = client.local().to_string();
    client.send(b"x");
    server.expect(b"x");
    client.reset();
    let line = last(&address);
    assert_eq!(
        (&line["bytes_to_backend"], &line["end"]),
        (&1.into(), &"client_reset".into()),
        "{line}"
    );
    drop(server);

    let client = Peer::connect(lb.address());
    let server = backend.accept();
    server.send_noise(3, 70_000).wait_until_acknowledged().reset_now();
    drop(server);
    client.expect_noise(3, 70_000).expect_reset();
    let line = last(&client.local().to_string());
    assert_eq!(
        (&line["bytes_to_client"], &line["end"]),
        (&70_000.into(), &"backend_reset".into()),
        "{line}"
    );

    let client = Peer::connect(lb.address());
    client.expect_reset();
    let line = last(&client.local().to_string());
    assert_eq!(
        (&line["end"], &line["backend"]),
        (&"idle_timeout".into(), &"here".into()),
        "{line}"
    );
    assert!(line["seconds"].as_f64().unwrap() >= 3.0, "{line}");
    drop(backend);
}

#[test]
fn a_connection_that_reached_nobody_has_a_line_without_backend() {
    let gone = Refusing::bind();
    let config = Config::with_backends(&[("gone", gone.address())]).log("access = \"access.log\"");
    let lb = Balancer::start(&config);
    expect_refusal(lb.address());
    let line = lines(&lb, 1).pop().unwrap();
    assert_eq!(
        (&line["end"], &line["backend"], &line["connect_seconds"]),
        (&"connect_failed".into(), &Value::Null, &Value::Null)
    );
}

#[test]
fn it_goes_to_standard_error_where_that_is_wanted() {
    let backend = Backend::echo();
    let lb = Balancer::start(&Config::with_backends(&[("a", backend.address())]).log("access = \"stderr\""));
    Peer::connect(lb.address()).send(b"hi").fin().expect(b"hi").expect_eof();
    assert_eq!(parse(&lb.line("\"end\":"))["bytes_to_client"], 2);
}

#[test]
fn every_line_is_written_before_it_has_stopped() {
    let backend = Backend::echo();
    let lb = Balancer::start(&Config::with_backends(&[("a", backend.address())]).log("access = \"stderr\""));
    super::common::at_once(8, |_| {
        for _ in 0..100 {
            Peer::connect(lb.address()).send(b"hi").fin().expect(b"hi").expect_eof();
        }
    });
    lb.wait_until_idle();
    lb.signal(super::common::Signal::TERM);
    lb.line("] stopped");
    assert_eq!(lb.lines_with("\"end\":\"client_closed\"").len(), 800);
    lb.finish_stopped();
}

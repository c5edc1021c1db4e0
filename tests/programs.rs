//! `client` and `tcp_server` as programs: what they print, what they write, how they exit.

use std::net::SocketAddr;
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

use serde_json::{Value, json};

use super::common::{Backend, Peer, Program, Refusing, Signal, tcp_server};

pub(crate) fn client(target: SocketAddr, arguments: &str) -> Program {
    let mut command = Command::new(env!("CARGO_BIN_EXE_client"));
    command
        .args(["--target", &target.to_string()])
        .args(arguments.split_ascii_whitespace());
    Program::captured(command)
}

/// The value in a row of the table.
pub(crate) fn row(client: &Program, name: &str) -> String {
    let rows = client.stdout();
    let value = rows
        .iter()
        .find_map(|row| row.strip_prefix(name)?.strip_prefix("  ").map(str::trim));
    value
        .unwrap_or_else(|| panic!("no row {name:?} in {rows:#?}"))
        .to_owned()
}

#[test]
fn the_client_checks_every_byte_and_prints_its_table_last() {
    let (_server, address) = tcp_server(&["0"]);
    let mut client = client(address, "--conns 100 --requests 5 --size 1000");
    assert_eq!(client.exit_code(), Some(0), "{}", client.story());
    assert_eq!(
        (
            row(&client, "connections"),
            row(&client, "requests"),
            row(&client, "errors")
        ),
        ("100".into(), "500".into(), "0".into())
    );
    for name in [
        "requests/s",
        "bytes/s",
        "  min",
        "  mean",
        "  p50",
        "  p90",
        "  p99",
        "  p99.9",
        "  max",
    ] {
        row(&client, name);
    }
    assert!(
        client.stdout().last().unwrap().starts_with("  max "),
        "{:?}",
        client.stdout()
    );
}

#[test]
fn the_clients_json_has_the_same_figures_as_its_table() {
    let (_server, address) = tcp_server(&["0"]);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("result.json");
    let mut client = client(
        address,
        &format!("--conns 10 --requests 4 --size 2KiB --json {}", file.display()),
    );
    assert_eq!(client.exit_code(), Some(0), "{}", client.story());
    let json: Value = serde_json::from_str(&std::fs::read_to_string(&file).unwrap()).unwrap();
    assert_eq!(json["requests"]["ok"], 40);
    assert_eq!(json["requests"]["failed"], 0);
    assert_eq!(json["connections"]["opened"], 10);
    assert_eq!(json["bytes"], 40 * 2048);
    assert_eq!(json["parameters"]["size_bytes"], 2048);
    assert_eq!(json["errors"], serde_json::json!({}));
    let times = &json["response_time_seconds"];
    let [min, p50, max] = ["min", "p50", "max"].map(|name| times[name].as_f64().unwrap());
    assert!(0.0 < min && min <= p50 && p50 <= max, "{times}");
    assert_eq!(row(&client, "requests"), "40");
}

#[test]
fn the_clients_page_has_the_runs_figures_and_both_pictures_and_needs_no_network() {
    let (_server, address) = tcp_server(&["0"]);
    let folder = tempfile::tempdir().unwrap();
    let [page, json] = ["result.html", "result.json"].map(|name| folder.path().join(name));
    let files = format!("--report {} --json {}", page.display(), json.display());
    let mut client = client(address, &format!("--conns 10 --requests 123 {files}"));
    assert_eq!(client.exit_code(), Some(0), "{}", client.story());
    let html = std::fs::read_to_string(&page).unwrap();
    let (head, rest) = html.split_once("<script").unwrap();
    let (script, body) = rest.split_once("</script>").unwrap();
    assert!(script.contains("plotly.js v"));
    for outside in ["src=\"http", "href=\"http", "http://", "https://"] {
        assert!(!head.contains(outside) && !body.contains(outside), "{outside}");
    }
    assert!(!script.starts_with(" src="));
    for part in [
        "<td>requests</td><td>1,230</td>",
        "Half of the 1,230 answers came within",
        "1,230 requests were answered in",
        "There was no error.",
    ] {
        assert!(body.contains(part), "{part}: {body}");
    }
    let p99 = row(&client, "  p99");
    assert!(body.contains(&format!("p99</td><td>{p99}</td>")), "{p99}: {body}");
    for title in ["Response times", "Throughput"] {
        assert!(body.contains(&format!("\"text\":\"{title}\"")), "{title}: {body}");
    }
    assert_eq!(body.matches("Plotly.newPlot(").count(), 2);
    let json: Value = serde_json::from_str(&std::fs::read_to_string(&json).unwrap()).unwrap();
    assert_eq!(json["requests"]["ok"], 1230);
}

#[test]
fn the_client_tells_who_got_its_connections_where_a_balancer_says_it() {
    let (_server, address) = tcp_server(&["0"]);
    let asked = AtomicU64::new(0);
    // Speaks as the admin API does; 70 and 30 connections more at the second time.
    let admin = Backend::serve(move |peer| {
        let request = peer.request_head();
        assert!(request.starts_with("GET /api/v1/services HTTP/1."), "{request}");
        let time = asked.fetch_add(1, SeqCst);
        let backend =
            |name: &str, total: u64| json!({"name": name, "connections": {"active": 0, "total": total, "failed": 0}});
        let backends = [backend("one", 5 + 70 * time), backend("two", 9 + 30 * time)];
        let services = json!([{"name": "echo", "listen": [address.to_string()], "backends": backends}]);
        peer.send(format!("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n{services}").as_bytes())
            .fin();
    });
    let folder = tempfile::tempdir().unwrap();
    let [page, json] = ["result.html", "result.json"].map(|name| folder.path().join(name));
    let files = format!("--report {} --json {}", page.display(), json.display());
    let mut client = client(address, &format!("--conns 100 --admin {} {files}", admin.address()));
    assert_eq!(client.exit_code(), Some(0), "{}", client.story());
    assert_eq!(
        (row(&client, "  to one"), row(&client, "  to two")),
        ("70".to_owned(), "30".to_owned())
    );
    let json: Value = serde_json::from_str(&std::fs::read_to_string(&json).unwrap()).unwrap();
    assert_eq!(json["backends"], json!({"one": 70, "two": 30}));
    let html = std::fs::read_to_string(&page).unwrap();
    assert!(html.contains("one got most, 70 connections (70.0\u{a0}%). two got fewest, 30 (30.0\u{a0}%)."));
}

#[test]
fn a_result_that_can_not_be_written_ends_the_client_before_its_first_connect() {
    let (mut server, address) = tcp_server(&["0", "--id", "s"]);
    for flag in ["--report", "--json"] {
        let mut client = client(address, &format!("{flag} /no/such/folder/result"));
        assert_eq!(client.exit_code(), Some(1), "{}", client.story());
        assert_eq!(
            client.stderr(),
            ["cannot write /no/such/folder/result: No such file or directory (os error 2)"]
        );
        assert!(client.stdout().is_empty(), "{}", client.story());
    }
    server.signal(Signal::TERM);
    assert_eq!(server.exit_code(), Some(0));
    assert_eq!(server.stdout().last().unwrap(), "s: 0 connections, 0 bytes echoed");
}

#[test]
fn the_client_finds_one_wrong_byte_and_exits_1() {
    let liar = Backend::serve(|peer| {
        let mut bytes = peer.take(64);
        bytes[63] ^= 1;
        peer.send(&bytes).wait_for_end();
    });
    let mut client = client(liar.address(), "--conns 3");
    assert_eq!(client.exit_code(), Some(1), "{}", client.story());
    assert_eq!(row(&client, "  wrong_bytes"), "3");
}

#[test]
fn the_client_finds_bytes_that_were_never_sent_and_exits_1() {
    let liar = Backend::serve(|peer| {
        let bytes = peer.take(64);
        peer.send(&bytes).send(b"!").fin().wait_for_end();
    });
    let mut client = client(liar.address(), "--conns 1");
    assert_eq!(client.exit_code(), Some(1), "{}", client.story());
    assert_eq!(row(&client, "  wrong_bytes"), "1");
}

#[test]
fn the_client_names_each_kind_of_failure_and_exits_1() {
    let gone = Refusing::bind();
    let resetting = Backend::serve(|peer| {
        peer.take(64);
        peer.reset_now();
    });
    let closing = Backend::serve(|peer| {
        let bytes = peer.take(64);
        peer.send(&bytes[..10]).fin().wait_for_end();
    });
    let silent = Backend::listen();
    for (kind, address) in [
        ("connect_refused", gone.address()),
        ("reset", resetting.address()),
        ("closed_early", closing.address()),
        ("timeout", silent.address()),
    ] {
        let mut client = client(address, "--conns 2 --timeout 500ms");
        assert_eq!(client.exit_code(), Some(1), "{kind}: {}", client.story());
        assert_eq!(row(&client, &format!("  {kind}")), "2", "{}", client.story());
    }
}

#[test]
fn a_client_that_is_stopped_prints_what_it_has_and_exits_1() {
    let (_server, address) = tcp_server(&["0"]);
    let mut client = client(address, "--conns 2 --rate 100 --duration 10m");
    // Its connections stand: the server has seen a request.
    super::common::pass(std::time::Duration::from_millis(500));
    client.signal(Signal::INT);
    assert_eq!(client.exit_code(), Some(1), "{}", client.story());
    assert_eq!(row(&client, "stopped early"), "yes");
}

#[test]
fn the_clients_rate_is_kept_and_a_duration_ends_it() {
    let (_server, address) = tcp_server(&["0"]);
    let mut client = client(address, "--conns 4 --rate 200 --duration 2s");
    assert_eq!(client.exit_code(), Some(0), "{}", client.story());
    let requests: u32 = row(&client, "requests").parse().unwrap();
    assert!(
        (380..=401).contains(&requests),
        "{requests} requests in 2 s at 200 a second"
    );
}

#[test]
fn wrong_usage_exits_2_and_says_what_is_wrong() {
    for (program, arguments) in [
        (env!("CARGO_BIN_EXE_client"), "--conns many"),
        (env!("CARGO_BIN_EXE_client"), "--conns 0"),
        (env!("CARGO_BIN_EXE_client"), "--rate -1"),
        (env!("CARGO_BIN_EXE_client"), "--no-such-flag"),
        (env!("CARGO_BIN_EXE_client"), "--requests 5 --duration 1s"),
        (env!("CARGO_BIN_EXE_client"), "--size 0 --new-connection --reply-size 5"),
        (env!("CARGO_BIN_EXE_client"), "--size 1MiB --reply-size 65537"),
        (env!("CARGO_BIN_EXE_tcp_server"), "0 --request-size 64"),
        (env!("CARGO_BIN_EXE_tcp_server"), "0 --reply-size 64"),
        (env!("CARGO_BIN_EXE_tcp_server"), "0 --request-size 64 --reply-size 0"),
        (
            env!("CARGO_BIN_EXE_tcp_server"),
            "0 --request-size 1MiB --reply-size 65537",
        ),
        (env!("CARGO_BIN_EXE_tcp_server"), ""),
        (env!("CARGO_BIN_EXE_tcp_server"), "70000"),
        (env!("CARGO_BIN_EXE_tcp_server"), "0 --delay 5"),
        (env!("CARGO_BIN_EXE_lb"), "--config"),
        (env!("CARGO_BIN_EXE_lb"), "chekc"),
    ] {
        let mut command = Command::new(program);
        command.args(arguments.split_ascii_whitespace());
        let mut program = Program::captured(command);
        assert_eq!(program.exit_code(), Some(2), "{arguments}: {}", program.story());
        assert!(!program.stderr().is_empty(), "{arguments}");
    }
}

#[test]
fn help_shows_examples_and_exits_0() {
    for program in [
        env!("CARGO_BIN_EXE_client"),
        env!("CARGO_BIN_EXE_tcp_server"),
        env!("CARGO_BIN_EXE_lb"),
    ] {
        let mut command = Command::new(program);
        command.arg("--help");
        let mut program = Program::captured(command);
        assert_eq!(program.exit_code(), Some(0));
        assert!(!program.lines_with("Example").is_empty(), "{}", program.story());
    }
}

#[test]
fn the_server_says_when_it_is_ready_and_what_it_has_done() {
    let (mut server, address) = tcp_server(&["0", "--id", "eu-1"]);
    assert_eq!(server.stdout(), [format!("eu-1 listening on {address}")]);
    for _ in 0..3 {
        Peer::connect(address)
            .send(b"12345")
            .fin()
            .expect(b"12345")
            .expect_eof();
    }
    server.signal(Signal::TERM);
    assert_eq!(server.exit_code(), Some(0));
    assert_eq!(server.stdout().last().unwrap(), "eu-1: 3 connections, 15 bytes echoed");
}

#[test]
fn the_server_is_named_after_its_port_and_says_when_that_is_taken() {
    let (server, address) = tcp_server(&["0"]);
    assert!(
        server.stdout()[0].starts_with(&format!("server-{} ", address.port())),
        "{:?}",
        server.stdout()
    );
    let mut command = Command::new(env!("CARGO_BIN_EXE_tcp_server"));
    command.arg(address.port().to_string());
    let mut second = Program::captured(command);
    assert_eq!(second.exit_code(), Some(1));
    assert!(
        second.stderr()[0].contains(&address.to_string()),
        "{:?}",
        second.stderr()
    );
}

fn http(address: SocketAddr, path: &str) -> (String, String) {
    let peer = Peer::connect(address);
    peer.send(format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").as_bytes());
    let head = peer.request_head();
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length")
            .then(|| value.trim().parse::<usize>().unwrap())
    });
    let body = String::from_utf8(peer.take(length.unwrap_or(0))).unwrap();
    (head.lines().next().unwrap().to_owned(), body)
}

#[test]
fn the_servers_http_side_answers_as_it_is_told() {
    let (server, echo) = tcp_server(&["0", "--http", "0", "--id", "s7"]);
    let line = server.line(" http on ");
    let address = line.rsplit_once(' ').unwrap().1.parse().unwrap();
    Peer::connect(echo)
        .send(b"1234567")
        .fin()
        .expect(b"1234567")
        .expect_eof();
    for path in ["/", "/health", "/heartbeat"] {
        assert_eq!(http(address, path).0, "HTTP/1.1 200 OK", "{path}");
    }
    let home: Value = serde_json::from_str(&http(address, "/home").1).unwrap();
    assert_eq!(
        home,
        serde_json::json!({"message": "Hello from Server: s7", "status": "successful"})
    );
    assert_eq!(http(address, "/health").1, "OK");
    let metrics = http(address, "/metrics").1;
    for line in ["echo_connections_total 1", "echo_bytes_total 7"] {
        assert!(metrics.lines().any(|found| found == line), "{line}: {metrics}");
    }
    for name in [
        "process_cpu_seconds_total",
        "process_resident_memory_bytes",
        "process_start_time_seconds",
    ] {
        assert!(
            metrics.lines().any(|line| line.starts_with(&format!("{name} "))),
            "{name}: {metrics}"
        );
    }
    assert!(http(address, "/nothing").0.contains("404"));
}

#[test]
fn the_servers_delay_is_before_each_echo() {
    let (_server, address) = tcp_server(&["0", "--delay", "300ms"]);
    let from = std::time::Instant::now();
    Peer::connect(address).send(b"a").expect(b"a").send(b"b").expect(b"b");
    assert!(
        from.elapsed() >= std::time::Duration::from_millis(600),
        "{:?}",
        from.elapsed()
    );
}

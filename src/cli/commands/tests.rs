//! Each command against a peer with a script: what it asks, and what it says of the answer.

use super::super::scripted::{Scripted, answer as http};
use super::*;
use crate::cli::typed::{Cli, Command};
use clap::Parser;
use serde_json::{Value, json};

fn backend(name: &str, state: &str, total: u64) -> Value {
    json!({"name": name, "address": format!("127.0.0.1:{}", 9000 + total), "weight": 1, "backup": false, "state": state,
        "health": {"status": "up", "since": "2026-11-21T08:17:31Z", "last_check": null, "last_error": null, "latency_seconds": 0.000_21},
        "connections": {"active": 2, "total": total, "failed": 0}, "bytes": {"to_backend": 1536, "to_client": 0},
        "process": null, "origin": "config"})
}

fn service() -> Value {
    let mut ill = backend("server-9002", "down", 1);
    ill["health"]["last_error"] = json!("connection refused\nby 127.0.0.1:9002");
    ill["backup"] = json!(true);
    ill["health"]["latency_seconds"] = Value::Null;
    json!({"name": "echo", "listen": ["127.0.0.1:9000"], "balance": "round_robin",
        "connections": {"active": 2, "total": 1234, "failed": 1, "refused": 0}, "bytes": {"to_backend": 1536, "to_client": 10_485_760},
        "backends": [backend("server-9001", "up", 3), ill]})
}

fn typed(line: &str) -> RemoteCommand {
    match Cli::try_parse_from(format!("lb {line}").split(' ')).unwrap().command() {
        Command::Remote(command) => command,
        other => panic!("{other:?}"),
    }
}

/// What a command asks, and what it says of an answer, plain.
fn done(line: &str, status: u16, body: &Value) -> (String, String) {
    let peer = Scripted::says(status, &body.to_string());
    let command = typed(line);
    let lb = Remote::new(&peer.flags()).unwrap();
    let answer = answer(&lb, &command).unwrap();
    let said = said(false, &command, &answer).unwrap();
    let asked = peer.asked();
    let (head, body) = asked.split_once("\r\n\r\n").unwrap();
    let first = head.lines().next().unwrap().trim_end_matches(" HTTP/1.1");
    (
        format!("{first} {body}").trim_end().to_owned(),
        anstream::adapter::strip_str(&said).to_string(),
    )
}

#[test]
fn status_tells_of_the_process_of_services_and_of_backends() {
    let body = json!({"version": "0.1.0", "pid": 7, "uptime_seconds": 192.0, "state": "running", "workers": 2,
        "connections": {"active": 2, "total": 1234, "refused": 0}, "services": [service()], "newer": 1});
    let (asked, said) = done("status", 200, &body);
    assert_eq!(asked, "GET /api/v1/status");
    let wanted = "\
lb 0.1.0 is running, for 3m 12s now, process 7, 2 workers
connections: 2 active, 1,234 in all, 0 refused

echo, round_robin on 127.0.0.1:9000: 1 of 2 backends up; connections: 2 active, 1,234 in all, 1 failed, 0 refused; 1.5 KiB to backends, 10 MiB to clients
  NAME         ADDRESS         STATE         WEIGHT  ACTIVE  TOTAL  SHARE  FAILED  LATENCY  ORIGIN
  server-9001  127.0.0.1:9003  up                 1       2      3  75.0%       0   210 µs  config
  server-9002  127.0.0.1:9001  down, backup       1       2      1  25.0%       0        -  config
  echo/server-9002 is down since 2026-11-21T08:17:31Z: connection refused\\nby 127.0.0.1:9002
";
    assert_eq!(said, wanted);
}

#[test]
fn backends_are_listed_of_all_services_or_of_one() {
    let wanted = "\
SERVICE  NAME         ADDRESS         STATE         WEIGHT  ACTIVE  TOTAL  SHARE  FAILED  LATENCY  ORIGIN
echo     server-9001  127.0.0.1:9003  up                 1       2      3  75.0%       0   210 µs  config
echo     server-9002  127.0.0.1:9001  down, backup       1       2      1  25.0%       0        -  config

echo/server-9002 is down since 2026-11-21T08:17:31Z: connection refused\\nby 127.0.0.1:9002
";
    let all = done("backends", 200, &json!([service()]));
    assert_eq!(all, ("GET /api/v1/services".into(), wanted.into()));
    let one = done("backends echo", 200, &service());
    assert_eq!(one, ("GET /api/v1/services/echo".into(), wanted.into()));
}

#[test]
fn changes_ask_for_what_was_typed_and_tell_what_is_now() {
    let path = "/api/v1/services/echo/backends";
    let (up, draining) = (backend("a", "up", 1), backend("a", "draining", 1));
    for (line, status, body, asked, said) in [
        (
            "add echo a 127.0.0.1:9001 --weight 3 --backup",
            201,
            backend("a", "starting", 1),
            format!("POST {path} {{\"name\":\"a\",\"address\":\"127.0.0.1:9001\",\"weight\":3,\"backup\":true}}"),
            "echo/a: added, 127.0.0.1:9001, weight 1, starting\n",
        ),
        (
            "drain echo a",
            200,
            draining.clone(),
            format!("PATCH {path}/a {{\"state\":\"draining\"}}"),
            "echo/a: draining, 2 live connections\n",
        ),
        (
            "resume echo a",
            200,
            up.clone(),
            format!("PATCH {path}/a {{\"state\":\"active\"}}"),
            "echo/a: up, 2 live connections\n",
        ),
        (
            "weight echo a 1",
            200,
            up.clone(),
            format!("PATCH {path}/a {{\"weight\":1}}"),
            "echo/a: weight 1\n",
        ),
        (
            "remove echo a",
            200,
            up,
            format!("DELETE {path}/a"),
            "echo/a: removed\n",
        ),
        (
            "remove echo a --drain 5m",
            202,
            draining,
            format!("DELETE {path}/a?drain=5m"),
            "echo/a: draining, 2 live connections; it is gone when they have ended\n",
        ),
    ] {
        assert_eq!(done(line, status, &body), (asked, said.into()));
    }
}

#[test]
fn connections_are_listed_and_ended() {
    let live = json!({"id": "1-7", "service": "echo", "client": "127.0.0.1:5", "backend": null, "phase": "connecting",
        "seconds": 61.5, "bytes_to_backend": 0, "bytes_to_client": 2048});
    let body = json!({"connections": [live], "is_truncated": true});
    let (asked, said) = done("connections echo --backend a --limit 1", 200, &body);
    assert_eq!(asked, "GET /api/v1/connections?service=echo&backend=a&limit=1");
    let wanted = "\
ID   SERVICE  CLIENT       BACKEND  PHASE         AGE  TO BACKEND  TO CLIENT
1-7  echo     127.0.0.1:5  -        connecting  1m 1s         0 B    2.0 KiB

1 are shown, there may be more: --limit N shows them
";
    assert_eq!(said, wanted);
    let (_, none) = done("connections", 200, &json!({"connections": [], "is_truncated": false}));
    assert_eq!(none, "no live connections\n");
    let ended = done("end 1-7", 200, &json!({"id": "1-7", "end": "ended_by_operator"}));
    assert_eq!(
        ended,
        (
            "DELETE /api/v1/connections/1-7".into(),
            "1-7: ended_by_operator\n".into()
        )
    );
}

#[test]
fn json_is_what_lb_said_with_fields_that_nobody_here_knows() {
    let command = typed("weight echo a 1");
    let peer = Scripted::answers(vec![http(200, r#"{"zeal":1,"name":"a"}"#), http(200, "<html>")]);
    let lb = Remote::new(&peer.flags()).unwrap();
    let answered = answer(&lb, &command).unwrap();
    assert_eq!(
        said(true, &command, &answered).unwrap(),
        "{\n  \"zeal\": 1,\n  \"name\": \"a\"\n}\n"
    );
    let answered = answer(&lb, &command).unwrap();
    assert!(matches!(said(true, &command, &answered), Err(Failure::Unreachable(_))));
}

#[test]
fn who_stops_reading_has_read_enough_and_a_full_disk_is_told() {
    assert!(print(|| Err(io::ErrorKind::BrokenPipe.into())).is_ok());
    assert!(matches!(
        print(|| Err(io::ErrorKind::StorageFull.into())),
        Err(Failure::Output(_))
    ));
}

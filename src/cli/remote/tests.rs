//! The client against peers that answer well, badly, slowly and not at all.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixListener;
use std::thread;
use std::time::Duration;

use super::super::scripted::{PATIENCE as LONG, Scripted, answer};
use super::*;
use crate::api::{BackendChange, Weight};

const ERROR: &str = r#"{"error":{"code":"unknown_backend","message":"no backend \"x\" in \"echo\""}}"#;

fn unreachable(failure: Result<Answer, Failure>) -> String {
    match failure {
        Err(Failure::Unreachable(line)) => line,
        Err(other) => panic!("{other:?}"),
        Ok(answer) => panic!("{}", answer.body),
    }
}

fn flags(admin: &str) -> RemoteFlags {
    RemoteFlags {
        admin: admin.into(),
        token_file: None,
        json: false,
    }
}

fn impatient(admin: &str) -> Remote {
    let mut lb = Remote::new(&flags(admin)).unwrap();
    lb.patience = Duration::from_millis(100);
    lb
}

#[test]
fn a_get_names_its_host_and_brings_the_answer() {
    let peer = Scripted::says(200, "[1,2]");
    let answer = Remote::new(&peer.flags()).unwrap().get("/api/v1/x").unwrap();
    assert_eq!(answer.status, 200);
    assert_eq!(answer.read::<Vec<u8>>().unwrap(), [1, 2]);
    let wanted = format!(
        "GET /api/v1/x HTTP/1.1\r\nhost: {}\r\naccept: application/json\r\n\r\n",
        peer.address()
    );
    assert_eq!(peer.asked(), wanted);
}

#[test]
fn a_change_has_a_type_a_body_and_the_token() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "operate:secret\n").unwrap();
    let peer = Scripted::answers(vec![answer(200, "{}"), answer(201, "{}"), answer(202, "{}")]);
    let mut flags = peer.flags();
    flags.token_file = Some(file.path().into());
    let lb = Remote::new(&flags).unwrap();
    let change = BackendChange {
        weight: Some(Weight(7)),
        state: None,
    };
    lb.patch("/a", &change).unwrap();
    let asked = peer.asked();
    assert!(
        asked.starts_with("PATCH /a HTTP/1.1\r\n") && asked.ends_with("\r\n\r\n{\"weight\":7}"),
        "{asked}"
    );
    for header in ["content-type: application/json\r\n", "authorization: Bearer secret\r\n"] {
        assert!(asked.contains(header), "{asked}");
    }
    assert_eq!(lb.post("/b", &change).unwrap().status, 201);
    assert!(peer.asked().starts_with("POST /b HTTP/1.1\r\n"));
    assert_eq!(lb.delete("/c?drain=5s").unwrap().status, 202);
    let asked = peer.asked();
    assert!(
        asked.starts_with("DELETE /c?drain=5s HTTP/1.1\r\n") && !asked.contains("content-type"),
        "{asked}"
    );
}

#[test]
fn an_answer_may_come_in_chunks_and_behind_another() {
    let chunks = "HTTP/1.1 103 Early Hints\r\n\r\n\
        HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n[7\r\n1\r\n]\r\n0\r\n\r\n";
    let peer = Scripted::answers(vec![chunks.into()]);
    let answer = Remote::new(&peer.flags()).unwrap().get("/").unwrap();
    assert_eq!(answer.body, "[7]");
}

#[test]
fn a_socket_in_the_file_system_will_do() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("admin");
    let place = format!("unix:{}", path.display());
    assert!(unreachable(Remote::new(&flags(&place)).unwrap().get("/")).contains("no such file or directory"));
    let listener = UnixListener::bind(&path).unwrap();
    let peer = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.set_read_timeout(Some(LONG)).unwrap();
        let mut head = [0; 1024];
        let read = stream.read(&mut head).unwrap();
        stream.write_all(&answer(200, "{}")).unwrap();
        String::from_utf8_lossy(&head[..read]).into_owned()
    });
    Remote::new(&flags(&place)).unwrap().get("/").unwrap();
    assert!(peer.join().unwrap().contains("\r\nhost: localhost\r\n"));
}

#[test]
fn what_lb_refuses_is_told_in_its_words() {
    for status in [400, 403, 404, 409, 413, 415, 422, 429] {
        let peer = Scripted::says(status, ERROR);
        let failure = Remote::new(&peer.flags()).unwrap().get("/").err().unwrap();
        assert!(
            matches!(&failure, Failure::Refused { said, .. } if said == "no backend \"x\" in \"echo\""),
            "{failure:?}"
        );
    }
    let peer = Scripted::says(401, r#"{"error":{"code":"no_token","message":"a token is needed"}}"#);
    let failure = Remote::new(&peer.flags()).unwrap().get("/").err().unwrap();
    let wanted = "a token is needed; name a file that holds one with --token-file or LB_TOKEN_FILE";
    assert!(
        matches!(&failure, Failure::Refused { .. }) && failure.line() == wanted,
        "{failure:?}"
    );
}

#[test]
fn nobody_there_is_told_with_the_place_and_a_way_out() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    drop(listener);
    let line = unreachable(Remote::new(&flags(&address)).unwrap().get("/"));
    let wanted = format!(
        "no lb at {address}: connection refused; start it, or name the [admin] listen of its lb.toml with --admin or LB_ADMIN"
    );
    assert_eq!(line, wanted);
}

#[test]
fn another_program_that_answers_is_not_lb() {
    for other in [
        &b"SSH-2.0-OpenSSH_9.2\r\n"[..],
        b"",
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n{",
        b"HTTP/1.1 404 Not Found\r\nContent-Length: 6\r\n\r\n<html>",
        b"HTTP/1.1 500 Oh\r\nContent-Length: 1\r\n\r\n\xff",
    ] {
        let peer = Scripted::answers(vec![other.to_vec()]);
        let line = unreachable(Remote::new(&peer.flags()).unwrap().get("/"));
        assert!(
            line.contains("is it lb's [admin] listen") && line.contains(peer.address()),
            "{line}"
        );
        assert!(!line.contains("may have done it"), "{line}");
    }
    let peer = Scripted::says(200, "{}");
    let answer = Remote::new(&peer.flags()).unwrap().get("/").unwrap();
    let failure = answer.read::<crate::api::Status>().err().unwrap();
    assert!(failure.line().contains("missing field `version`"), "{failure:?}");
}

#[test]
fn a_change_that_isnt_answered_is_in_doubt() {
    let peer = Scripted::answers(vec![b"".to_vec()]);
    let line = unreachable(Remote::new(&peer.flags()).unwrap().delete("/"));
    assert!(line.contains("may have done it all the same"), "{line}");
}

/// Takes the request: an answer that is there before it is none to it.
fn hear_out(stream: &mut TcpStream) {
    stream.set_read_timeout(Some(LONG)).unwrap();
    let mut heard = [0; 1024];
    assert!(stream.read(&mut heard).unwrap() > 0);
}

#[test]
fn a_silent_peer_and_one_that_drips_are_left_in_time() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    // Nobody accepts: the kernel takes the connection and the request.
    let line = unreachable(impatient(&address).get("/"));
    assert!(line.contains("no whole answer within 0.1 s"), "{line}");
    let dripping = thread::spawn(move || {
        // The silent one's connection comes first.
        let (silent, _) = listener.accept().unwrap();
        let (mut stream, _) = listener.accept().unwrap();
        drop(silent);
        hear_out(&mut stream);
        stream.set_write_timeout(Some(LONG)).unwrap();
        stream
            .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")
            .unwrap();
        // A byte at a time, until the other side has left.
        while stream.write_all(b" ").is_ok() {}
    });
    let line = unreachable(impatient(&address).get("/"));
    assert!(
        line.contains("no whole answer within 0.1 s") || line.contains("more than 64 MiB"),
        "{line}"
    );
    dripping.join().unwrap();
}

#[test]
fn an_answer_without_end_is_left_at_its_limit() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let flood = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        hear_out(&mut stream);
        stream.set_write_timeout(Some(LONG)).unwrap();
        stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").unwrap();
        let left = std::iter::repeat_with(|| stream.write_all(&[b' '; 1 << 16]))
            .find_map(Result::err)
            .unwrap();
        assert!(
            matches!(left.kind(), io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe),
            "{left}"
        );
    });
    let mut lb = Remote::new(&flags(&address)).unwrap();
    lb.patience = LONG;
    let line = unreachable(lb.get("/"));
    assert!(line.contains("more than 64 MiB"), "{line}");
    // The connection is closed though the client lives.
    flood.join().unwrap();
    drop(lb);
}

#[test]
fn names_stay_names_in_a_path() {
    assert_eq!(path(&["a", "b c/../d?é"], &[]), "/a/b%20c%2F..%2Fd%3F%C3%A9");
    assert_eq!(
        path(&["a"], &[("x", None), ("y", Some("1&2")), ("z", Some("3"))]),
        "/a?y=1%262&z=3"
    );
}

//! A page of JSON that changes, stays the same, lies, is silent, goes and comes back.

use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::super::common::pass;
use super::*;

/// A page that a test writes.
#[derive(Clone, Default)]
struct Page {
    /// The whole answer, but for its `Content-Length`, and its body.
    answer: Arc<Mutex<(String, String)>>,
    /// Answered with 304, because the tag was known.
    not_modified: Arc<AtomicUsize>,
}

impl Page {
    fn says(&self, head: &str, body: &str) {
        *self.answer.lock().unwrap() = (head.to_owned(), body.to_owned());
    }

    /// A list, with a tag of its own.
    fn lists(&self, backends: &[&Backend]) {
        let list = json!(addresses(backends).iter().map(ToString::to_string).collect::<Vec<_>>());
        let tag: String = backends
            .iter()
            .map(|backend| backend.address().port().to_string() + "-")
            .collect();
        self.says(&format!("200 OK\r\nETag: \"{tag}\""), &list.to_string());
    }

    fn serve_at(&self, address: SocketAddr) -> Backend {
        let page = self.clone();
        Backend::serve_at(address, move |peer| {
            let request = peer.request_head();
            assert!(request.starts_with("GET /backends?of=db HTTP/1.1\r\n"), "{request}");
            let (head, body) = page.answer.lock().unwrap().clone();
            let known = request.lines().find_map(|line| line.strip_prefix("if-none-match: "));
            if known.is_some_and(|tag| head.contains(tag)) {
                page.not_modified.fetch_add(1, SeqCst);
                peer.is_sent(b"HTTP/1.1 304 Not Modified\r\n\r\n");
            } else if !head.is_empty() {
                let length = body.len();
                peer.is_sent(format!("HTTP/1.1 {head}\r\nContent-Length: {length}\r\n\r\n{body}").as_bytes());
            }
            peer.wait_for_end();
        })
    }

    fn serve(&self) -> Backend {
        self.serve_at("127.0.0.1:0".parse().unwrap())
    }
}

fn config(server: &Backend, lines: &str) -> Config {
    Config::new().discovery(&format!(
        "kind = \"http\"\nurl = \"http://{}/backends?of=db\"\ninterval = \"100ms\"\ntimeout = \"1s\"\n{LOCAL}{lines}",
        server.address()
    ))
}

#[test]
fn a_page_is_followed_and_what_is_known_is_not_sent_again() {
    let servers = echoes(2);
    let page = Page::default();
    page.lists(&[&servers[0]]);
    let server = page.serve();
    let (lb, admin, _) = start(config(&server, ""));
    wait_for(&admin, &addresses(&[&servers[0]]));
    eventually("three looks that are answered with 304", || {
        (page.not_modified.load(SeqCst) >= 3).then_some(())
    });
    assert_eq!((updates(&admin, "changed"), updates(&admin, "failed")), (1, 0));
    page.lists(&[&servers[0], &servers[1]]);
    wait_for(&admin, &addresses(&[&servers[0], &servers[1]]));
    let entry = json!([{"name": "one", "address": servers[1].address().to_string(), "weight": 9, "backup": true}]);
    page.says("200 OK", &entry.to_string());
    wait_for(&admin, &addresses(&[&servers[1]]));
    let one = admin.json(&format!("{SERVICE}/backends/one"));
    assert_eq!((&one["weight"], &one["backup"]), (&json!(9), &json!(true)));
    drop(server);
    wait_for_error(&admin, "refused");
    lb.finish();
}

#[test]
fn what_is_no_list_leaves_the_backends_and_nobody_else_is_asked() {
    let servers = echoes(2);
    let elsewhere = Backend::echo();
    let page = Page::default();
    let known = addresses(&[&servers[0], &servers[1]]);
    page.lists(&[&servers[0], &servers[1]]);
    let server = page.serve();
    let (lb, admin, _) = start(config(&server, "min_backends = 2"));
    wait_for(&admin, &known);
    let redirect = format!("302 Found\r\nLocation: http://{}/backends", elsewhere.address());
    let ten_thousand = json!(
        (1..=10_000)
            .map(|number| format!("10.0.{}.{}:1", number / 256, number % 256))
            .collect::<Vec<_>>()
    );
    let large = format!("[\"{}\"]", "x".repeat(8 << 20));
    for (head, body, wanted) in [
        (redirect.as_str(), "", "302 Found; redirects aren't followed"),
        (
            "500 Internal Server Error",
            "[]",
            "500 Internal Server Error, wanted 200",
        ),
        ("204 No Content", "", "204 No Content"),
        ("200 OK", "<html>", "isn't a list of backends"),
        ("200 OK", "[]", "no backend found"),
        (
            "200 OK",
            "[{\"adress\": \"127.0.0.1:1\"}]",
            "entry 1: unknown field `adress`",
        ),
        (
            "200 OK",
            "[\"127.0.0.1:1\", \"db:1\"]",
            "entry 2: address: found \"db:1\"",
        ),
        ("200 OK", "[\"127.0.0.1:1\"]", "1 backends found, at least 2"),
        ("200 OK", "[\"127.0.0.1:1\", \"169.254.169.254:80\"]", "is link-local"),
        (
            "200 OK",
            &ten_thousand.to_string(),
            "10000 backends found, at most 1000",
        ),
        ("200 OK", &large, "an answer of more than 8 MiB"),
        ("nonsense", "", "invalid HTTP"),
        ("200 OK\r\nContent-Length: 7", "[", ""),
        ("", "", "no answer within 1s"),
    ] {
        page.says(head, body);
        wait_for_error(&admin, wanted);
        assert_eq!(taking(&admin).len(), 2, "{wanted}");
    }
    // The tag is known, and what it stands for can't be followed: that it is the same doesn't make it good.
    page.says("200 OK\r\nETag: \"bad\"", "[]");
    wait_for_error(&admin, "no backend found");
    let before = page.not_modified.load(SeqCst);
    eventually("looks that are answered with 304", || {
        (page.not_modified.load(SeqCst) >= before + 3).then_some(())
    });
    wait_for_error(&admin, "no backend found");
    page.lists(&[&servers[0], &servers[1]]);
    wait_for_success(&admin);
    assert_eq!((taking(&admin).len(), elsewhere.accepted()), (2, 0));
    lb.finish();
}

#[test]
fn a_page_that_goes_and_returns_is_followed_again() {
    let servers = echoes(2);
    let page = Page::default();
    page.lists(&[&servers[0]]);
    let server = page.serve();
    let (lb, admin, _) = start(config(&server, ""));
    wait_for(&admin, &addresses(&[&servers[0]]));
    let refusing = server.stop();
    wait_for_error(&admin, "refused");
    let client = Peer::connect(lb.address());
    client.send(b"on").expect(b"on").fin().expect_eof();
    page.lists(&[&servers[1]]);
    let _back = page.serve_at(refusing.release());
    wait_for(&admin, &addresses(&[&servers[1]]));
    wait_for_success(&admin);
    lb.finish();
}

#[test]
fn ten_changes_a_second_under_traffic_cut_nobody_and_the_last_one_holds() {
    let servers = echoes(4);
    let page = Page::default();
    page.lists(&[&servers[0]]);
    let server = page.serve();
    let (lb, admin, _) = start(config(&server, ""));
    wait_for(&admin, &addresses(&[&servers[0]]));
    let changes = 30;
    under_traffic(lb.address(), || {
        for number in 0..changes {
            page.lists(&[&servers[0], &servers[1 + number % 3]]);
            pass(Duration::from_millis(100));
        }
        wait_for(&admin, &addresses(&[&servers[0], &servers[1 + (changes - 1) % 3]]));
    });
    let closing = lb.finish();
    let ends: Vec<&String> = closing.service("echo").1.keys().collect();
    assert_eq!(ends, ["client_closed"]);
}

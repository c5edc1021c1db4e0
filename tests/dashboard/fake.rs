//! An admin server that says what no `lb` would: the real page, with figures and names that are made up.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};

use serde_json::Value;

use super::super::common::{Http, PATIENCE};

/// What it answers, and what it has been asked.
#[derive(Default)]
pub(super) struct Script {
    /// `GET /api/v1/status`.
    pub(super) status: Value,
    /// `GET /api/v1/history`.
    pub(super) history: Value,
    /// The role that each answer tells.
    pub(super) role: &'static str,
    /// The token that it wants; empty: none.
    pub(super) token: &'static str,
}

/// The server. Its threads end with the test.
pub(super) struct Fake {
    address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    script: Mutex<Script>,
    /// Who listens to events; the newest is the last.
    listeners: Mutex<Vec<TcpStream>>,
    is_listened: Condvar,
    /// The real server, for the page and its files.
    real: Http,
}

impl Fake {
    pub(super) fn start(real: Http, script: Script) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            script: Mutex::new(script),
            listeners: Mutex::default(),
            is_listened: Condvar::new(),
            real,
        });
        let for_threads = Arc::clone(&shared);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let shared = Arc::clone(&for_threads);
                std::thread::spawn(move || shared.serve(stream.unwrap()));
            }
        });
        Self { address, shared }
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}/", self.address)
    }

    pub(super) fn change(&self, change: impl FnOnce(&mut Script)) {
        change(&mut self.shared.script.lock().unwrap());
    }

    /// Sends bytes to whoever listens to events, as soon as somebody does. Each part is a segment of its own.
    pub(super) fn send(&self, parts: &[&[u8]]) {
        let listeners = self.shared.listeners.lock().unwrap();
        let waiting = self
            .shared
            .is_listened
            .wait_timeout_while(listeners, PATIENCE, |listeners| listeners.is_empty());
        let (mut listeners, waited) = waiting.unwrap();
        assert!(!waited.timed_out(), "nobody listens to events");
        for part in parts {
            listeners.last_mut().unwrap().write_all(part).unwrap();
        }
    }
}

impl Shared {
    /// One request; the connection ends with its answer.
    fn serve(&self, mut stream: TcpStream) {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        let lines = BufReader::new(&stream).lines();
        let head: Vec<String> = lines
            .map_while(Result::ok)
            .take_while(|line| !line.is_empty())
            .collect();
        let Some(path) = head.first().and_then(|line| line.split(' ').nth(1)) else {
            return; // a connection that the browser opened in advance
        };
        let answer = match path.strip_prefix("/api/v1/") {
            Some(path) => self.answer(path, &head),
            None => Some(self.passed_on(path)),
        };
        let Some((status, headers, body)) = answer else {
            let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n";
            if stream.write_all(head.as_bytes()).is_ok() {
                self.listeners.lock().unwrap().push(stream);
                self.is_listened.notify_all();
            }
            return;
        };
        let length = body.len();
        let head = format!("HTTP/1.1 {status} Told\r\n{headers}Content-Length: {length}\r\nConnection: close\r\n\r\n");
        // A browser that has gone on wants no answer.
        drop(stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&body)));
    }

    /// `None`: the events.
    fn answer(&self, path: &str, head: &[String]) -> Option<(u16, String, Vec<u8>)> {
        let script = self.script.lock().unwrap();
        let headers = format!("Content-Type: application/json\r\nLb-Role: {}\r\n", script.role);
        let wanted = format!("authorization: bearer {}", script.token);
        if !script.token.is_empty() && !head.iter().any(|line| line.eq_ignore_ascii_case(&wanted)) {
            let problem = r#"{"error":{"code":"unauthorized","message":"the token isn't one of token_file"}}"#;
            return Some((401, headers, problem.into()));
        }
        let value = match path.split('?').next() {
            Some("status") => &script.status,
            Some("history") => &script.history,
            Some("events") => return None,
            other => panic!("the page asks for {other:?}"),
        };
        Some((200, headers, value.to_string().into_bytes()))
    }

    /// What the real server says, with its headers: the content policy is one.
    fn passed_on(&self, path: &str) -> (u16, String, Vec<u8>) {
        let answer = self.real.get(path);
        let is_ours = |line: &str| {
            ["content-length:", "connection:", "transfer-encoding:"]
                .iter()
                .any(|name| line.starts_with(name))
        };
        let lines = answer
            .head
            .lines()
            .skip(1)
            .filter(|line| !is_ours(&line.to_ascii_lowercase()));
        let headers = lines.map(|line| format!("{line}\r\n")).collect();
        (answer.status, headers, answer.body)
    }
}

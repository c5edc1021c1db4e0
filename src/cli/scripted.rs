//! A peer for tests that speaks HTTP by a script: it is told what to answer, and tells what it was asked.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use super::typed::RemoteFlags;

/// For every wait of a test.
pub(super) const PATIENCE: Duration = Duration::from_secs(20);

/// Answers one connection after the other, each with the next answer of the script.
pub(super) struct Scripted {
    address: String,
    requests: Receiver<String>,
}

impl Scripted {
    pub(super) fn answers(script: Vec<Vec<u8>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (tell, requests) = channel();
        thread::spawn(move || {
            for answer in script {
                let (mut stream, _) = listener.accept().unwrap();
                tell.send(request(&mut stream)).unwrap();
                // Who has read enough closes, and that is no failure of the peer.
                drop(stream.write_all(&answer));
            }
        });
        Self { address, requests }
    }

    /// One answer with a body of JSON.
    pub(super) fn says(status: u16, body: &str) -> Self {
        Self::answers(vec![answer(status, body)])
    }

    /// How lb's commands find it.
    pub(super) fn flags(&self) -> RemoteFlags {
        RemoteFlags {
            admin: self.address.clone(),
            token_file: None,
            json: false,
        }
    }

    pub(super) fn address(&self) -> &str {
        &self.address
    }

    /// The next request, head and body.
    pub(super) fn asked(&self) -> String {
        self.requests.recv_timeout(PATIENCE).unwrap()
    }
}

pub(super) fn answer(status: u16, body: &str) -> Vec<u8> {
    let length = body.len();
    format!("HTTP/1.1 {status} It\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}").into()
}

fn request(stream: &mut TcpStream) -> String {
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut text = String::new();
    let mut length = None;
    while length.is_none_or(|length| text.len() < length) {
        let mut piece = [0; 4096];
        let read = stream.read(&mut piece).unwrap();
        assert!(read > 0, "the request ended early: {text:?}");
        text.push_str(std::str::from_utf8(&piece[..read]).unwrap());
        if let (None, Some((head, _))) = (length, text.split_once("\r\n\r\n")) {
            let of_body = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            length = Some(head.len() + 4 + of_body.map_or(0, |length| length.parse::<usize>().unwrap()));
        }
    }
    text
}

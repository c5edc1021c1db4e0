//! For the fuzzer alone (`fuzz/`, `cfg(fuzzing)`): sources that answer with its bytes. Everything but the socket is what a running lb
//! has: hyper's client, the limits, the readers of JSON and TOML.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::poll_fn;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::pin::pin;
use std::time::Duration;

use tokio::io::{AsyncWriteExt, DuplexStream};
use tokio::sync::mpsc;

use super::follow::Word;
use super::rules::Rules;
use super::{dns, entries, etcd, http};
use crate::config::{Backend, Listed};
use crate::types::HttpUrl;

/// What a source gets of a question.
const QUESTION_BYTES_MAX: usize = 64 << 10;
const PEER: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 1);
const PREFIX: &str = "/s/";

thread_local! {
    /// What the next connections are answered with.
    static ANSWERS: RefCell<VecDeque<Vec<u8>>> = const { RefCell::new(VecDeque::new()) };
    /// The other ends of those before: a connection that is answered isn't cut.
    static ANSWERED: RefCell<Vec<DuplexStream>> = const { RefCell::new(Vec::new()) };
}

/// Stands in for `TcpStream::connect`.
pub(super) async fn connect(_: SocketAddr) -> std::io::Result<DuplexStream> {
    let answer = ANSWERS.with_borrow_mut(VecDeque::pop_front);
    let answer = answer.ok_or(std::io::ErrorKind::ConnectionRefused)?;
    let (near, mut far) = tokio::io::duplex(answer.len().max(QUESTION_BYTES_MAX));
    far.write_all(&answer).await?;
    far.shutdown().await?;
    ANSWERED.with_borrow_mut(|answered| answered.push(far));
    Ok(near)
}

fn run<T>(answers: &[&[u8]], asking: impl Future<Output = T>) -> T {
    ANSWERS.set(answers.iter().map(|bytes| bytes.to_vec()).collect());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
    let runtime = runtime.unwrap_or_else(|error| std::panic::panic_any(error));
    let outcome = runtime.block_on(asking);
    ANSWERED.set(Vec::new());
    outcome
}

fn listed(word: Word) -> Result<Option<Vec<Listed>>, String> {
    match word {
        Word::Answer(list) => Ok(Some(list)),
        Word::Same => Ok(None),
        Word::Failed(reason) => Err(reason),
    }
}

/// A page over HTTP that answers so, the first and the second time. `None`: the same as before.
pub fn page(answers: [&[u8]; 2]) -> [Result<Option<Vec<Listed>>, String>; 2] {
    let url = HttpUrl {
        address: PEER,
        path: "/".into(),
    };
    run(&answers, async {
        let mut etag = None;
        let first = http::look(&url, &mut etag).await.and_then(listed);
        let second = http::look(&url, &mut etag).await.and_then(listed);
        [first, second]
    })
}

/// An etcd that answers so to a range and to a watch: every list that was told, or why not.
pub fn etcd(answers: [&[u8]; 2]) -> Vec<Result<Option<Vec<Listed>>, String>> {
    let keys = etcd::Keys {
        address: PEER,
        prefix: PREFIX,
        timeout: Duration::from_secs(2),
    };
    let (tell, mut told) = mpsc::channel(1);
    run(&answers, async {
        let mut words = Vec::new();
        let mut asking = pin!(etcd::once(keys, &tell));
        // What it tells is taken while it asks.
        let (read, watched) = poll_fn(|context| {
            let polled = asking.as_mut().poll(context);
            while let std::task::Poll::Ready(Some(word)) = told.poll_recv(context) {
                words.push(listed(word));
            }
            polled
        })
        .await;
        words.extend([read, watched].map(|outcome| outcome.map(|()| None)));
        words
    })
}

/// What a DNS server answers, up to the backends that it comes to.
pub fn dns(bytes: &[u8]) -> Result<Vec<Backend>, String> {
    let rules = Rules {
        backends_min: 1,
        backends_max: 100,
        allow: None,
    };
    rules.judge(&dns::of_message(bytes, rules.backends_max)?)
}

/// A file of TOML.
pub fn toml(bytes: &[u8]) -> Result<Vec<Listed>, String> {
    entries::of_file(Path::new("list.toml"), bytes)
}

/// A file of JSON.
pub fn json(bytes: &[u8]) -> Result<Vec<Listed>, String> {
    entries::of_file(Path::new("list.json"), bytes)
}

/// The value of a key.
pub fn text(bytes: &[u8]) -> Result<Listed, String> {
    entries::of_text(bytes)
}

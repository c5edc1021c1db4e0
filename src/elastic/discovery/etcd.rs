//! Backends as keys of an etcd, over the JSON gateway of its v3 API: read once, then every change is told by a watch.
//!
//! A value is an address, or an object of JSON with one; without a name in it, the rest of the key is the name, if it may be one.
//! The revision up to which all is known is kept: a connection that breaks is taken up where it broke. If what is missing has been
//! compacted away, or it is another etcd by now, all is read again.
//!
//! Source: etcd.io/docs/v3.4/dev-guide/api_grpc_gateway and api_concurrency_reference.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::{Response, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};

use super::follow::{Tell, Word};
use super::rules::back_off;
use super::{entries, pass, web};
use crate::config::{self, Listed};

/// From the first failure to the next try, and at most.
const BACK_OFF: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(10));
/// Keys of an answer; more is no list of backends, however many are allowed.
const KEYS_MAX: usize = config::BACKENDS_MAX;

/// What to ask, and how.
#[derive(Clone, Copy)]
pub(super) struct Keys<'a> {
    pub(super) address: SocketAddr,
    pub(super) prefix: &'a str,
    /// For an answer; a watch has no end.
    pub(super) timeout: Duration,
}

/// What is known of it.
#[derive(Debug, Default)]
struct Known {
    values: BTreeMap<Vec<u8>, Vec<u8>>,
    /// Up to here, and of which etcd; `None` = nothing.
    at: Option<(i64, String)>,
}

#[derive(Debug, Deserialize)]
struct Header {
    #[serde(default)]
    cluster_id: String,
    #[serde(default)]
    revision: String,
}

impl Header {
    fn revision(&self) -> i64 {
        self.revision.parse().unwrap_or(0)
    }
}

#[derive(Debug, Deserialize)]
struct Range {
    header: Header,
    #[serde(default)]
    kvs: Vec<KeyValue>,
    #[serde(default)]
    more: bool,
}

#[derive(Debug, Deserialize)]
struct KeyValue {
    key: String,
    #[serde(default)]
    value: String,
}

#[derive(Debug, Deserialize)]
struct Told {
    result: Option<Changes>,
    error: Option<Value>,
}

#[derive(Debug, Deserialize)]
struct Changes {
    header: Header,
    #[serde(default)]
    created: bool,
    #[serde(default)]
    canceled: bool,
    #[serde(default)]
    cancel_reason: String,
    compact_revision: Option<String>,
    #[serde(default)]
    events: Vec<Change>,
}

#[derive(Debug, Deserialize)]
struct Change {
    /// `PUT` is left out: it is the first of its kind.
    #[serde(default, rename = "type")]
    kind: String,
    kv: KeyValue,
}

/// Tells what the keys say, from the start and after each change.
pub(super) async fn follow(keys: Keys<'_>, tell: &Tell) -> Infallible {
    let mut known = Known::default();
    let mut failures = 0_u32;
    loop {
        let mut has_begun = false;
        let outcome = match known.at {
            None => keys.read(&mut known, tell).await,
            Some(_) => keys.watch(&mut known, tell, &mut has_begun).await,
        };
        match outcome {
            Ok(()) if known.at.is_some() => failures = 0,
            // All is to be read again, but not over and over.
            Ok(()) => pass(BACK_OFF.0).await,
            Err(reason) => {
                failures = if has_begun { 1 } else { failures.saturating_add(1) };
                let word = Word::Failed(format!("etcd at {}: {reason}", keys.address));
                drop(tell.send(word).await); // without a follower this ends with it
                pass(back_off(failures, BACK_OFF)).await;
            }
        }
    }
}

/// One reading and one watch, for the fuzzer; what was wrong with each.
#[cfg(fuzzing)]
pub(super) async fn once(keys: Keys<'_>, tell: &Tell) -> (Result<(), String>, Result<(), String>) {
    let mut known = Known::default();
    let read = keys.read(&mut known, tell).await;
    (read, keys.watch(&mut known, tell, &mut false).await)
}

impl Keys<'_> {
    fn asked(&self, path: &str, body: &Value) -> Result<hyper::Request<Full<Bytes>>, String> {
        web::request("POST", self.address, path)
            .header(hyper::header::CONTENT_TYPE, "application/json")
            .body(Full::from(body.to_string()))
            .map_err(|error| error.to_string())
    }

    /// The keys, as `key` and `range_end`: up to the prefix whose last byte is one greater.
    fn bounds(&self) -> (String, String) {
        let mut end = self.prefix.as_bytes().to_vec();
        // The prefix is text of UTF-8, in which no byte is 255.
        if let Some(last) = end.last_mut() {
            *last = last.saturating_add(1);
        }
        (STANDARD.encode(self.prefix), STANDARD.encode(end))
    }

    /// All of them.
    async fn read(&self, known: &mut Known, tell: &Tell) -> Result<(), String> {
        let (key, range_end) = self.bounds();
        let request = self.asked(
            "/v3/kv/range",
            &json!({"key": key, "range_end": range_end, "limit": KEYS_MAX}),
        )?;
        let asked = web::exchange(self.address, request, async |answer| {
            let status = answer.status();
            let bytes = web::body(answer).await?;
            if status != StatusCode::OK {
                return Err(format!("{status}: {}", shortened(&bytes)));
            }
            serde_json::from_slice::<Range>(&bytes).map_err(|error| format!("no answer of etcd: {error}"))
        });
        let range = web::in_time(self.timeout, asked).await?;
        if range.more {
            return Err(format!("more than {KEYS_MAX} keys begin with {:?}", self.prefix));
        }
        let mut values = BTreeMap::new();
        for kv in &range.kvs {
            values.insert(decoded(&kv.key)?, decoded(&kv.value)?);
        }
        known.values = values;
        known.at = Some((range.header.revision(), range.header.cluster_id));
        self.tell(known, tell).await;
        Ok(())
    }

    /// Every change from there on, until the connection ends. `Ok`: all is to be read again.
    async fn watch(&self, known: &mut Known, tell: &Tell, has_begun: &mut bool) -> Result<(), String> {
        let (key, range_end) = self.bounds();
        let next = known.at.as_ref().map_or(1, |(revision, _)| revision.saturating_add(1));
        // The gateway takes 64-bit numbers as strings too; as numbers JSON may have lost digits of them (proto3's JSON mapping).
        let create = json!({"create_request": {
            "key": key, "range_end": range_end, "start_revision": next.to_string(), "progress_notify": true,
        }});
        let request = self.asked("/v3/watch", &create)?;
        web::exchange(self.address, request, async |answer: Response<Incoming>| {
            if answer.status() != StatusCode::OK {
                let status = answer.status();
                return Err(format!("{status}: {}", shortened(&web::body(answer).await?)));
            }
            let mut lines = Lines::new(answer);
            loop {
                let line = if *has_begun {
                    lines.next().await?
                } else {
                    web::in_time(self.timeout, lines.next()).await?
                };
                let told: Told =
                    serde_json::from_slice(&line).map_err(|error| format!("no answer of etcd: {error}"))?;
                let Some(changes) = told.result else {
                    return Err(told
                        .error
                        .map_or_else(|| "no answer of etcd".to_owned(), |error| error.to_string()));
                };
                if !known.take(&changes)? {
                    return Ok(());
                }
                if changes.created {
                    // Taken up again: what was wrong is over.
                    *has_begun = true;
                }
                if changes.created || !changes.events.is_empty() {
                    self.tell(known, tell).await;
                }
            }
        })
        .await
    }

    async fn tell(&self, known: &Known, tell: &Tell) {
        let word = self.listed(known).map_or_else(Word::Failed, Word::Answer);
        drop(tell.send(word).await); // as above
    }

    fn listed(&self, known: &Known) -> Result<Vec<Listed>, String> {
        let listed = known.values.iter().map(|(key, value)| {
            let mut listed =
                entries::of_text(value).map_err(|reason| format!("{}: {reason}", String::from_utf8_lossy(key)))?;
            if listed.name.is_none() {
                let rest = key
                    .get(self.prefix.len()..)
                    .and_then(|rest| std::str::from_utf8(rest).ok());
                let name = rest.filter(|name| config::check_name(name).is_ok());
                listed.name = name.map(ToOwned::to_owned);
            }
            Ok(listed)
        });
        listed.collect()
    }
}

impl Known {
    /// Takes changes in. `false`: they can't be had any more, and all is to be read again.
    fn take(&mut self, changes: &Changes) -> Result<bool, String> {
        let Some((revision, cluster)) = self.at.as_mut() else {
            return Ok(false);
        };
        // Another etcd, or one that was put back to an earlier state: it would never tell of what lies between.
        let is_another = changes.header.cluster_id != *cluster || changes.header.revision() < *revision;
        let is_compacted = changes.canceled && changes.compact_revision.is_some();
        if is_another || is_compacted {
            self.at = None;
            return Ok(false);
        }
        if changes.canceled {
            return Err(format!("the watch was ended: {}", changes.cancel_reason));
        }
        for change in &changes.events {
            let key = decoded(&change.kv.key)?;
            if change.kind == "DELETE" {
                self.values.remove(&key);
            } else {
                self.values.insert(key, decoded(&change.kv.value)?);
            }
        }
        // Of the answer that a watch begins with, the revision is etcd's, not the watch's: what lies before it is still to come.
        if !changes.created {
            *revision = changes.header.revision().max(*revision);
        }
        if self.values.len() > KEYS_MAX {
            self.at = None;
        }
        Ok(true)
    }
}

/// Lines of an answer that has no end.
struct Lines {
    answer: Response<Incoming>,
    read: Vec<u8>,
    /// Up to where there is no end of a line.
    looked_at: usize,
}

impl Lines {
    const fn new(answer: Response<Incoming>) -> Self {
        Self {
            answer,
            read: Vec::new(),
            looked_at: 0,
        }
    }

    async fn next(&mut self) -> Result<Vec<u8>, String> {
        loop {
            let fresh = self.read.iter().skip(self.looked_at);
            if let Some(end) = fresh.into_iter().position(|byte| *byte == b'\n') {
                let end = end.saturating_add(self.looked_at);
                let rest = self.read.split_off(end.saturating_add(1));
                self.looked_at = 0;
                return Ok(std::mem::replace(&mut self.read, rest));
            }
            self.looked_at = self.read.len();
            if self.read.len() > web::ANSWER_BYTES_MAX {
                return Err(format!("an answer of more than {} MiB", web::ANSWER_BYTES_MAX >> 20));
            }
            match self.answer.body_mut().frame().await {
                Some(Ok(frame)) => self.read.extend(frame.data_ref().into_iter().flatten()),
                Some(Err(error)) => return Err(format!("the connection broke: {error}")),
                None => return Err("the connection was closed".to_owned()),
            }
        }
    }
}

fn decoded(text: &str) -> Result<Vec<u8>, String> {
    STANDARD
        .decode(text)
        .map_err(|error| format!("no answer of etcd: {error}"))
}

/// The start of what somebody said, on one line.
fn shortened(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    text.split_whitespace()
        .collect::<Vec<_>>()
        .join(" ")
        .chars()
        .take(200)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changes(text: &str) -> Changes {
        serde_json::from_str::<Told>(text).unwrap().result.unwrap()
    }

    fn known(revision: i64) -> Known {
        Known {
            values: BTreeMap::from([(b"/s/a".to_vec(), b"10.0.0.1:1".to_vec())]),
            at: Some((revision, "7".to_owned())),
        }
    }

    #[test]
    fn puts_and_deletes_are_taken_in_and_the_revision_is_kept() {
        let mut known = known(5);
        // "/s/b" = "10.0.0.2:2", then "/s/a" goes, as etcd 3.4 says it.
        let put = r#"{"result":{"header":{"cluster_id":"7","revision":"6"},"events":[
            {"kv":{"key":"L3MvYg==","create_revision":"6","mod_revision":"6","version":"1","value":"MTAuMC4wLjI6Mg=="}}]}}"#;
        assert_eq!(known.take(&changes(put)), Ok(true));
        let delete = r#"{"result":{"header":{"cluster_id":"7","revision":"7"},"events":[
            {"type":"DELETE","kv":{"key":"L3MvYQ==","mod_revision":"7"}}]}}"#;
        assert_eq!(known.take(&changes(delete)), Ok(true));
        assert_eq!(known.at, Some((7, "7".to_owned())));
        let keys = Keys {
            address: ([127, 0, 0, 1], 1).into(),
            prefix: "/s/",
            timeout: Duration::from_secs(1),
        };
        let listed = keys.listed(&known).unwrap();
        assert_eq!(listed.len(), 1);
        assert_eq!((listed[0].name.as_deref(), listed[0].address.port()), (Some("b"), 2));
        known.values.insert(b"/s/c".to_vec(), b"nonsense".to_vec());
        let said = keys.listed(&known).unwrap_err();
        assert!(said.starts_with("/s/c: address: found \"nonsense\""), "{said}");
    }

    #[test]
    fn compaction_another_etcd_and_an_earlier_state_are_read_again() {
        for text in [
            r#"{"result":{"header":{"cluster_id":"7","revision":"9"},"canceled":true,"compact_revision":"8"}}"#,
            r#"{"result":{"header":{"cluster_id":"8","revision":"9"},"created":true}}"#,
            r#"{"result":{"header":{"cluster_id":"7","revision":"4"},"created":true}}"#,
        ] {
            let mut known = known(5);
            assert_eq!(known.take(&changes(text)), Ok(false), "{text}");
            assert_eq!(known.at, None);
        }
        let mut known = known(5);
        let created = r#"{"result":{"header":{"cluster_id":"7","revision":"9"},"created":true}}"#;
        assert_eq!(known.take(&changes(created)), Ok(true));
        assert_eq!(known.at, Some((5, "7".to_owned())), "6 to 9 are still to come");
    }

    #[test]
    fn a_prefix_ends_before_the_next_one() {
        let keys = Keys {
            address: ([127, 0, 0, 1], 1).into(),
            prefix: "/s/",
            timeout: Duration::from_secs(1),
        };
        assert_eq!(keys.bounds(), (STANDARD.encode("/s/"), STANDARD.encode("/s0")));
    }
}

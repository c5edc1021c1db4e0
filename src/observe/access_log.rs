//! The access log: one JSON line a finished connection, made and written off the data path.

use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};
use serde::Serialize;

use super::end::End;
use super::lines::{Drops, Lines, LinesGuard};
use crate::types::ClientAddr;

/// Records that may wait for the thread that turns them into lines.
const QUEUE_RECORDS: usize = 16_384;

/// What is told of a session that has ended.
#[derive(Clone, Debug)]
pub struct SessionRecord {
    /// The service's name.
    pub service: Arc<str>,
    /// Who connected.
    pub client: ClientAddr,
    /// The proxy that said so; `None`: it connected itself.
    pub proxied_by: Option<ClientAddr>,
    /// The backend's name; none was reached when `None`.
    pub backend: Option<Arc<str>>,
    /// How long the connect that succeeded took.
    pub connect: Option<Duration>,
    /// From accept to the end.
    pub duration: Duration,
    /// Client to backend.
    pub bytes_to_backend: u64,
    /// Backend to client.
    pub bytes_to_client: u64,
    /// Other backends tried.
    pub retries: u8,
    /// How it ended.
    pub end: End,
}

impl SessionRecord {
    /// What is told of a connection that was turned away at the door.
    #[must_use]
    pub const fn refused(service: Arc<str>, client: ClientAddr) -> Self {
        Self {
            service,
            client,
            proxied_by: None,
            backend: None,
            connect: None,
            duration: Duration::ZERO,
            bytes_to_backend: 0,
            bytes_to_client: 0,
            retries: 0,
            end: End::Refused,
        }
    }
}

#[derive(Serialize)]
struct Line<'a> {
    time: String,
    service: &'a str,
    client: std::net::SocketAddr,
    #[serde(skip_serializing_if = "Option::is_none")]
    proxied_by: Option<std::net::SocketAddr>,
    backend: Option<&'a str>,
    connect_seconds: Option<f64>,
    seconds: f64,
    bytes_to_backend: u64,
    bytes_to_client: u64,
    retries: u8,
    end: &'a str,
}

/// The workers' end of the access log; cheap to clone. Off: recording costs one comparison. Where it goes can be exchanged while it
/// is in use.
#[derive(Clone, Debug, Default)]
pub struct AccessLog(Arc<ArcSwapOption<Queue>>);

#[derive(Debug)]
struct Queue {
    records: Sender<SessionRecord>,
    lines: Lines,
}

impl AccessLog {
    /// Records go to `target` from now on, by threads of its own; lines that are lost are counted by `dropped`. What was recorded
    /// before still goes where it went; that is over when the old guard has been dropped.
    ///
    /// # Errors
    /// No thread can be started; records go on where they went.
    pub fn write_to(&self, target: Box<dyn Write + Send>, dropped: Drops) -> std::io::Result<AccessLogGuard> {
        let (lines, guard) = Lines::spawn("access log", target, dropped)?;
        let (records, queued) = bounded(QUEUE_RECORDS);
        let (finish, finished) = bounded(1);
        let to = lines.clone();
        std::thread::Builder::new().name("access-log".into()).spawn(move || {
            write_records(&queued, &to);
            drop(finish);
        })?;
        self.0.store(Some(Arc::new(Queue { records, lines })));
        Ok(AccessLogGuard {
            finished,
            _lines: guard,
        })
    }

    /// Records go nowhere from now on.
    pub fn turn_off(&self) {
        self.0.store(None);
    }

    /// Whether records go anywhere.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.0.load().is_some()
    }

    /// Hands over a record; dropped and counted when the queue is full.
    pub fn record(&self, record: SessionRecord) {
        if let Some(queue) = &*self.0.load()
            && let Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) = queue.records.try_send(record)
        {
            queue.lines.count_drop();
        }
    }
}

/// Keeps the threads; dropped after the log was turned off or exchanged, it waits until everything has been written.
#[derive(Debug)]
pub struct AccessLogGuard {
    finished: Receiver<()>,
    _lines: LinesGuard,
}

impl Drop for AccessLogGuard {
    fn drop(&mut self) {
        if self.finished.recv_timeout(Duration::from_secs(1)).is_ok() {
            log::trace!("access log written");
        }
    }
}

fn write_records(queued: &Receiver<SessionRecord>, lines: &Lines) {
    for record in queued {
        let line = Line {
            time: format!("{:.3}", jiff::Timestamp::now()),
            service: &record.service,
            client: record.client.0,
            proxied_by: record.proxied_by.map(|peer| peer.0),
            backend: record.backend.as_deref(),
            connect_seconds: record.connect.map(seconds),
            seconds: seconds(record.duration),
            bytes_to_backend: record.bytes_to_backend,
            bytes_to_client: record.bytes_to_client,
            retries: record.retries,
            end: record.end.as_str(),
        };
        match serde_json::to_vec(&line) {
            Ok(mut bytes) => {
                bytes.push(b'\n');
                lines.write(bytes);
            }
            Err(error) => log::error!("access log: {error}"),
        }
    }
}

/// Seconds, to the microsecond.
#[allow(clippy::cast_precision_loss, reason = "exact up to 285 years")]
fn seconds(span: Duration) -> f64 {
    span.as_micros() as f64 / 1e6
}

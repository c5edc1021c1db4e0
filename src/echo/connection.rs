//! One echoed connection: read, write straight back (or the replies to it), keep only what could not be written.
//!
//! Driven by its worker on every edge, timer and second turn; it does all that can be done and stops at EAGAIN.
//! It must never read more while bytes wait to be written (with a delay: while `DELAYED_BYTES_MAX` wait), and never
//! close before all that was read has been written, or all replies to it.

use super::counters::WorkerCounters;
use super::sizes::Replies;
use mio::net::TcpStream;
use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::time::{Duration, Instant};

/// Bytes echoed, or read and replied, in one turn before the thread's other connections get theirs: 16 scratch buffers.
const TURN_BYTES_MAX: usize = 1024 * 1024;

/// Bytes of one connection that may wait for `--delay`, with `CHUNK_OVERHEAD_BYTES` for each chunk.
const DELAYED_BYTES_MAX: usize = 256 * 1024;

/// What a waiting chunk costs beside its bytes, so that a peer that sends single bytes is bounded too.
const CHUNK_OVERHEAD_BYTES: usize = 64;

/// What the worker does with a connection after a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// An edge or a timer will tell.
    Wait,
    /// There is more to do at once, after the others had their turn.
    Again,
    /// Over: drop it.
    Done,
}

/// What a worker lends to a connection for one turn.
pub(super) struct Bench<'a> {
    pub(super) scratch: &'a mut [u8],
    /// Room for replies, where they aren't what was read.
    pub(super) replies: &'a mut Vec<u8>,
    pub(super) counters: &'a WorkerCounters,
    pub(super) now: Instant,
    pub(super) delay: Option<Duration>,
}

struct Chunk {
    due: Instant,
    bytes: Vec<u8>,
    written: usize,
}

enum Flushed {
    /// Nothing waits.
    Empty,
    /// What waits is not due.
    NotDue,
    /// The peer doesn't read.
    Blocked,
    /// The turn is over.
    Cut,
}

/// One echoed connection; closes its socket when dropped.
pub(super) struct Connection {
    stream: TcpStream,
    replies: Replies,
    outbox: VecDeque<Chunk>,
    outbox_bytes: usize,
    /// An event has told of the peer's FIN: a short read no longer means that nothing follows.
    fin_announced: bool,
    /// The FIN has been read.
    fin_read: bool,
}

impl Connection {
    pub(super) fn new(stream: TcpStream, replies: Replies) -> Self {
        Self {
            stream,
            replies,
            outbox: VecDeque::new(),
            outbox_bytes: 0,
            fin_announced: false,
            fin_read: false,
        }
    }

    pub(super) fn stream_mut(&mut self) -> &mut TcpStream {
        &mut self.stream
    }

    pub(super) fn announce_fin(&mut self) {
        self.fin_announced = true;
    }

    /// When the first of what waits is due.
    pub(super) fn next_due(&self) -> Option<Instant> {
        match &self.replies {
            Replies::Repeat(repeat) => repeat.due(),
            Replies::Echo | Replies::Fold(_) => self.outbox.front().map(|chunk| chunk.due),
        }
    }

    /// Does all that can be done now. An error is the peer's: the connection is over.
    pub(super) fn drive(&mut self, bench: &mut Bench<'_>) -> io::Result<Turn> {
        let mut left_bytes = TURN_BYTES_MAX;
        loop {
            let flushed = self.flush(bench, &mut left_bytes)?;
            match flushed {
                Flushed::Blocked => return Ok(Turn::Wait),
                Flushed::Cut => return Ok(Turn::Again),
                Flushed::NotDue if self.fin_read || !self.has_room() => return Ok(Turn::Wait),
                // All is written: closing sends the FIN.
                Flushed::Empty if self.fin_read => return Ok(Turn::Done),
                Flushed::NotDue | Flushed::Empty => {}
            }
            if left_bytes == 0 {
                return Ok(Turn::Again);
            }
            let count = match self.stream.read(bench.scratch) {
                Ok(0) => {
                    self.fin_read = true;
                    continue;
                }
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Turn::Wait),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            left_bytes = left_bytes.saturating_sub(count);
            let drained = count < bench.scratch.len();
            match self.answer(count, bench, &mut left_bytes)? {
                Flushed::Cut => return Ok(Turn::Again),
                // epoll(7): a short read of a stream has emptied it, what comes later is a new edge. A FIN that came before is none.
                _ if drained && !self.fin_announced => return Ok(Turn::Wait),
                _ => {}
            }
        }
    }

    fn has_room(&self) -> bool {
        match &self.replies {
            Replies::Repeat(repeat) => repeat.due().is_none(),
            Replies::Echo | Replies::Fold(_) => self.outbox_bytes < DELAYED_BYTES_MAX,
        }
    }

    /// Writes what there is to say to the first `count` bytes of the scratch buffer; what can't be written, or is not
    /// due, waits.
    fn answer(&mut self, count: usize, bench: &mut Bench<'_>, left_bytes: &mut usize) -> io::Result<Flushed> {
        let Some(read) = bench.scratch.get_mut(..count) else {
            return Ok(Flushed::Empty);
        };
        // From now, not from when this wake began: the others' turns have taken their time since.
        let delayed = bench.delay.and_then(|delay| Instant::now().checked_add(delay));
        let bytes: &[u8] = match &mut self.replies {
            Replies::Echo => read,
            Replies::Fold(fold) => {
                bench.replies.clear();
                fold.take(read, bench.replies);
                bench.replies
            }
            Replies::Repeat(repeat) => {
                repeat.take(read, delayed.unwrap_or(bench.now));
                return self.flush_repeat(bench, left_bytes);
            }
        };
        let written = match bench.delay {
            None => write_some(&mut self.stream, bytes, bench.counters)?,
            Some(_) => 0,
        };
        let rest = bytes.get(written..).unwrap_or_default();
        if !rest.is_empty() {
            self.outbox_bytes = self
                .outbox_bytes
                .saturating_add(rest.len())
                .saturating_add(CHUNK_OVERHEAD_BYTES);
            self.outbox.push_back(Chunk {
                due: delayed.unwrap_or(bench.now),
                bytes: rest.to_vec(),
                written: 0,
            });
        }
        Ok(Flushed::Empty)
    }

    fn flush(&mut self, bench: &mut Bench<'_>, left_bytes: &mut usize) -> io::Result<Flushed> {
        while let Some(chunk) = self.outbox.front_mut() {
            if chunk.due > bench.now {
                return Ok(Flushed::NotDue);
            }
            let rest = chunk.bytes.get(chunk.written..).unwrap_or_default();
            let written = write_some(&mut self.stream, rest, bench.counters)?;
            chunk.written = chunk.written.saturating_add(written);
            if chunk.written < chunk.bytes.len() {
                return Ok(Flushed::Blocked);
            }
            self.outbox_bytes = self
                .outbox_bytes
                .saturating_sub(chunk.bytes.len())
                .saturating_sub(CHUNK_OVERHEAD_BYTES);
            self.outbox.pop_front();
        }
        match self.replies {
            Replies::Repeat(_) => self.flush_repeat(bench, left_bytes),
            Replies::Echo | Replies::Fold(_) => Ok(Flushed::Empty),
        }
    }

    /// Writes the replies that are made as they are written.
    fn flush_repeat(&mut self, bench: &mut Bench<'_>, left_bytes: &mut usize) -> io::Result<Flushed> {
        let Replies::Repeat(repeat) = &mut self.replies else {
            return Ok(Flushed::Empty);
        };
        while let Some(due) = repeat.due() {
            if due > bench.now {
                return Ok(Flushed::NotDue);
            }
            repeat.lay(bench.replies);
            let mut is_whole = false;
            while !is_whole {
                if *left_bytes == 0 {
                    return Ok(Flushed::Cut);
                }
                let rest = repeat.rest(bench.replies);
                let written = write_some(&mut self.stream, rest, bench.counters)?;
                *left_bytes = left_bytes.saturating_sub(written);
                is_whole = repeat.note_written(written);
                if written < rest.len() {
                    return Ok(Flushed::Blocked);
                }
            }
        }
        Ok(Flushed::Empty)
    }
}

/// Writes until the socket takes no more; how many bytes it took.
fn write_some(stream: &mut TcpStream, bytes: &[u8], counters: &WorkerCounters) -> io::Result<usize> {
    let mut written = 0;
    while let Some(rest) = bytes.get(written..).filter(|rest| !rest.is_empty()) {
        match stream.write(rest) {
            Ok(0) => break,
            Ok(count) => {
                counters.count_bytes(count);
                written = written.saturating_add(count);
                // A short write has filled the socket: the next edge tells when it has room again.
                if count < rest.len() {
                    break;
                }
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(written)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn a_delay_counts_from_the_request_not_from_the_wake_that_found_it() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let mut peer = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (ours, _) = listener.accept().unwrap();
        peer.write_all(b"ping").unwrap();
        // It is there before the non-blocking read looks.
        assert_eq!(ours.peek(&mut [0; 4]).unwrap(), 4);
        ours.set_nonblocking(true).unwrap();
        let mut connection = Connection::new(TcpStream::from_std(ours), Replies::Echo);
        let delay = Duration::from_millis(100);
        let before = Instant::now();
        let mut bench = Bench {
            scratch: &mut [0; 64],
            replies: &mut Vec::new(),
            counters: &WorkerCounters::default(),
            // A wake that has served others for a while.
            now: before.checked_sub(Duration::from_millis(90)).unwrap(),
            delay: Some(delay),
        };
        connection.drive(&mut bench).unwrap();
        assert!(connection.next_due().unwrap() >= before + delay);
    }
}

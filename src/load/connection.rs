//! One connection of the client: connect, send and verify a request at the same time, half-close, read to the end.
//!
//! Driven by its lane in `worker`. It knows its bytes and its socket; what comes next is the lane's to say.
//! It must never block, and never let a received byte pass unverified.

use super::expected::Expected;
use super::failure::FailureKind;
use super::options::MessageSizes;
use super::payload::Payload;
use mio::net::TcpStream;
use std::io::{self, Read, Write};
use std::net::Shutdown;

/// The most that one read or write moves; fits a core's L2 cache twice.
pub(super) const SCRATCH_BYTES: usize = 64 * 1024;

/// Reads and writes of one turn before the thread's other connections get theirs.
const MOVES_MAX: usize = 16;

/// What a worker lends to a connection for one turn.
pub(super) struct Bench {
    payload: Vec<u8>,
    received: Vec<u8>,
    /// Bytes of replies that came and were right.
    pub(super) verified_bytes: u64,
}

impl Bench {
    pub(super) fn new() -> Self {
        Self {
            payload: vec![0; SCRATCH_BYTES],
            received: vec![0; SCRATCH_BYTES],
            verified_bytes: 0,
        }
    }
}

/// What a turn has come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// An edge will tell.
    Wait,
    /// There is more to do at once, after the others had their turn.
    Again,
    /// The connection stands.
    Connected,
    /// The reply has come, every byte right.
    Answered,
    /// The other side's FIN has come after ours.
    Closed,
}

struct Exchange {
    expected: Expected,
    sent: u64,
    received: u64,
}

enum Phase {
    Connecting,
    Idle,
    Exchanging(Exchange),
    Closing,
}

/// One connection; closes its socket when dropped.
pub(super) struct Connection {
    stream: TcpStream,
    phase: Phase,
    readable: bool,
    writable: bool,
    /// An event has told of the peer's FIN: a short read no longer means that nothing follows.
    fin_announced: bool,
    has_moved: bool,
}

impl Connection {
    /// A connection whose connect is under way.
    pub(super) fn new(stream: TcpStream) -> Self {
        Self {
            stream,
            phase: Phase::Connecting,
            readable: false,
            writable: false,
            fin_announced: false,
            has_moved: false,
        }
    }

    pub(super) fn stream_mut(&mut self) -> &mut TcpStream {
        &mut self.stream
    }

    pub(super) fn is_connecting(&self) -> bool {
        matches!(self.phase, Phase::Connecting)
    }

    pub(super) fn note(&mut self, event: &mio::event::Event) {
        let over = event.is_error() || event.is_read_closed();
        self.fin_announced |= over;
        self.readable |= event.is_readable() || over;
        self.writable |= event.is_writable() || event.is_error();
    }

    /// Whether bytes have moved since the last call.
    pub(super) fn take_moved(&mut self) -> bool {
        std::mem::take(&mut self.has_moved)
    }

    /// Begins a request; `drive` moves its bytes.
    pub(super) fn begin(&mut self, payload: Payload, sizes: MessageSizes) {
        self.phase = Phase::Exchanging(Exchange {
            expected: Expected::new(payload, sizes),
            sent: 0,
            received: 0,
        });
    }

    /// Sends our FIN; `drive` then awaits the other's.
    pub(super) fn finish(&mut self) -> Result<(), FailureKind> {
        self.phase = Phase::Closing;
        self.stream
            .shutdown(Shutdown::Write)
            .map_err(|error| FailureKind::of(&error))
    }

    /// Does what can be done now.
    ///
    /// # Errors
    /// The kind of failure; the connection is then of no more use.
    pub(super) fn drive(&mut self, bench: &mut Bench) -> Result<Step, FailureKind> {
        match self.phase {
            Phase::Connecting => self.connect(),
            Phase::Exchanging(_) => self.exchange(bench),
            Phase::Idle | Phase::Closing if !self.readable => Ok(Step::Wait),
            // Nothing was asked for: a byte is one too many, a FIN before ours is early.
            Phase::Idle => match self.read(bench)? {
                None => Ok(Step::Wait),
                Some(0) => Err(FailureKind::ClosedEarly),
                Some(_) => Err(FailureKind::WrongBytes),
            },
            Phase::Closing => match self.read(bench)? {
                None => Ok(Step::Wait),
                Some(0) => Ok(Step::Closed),
                Some(_) => Err(FailureKind::WrongBytes),
            },
        }
    }

    fn connect(&mut self) -> Result<Step, FailureKind> {
        if !self.writable {
            return Ok(Step::Wait);
        }
        match self.stream.take_error() {
            Ok(None) => {
                self.phase = Phase::Idle;
                self.has_moved = true;
                Ok(Step::Connected)
            }
            Ok(Some(error)) | Err(error) => Err(FailureKind::of_connect(&error)),
        }
    }

    fn exchange(&mut self, bench: &mut Bench) -> Result<Step, FailureKind> {
        let Phase::Exchanging(mut exchange) = std::mem::replace(&mut self.phase, Phase::Idle) else {
            return Ok(Step::Wait);
        };
        for _ in 0..MOVES_MAX {
            if exchange.received == exchange.expected.sizes.reply {
                return Ok(Step::Answered);
            }
            let sent = self.send(&mut exchange, bench)?;
            let received = self.receive(&mut exchange, bench)?;
            if !sent && !received {
                self.phase = Phase::Exchanging(exchange);
                return Ok(Step::Wait);
            }
            self.has_moved = true;
        }
        self.phase = Phase::Exchanging(exchange);
        Ok(Step::Again)
    }

    fn send(&mut self, exchange: &mut Exchange, bench: &mut Bench) -> Result<bool, FailureKind> {
        let left = exchange.expected.sizes.request.saturating_sub(exchange.sent);
        if !self.writable || left == 0 {
            return Ok(false);
        }
        let count = usize::try_from(left).map_or(SCRATCH_BYTES, |left| left.min(SCRATCH_BYTES));
        let Some(bytes) = bench.payload.get_mut(..count) else {
            return Ok(false);
        };
        exchange.expected.payload.fill(exchange.sent, bytes);
        let written = match self.stream.write(bytes) {
            Ok(written) => written,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(true),
            Err(error) => return Err(FailureKind::of(&error)),
        };
        // A short write has filled the socket: the next edge tells when it has room again.
        self.writable = written == count;
        exchange.sent = exchange.sent.saturating_add(written as u64);
        exchange
            .expected
            .note_sent(bytes.get_mut(..written).unwrap_or_default());
        Ok(written > 0)
    }

    fn receive(&mut self, exchange: &mut Exchange, bench: &mut Bench) -> Result<bool, FailureKind> {
        if !self.readable {
            return Ok(false);
        }
        let Some(count) = self.read(bench)? else {
            return Ok(false);
        };
        if count == 0 {
            return Err(FailureKind::ClosedEarly);
        }
        let bytes = bench.received.get(..count).unwrap_or_default();
        if !exchange.expected.matches(exchange.sent, exchange.received, bytes) {
            return Err(FailureKind::WrongBytes);
        }
        exchange.received = exchange.received.saturating_add(count as u64);
        bench.verified_bytes = bench.verified_bytes.saturating_add(count as u64);
        Ok(true)
    }

    /// One read into the scratch buffer; nothing when nothing has come.
    fn read(&mut self, bench: &mut Bench) -> Result<Option<usize>, FailureKind> {
        loop {
            match self.stream.read(&mut bench.received) {
                Ok(count) => {
                    // epoll(7): a short read of a stream has emptied it, what comes later is a new edge.
                    if count < bench.received.len() && !self.fin_announced {
                        self.readable = false;
                    }
                    return Ok(Some(count));
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.readable = false;
                    return Ok(None);
                }
                Err(error) => return Err(FailureKind::of(&error)),
            }
        }
    }
}

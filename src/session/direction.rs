//! One way through a session: source -> (the worker's buffer | a pipe) -> target, and how it ends.
//!
//! Small traffic is copied through the worker's one buffer and leaves nothing behind. A source that keeps filling the buffer is
//! spliced, through a pipe borrowed while bytes are in it. What the target doesn't take is held, and meanwhile the source rests:
//! that is the whole of the flow control, and it bounds what a session can hold to one buffer or one pipe a way.

use super::io::{Read, Socket, World, Write};
use crate::types::{Lane, Readiness};

/// Bytes that one way may move before other sessions get their turn.
const TURN_BYTES: usize = 1 << 17;
/// Reads in a row that filled the buffer before splicing begins: below that, a pipe costs more calls than it saves copies.
const FULL_READS_TO_SPLICE: u8 = 3;
/// Splices in a row that brought less than the buffer holds, before copying begins again.
const SMALL_SPLICES_TO_COPY: u8 = 4;

/// A socket, and what is known of it. The flags are hints, and a wrong one costs a call, never a byte; all but `broken`, which the
/// kernel only says when it is so.
#[derive(Debug)]
pub(super) struct Wire<S> {
    pub(super) socket: S,
    pub(super) lane: Lane,
    pub(super) readable: bool,
    pub(super) writable: bool,
    /// FIN is in sight, so a read that brings little is not the last.
    pub(super) read_closed: bool,
    /// Urgent data is or was in sight: the same, and splicing can't pass it.
    pub(super) urgent: bool,
    /// The peer has reset or can't be reached. What it sent before may still be there to read.
    pub(super) broken: bool,
}

impl<S> Wire<S> {
    pub(super) const fn new(socket: S, lane: Lane) -> Self {
        Self {
            socket,
            lane,
            readable: false,
            writable: true,
            read_closed: false,
            urgent: false,
            broken: false,
        }
    }

    pub(super) fn note(&mut self, ready: Readiness) {
        self.readable |= ready.readable;
        self.writable |= ready.writable;
        self.read_closed |= ready.read_closed;
        self.urgent |= ready.urgent;
        self.broken |= ready.broken;
    }
}

/// How a source ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    Fin,
    Reset,
}

/// How far a way is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flow {
    /// The source may bring more.
    Open,
    /// The source has ended, everything is delivered, and a FIN is passed on.
    Ended(Ending),
    /// The target is gone: nothing can be delivered any more.
    Abandoned,
}

/// What a call came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pump {
    /// Until an event.
    Rest,
    /// It could go on, but has had its turn.
    Again,
    /// The machine is short of memory: until a little later.
    Later,
}

#[derive(Debug)]
enum Held<P> {
    Nothing,
    /// The first `header_bytes` of them are not the source's.
    Bytes {
        data: Box<[u8]>,
        start: u32,
        header_bytes: u32,
    },
    Pipe {
        pipe: P,
        bytes: usize,
    },
}

/// What the target gets before anything that is read from now on.
#[derive(Debug)]
pub(super) struct Opening {
    /// A header, and what had come of the source along with its own.
    data: Box<[u8]>,
    header_bytes: u32,
}

impl Opening {
    pub(super) fn new(mut header: Vec<u8>, rest: Box<[u8]>) -> Self {
        let header_bytes = u32::try_from(header.len()).unwrap_or(u32::MAX);
        let data = if header.is_empty() {
            rest
        } else {
            // In one piece: "the sender must always ensure that the header is sent at once".
            header.extend_from_slice(&rest);
            header.into()
        };
        Self { data, header_bytes }
    }
}

/// By copy or by splice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pace {
    Copy {
        full_in_a_row: u8,
    },
    Splice {
        small_in_a_row: u8,
    },
    /// The kernel can't splice this.
    CopyOnly,
}

/// One way.
#[derive(Debug)]
pub(super) struct Direction<P> {
    held: Held<P>,
    pub(super) flow: Flow,
    pace: Pace,
    /// Bytes that reached the target's kernel.
    pub(super) moved_bytes: u64,
}

impl<P> Direction<P> {
    /// One that begins with `opening`.
    pub(super) fn opened_by(Opening { data, header_bytes }: Opening) -> Self {
        let mut way = Self::new();
        if !data.is_empty() {
            way.held = Held::Bytes {
                data,
                start: 0,
                header_bytes,
            };
        }
        way
    }

    pub(super) const fn new() -> Self {
        Self {
            held: Held::Nothing,
            flow: Flow::Open,
            pace: Pace::Copy { full_in_a_row: 0 },
            moved_bytes: 0,
        }
    }

    /// Whether something waits for the target to take it.
    pub(super) const fn holds_bytes(&self) -> bool {
        !matches!(self.held, Held::Nothing)
    }

    /// Bytes of a header that the target hasn't taken.
    pub(super) const fn header_left(&self) -> u32 {
        match self.held {
            Held::Bytes {
                start, header_bytes, ..
            } => header_bytes.saturating_sub(start),
            Held::Nothing | Held::Pipe { .. } => 0,
        }
    }

    /// Whether it moves much at a time.
    pub(super) const fn is_bulk(&self) -> bool {
        matches!(self.pace, Pace::Splice { .. })
    }

    /// The target is gone.
    pub(super) fn abandon(&mut self) {
        self.held = Held::Nothing;
        self.flow = Flow::Abandoned;
    }

    /// The source turned out to be reset, however it had ended before.
    pub(super) fn source_broke(&mut self) {
        if let Flow::Ended(ending) = &mut self.flow {
            *ending = Ending::Reset;
        }
    }

    /// Moves what can be moved.
    pub(super) fn pump<W: World<Pipe = P>>(
        &mut self,
        source: &mut Wire<W::Socket>,
        target: &mut Wire<W::Socket>,
        world: &mut W,
    ) -> Pump {
        let mut turn_bytes = TURN_BYTES;
        while self.flow == Flow::Open {
            match self.deliver(target, world) {
                None => {}
                Some(Write::Later) => return Pump::Later,
                Some(Write::Gone) => {
                    target.broken = true;
                    self.abandon();
                    return Pump::Rest;
                }
                // While the target doesn't take what is held the source rests: that is the backpressure.
                Some(Write::Wait | Write::Bytes(_)) => return Pump::Rest,
            }
            if !source.readable {
                return Pump::Rest;
            }
            if turn_bytes == 0 {
                return Pump::Again;
            }
            // Nothing is held when it is read, so an end that is read comes after everything before it.
            match self.take(source, target, world) {
                Read::Bytes(bytes) => turn_bytes = turn_bytes.saturating_sub(bytes),
                Read::Fin | Read::Wait if source.broken => self.flow = Flow::Ended(Ending::Reset),
                Read::Fin => {
                    self.flow = Flow::Ended(Ending::Fin);
                    target.broken |= !target.socket.finish();
                }
                Read::Gone => {
                    source.broken = true;
                    self.flow = Flow::Ended(Ending::Reset);
                }
                Read::Later => return Pump::Later,
                Read::Wait => source.readable = false,
                Read::Unsupported => self.pace = Pace::CopyOnly,
            }
        }
        Pump::Rest
    }

    /// Delivers what is held. `None`: nothing is held any more.
    fn deliver<W: World<Pipe = P>>(&mut self, target: &mut Wire<W::Socket>, world: &mut W) -> Option<Write> {
        loop {
            let outcome = match &mut self.held {
                Held::Nothing => return None,
                _ if !target.writable => return Some(Write::Wait),
                Held::Bytes { data, start, .. } => target.socket.send(data.get(*start as usize..).unwrap_or_default()),
                Held::Pipe { pipe, bytes } => target.socket.splice_out(pipe, *bytes),
            };
            match outcome {
                Write::Bytes(sent) => self.sent(sent, world),
                Write::Wait => {
                    target.writable = false;
                    return Some(Write::Wait);
                }
                Write::Later | Write::Gone => return Some(outcome),
            }
        }
    }

    /// So much of what was held is delivered.
    fn sent<W: World<Pipe = P>>(&mut self, sent: usize, world: &mut W) {
        let header_before = self.header_left();
        let is_empty = match &mut self.held {
            Held::Nothing => true,
            Held::Bytes { data, start, .. } => {
                *start = start.saturating_add(u32::try_from(sent).unwrap_or(u32::MAX));
                *start as usize >= data.len()
            }
            Held::Pipe { bytes, .. } => {
                *bytes = bytes.saturating_sub(sent);
                *bytes == 0
            }
        };
        let of_header = header_before.saturating_sub(self.header_left());
        let of_source = (sent as u64).saturating_sub(u64::from(of_header));
        self.moved_bytes = self.moved_bytes.saturating_add(of_source);
        if is_empty && let Held::Pipe { pipe, .. } = std::mem::replace(&mut self.held, Held::Nothing) {
            world.return_pipe(pipe);
        }
    }

    /// Takes from the source, with nothing held.
    fn take<W: World<Pipe = P>>(
        &mut self,
        source: &mut Wire<W::Socket>,
        target: &mut Wire<W::Socket>,
        world: &mut W,
    ) -> Read {
        if let Pace::Splice { small_in_a_row } = self.pace
            && !source.urgent
            && let Some(pipe) = world.borrow_pipe()
        {
            let buffer_bytes = world.scratch().len();
            let read = self.take_by_splice(source, pipe, (small_in_a_row, buffer_bytes), world);
            match read {
                // In front of urgent data a splice says so whatever lies behind it (6.18): the last word is recv(2)'s.
                Read::Fin => {}
                Read::Gone => source.broken = true,
                Read::Bytes(_) | Read::Wait | Read::Later | Read::Unsupported => return read,
            }
        }
        self.take_by_copy(source, target, world)
    }

    fn take_by_splice<W: World<Pipe = P>>(
        &mut self,
        source: &mut Wire<W::Socket>,
        mut pipe: P,
        (small_in_a_row, buffer_bytes): (u8, usize),
        world: &mut W,
    ) -> Read {
        let read = source.socket.splice_in(&mut pipe);
        let Read::Bytes(bytes) = read else {
            // The pipe was empty, so a splice that has to wait waits for the source.
            world.return_pipe(pipe);
            return read;
        };
        self.held = Held::Pipe { pipe, bytes };
        self.pace = if bytes >= buffer_bytes {
            Pace::Splice { small_in_a_row: 0 }
        } else if small_in_a_row.saturating_add(1) < SMALL_SPLICES_TO_COPY {
            Pace::Splice {
                small_in_a_row: small_in_a_row.saturating_add(1),
            }
        } else {
            Pace::Copy { full_in_a_row: 0 }
        };
        read
    }

    fn take_by_copy<W: World<Pipe = P>>(
        &mut self,
        source: &mut Wire<W::Socket>,
        target: &mut Wire<W::Socket>,
        world: &mut W,
    ) -> Read {
        let scratch = world.scratch();
        let read = source.socket.receive(scratch);
        let Read::Bytes(received) = read else { return read };
        let is_full = received >= scratch.len();
        // A read that brought less than was asked for has emptied the socket (epoll(7)), unless the end is waiting behind it, or
        // urgent data stopped it.
        if !is_full && !source.read_closed && !source.urgent && !source.broken {
            source.readable = false;
        }
        self.pace = match self.pace {
            Pace::Copy { full_in_a_row } if is_full && full_in_a_row.saturating_add(1) >= FULL_READS_TO_SPLICE => {
                Pace::Splice { small_in_a_row: 0 }
            }
            Pace::Copy { full_in_a_row } if is_full => Pace::Copy {
                full_in_a_row: full_in_a_row.saturating_add(1),
            },
            Pace::Copy { .. } => Pace::Copy { full_in_a_row: 0 },
            pace @ (Pace::Splice { .. } | Pace::CopyOnly) => pace,
        };
        let bytes = scratch.get(..received).unwrap_or_default();
        let sent = match target.socket.send(bytes) {
            Write::Bytes(sent) => sent,
            Write::Wait => {
                target.writable = false;
                0
            }
            Write::Later => 0,
            Write::Gone => {
                target.broken = true;
                self.abandon();
                return read;
            }
        };
        self.moved_bytes = self.moved_bytes.saturating_add(sent as u64);
        if let Some(rest) = bytes.get(sent..).filter(|rest| !rest.is_empty()) {
            self.held = Held::Bytes {
                data: rest.into(),
                start: 0,
                header_bytes: 0,
            };
        }
        read
    }
}

//! The socket calls of the simulated kernel: what a session does, judged at the call.

use lb::session::{Connect, Read, Write};
use lb::types::{ConnectFailure, Side};

use super::kernel::{CLIENT, Fd, Id, Kernel, Link, Tcp, opposite};
use super::rng::mix;

impl Kernel {
    /// Counts a call and fails one on a socket that doesn't stand.
    fn enter(&mut self, id: Id, what: &str) {
        self.operations += 1;
        assert!(
            self.operations < 1_000_000,
            "an endless loop: the session makes a million calls at once"
        );
        let socket = &self.sockets[id];
        if socket.fd != Fd::Open || !socket.is_up() || !(id == CLIENT || socket.is_settled) {
            let state = (socket.fd, socket.link);
            self.violate(format!("{what} on socket {id}, which is {state:?}"));
        }
        if id != CLIENT && self.winner != Some(id) {
            self.violate(format!("{what} on socket {id}, which is not the one that won"));
        }
    }

    /// How many bytes a read gets, at most `limit` of at most `slots` segments, or how it ends.
    fn take(&mut self, id: Id, limit: usize, slots: usize, is_splice: bool) -> Result<usize, Read> {
        let held = self
            .other(id)
            .map_or(0, |other| self.sockets[id].read - self.sockets[other].sent);
        if held > 0 {
            self.violate(format!("reads from {id} while {held} bytes it sent are held"));
        }
        if id == CLIENT && self.winner.is_some_and(|winner| self.sockets[winner].lacks_header()) {
            self.violate("reads from the client before the backend has its header".to_owned());
        }
        if self.sockets[id].is_exhausted && self.sockets[id].rst_told.is_none() {
            self.violate(format!("reads from {id} again, though it said Wait"));
        }
        if self.sockets[id].is_read_out {
            self.violate(format!("reads from {id} after its end"));
        }
        let later = self.faults.later;
        if self.rng.percent(later) {
            self.was_short_of_memory = true;
            return Err(Read::Later);
        }
        let (call, now) = (self.call, self.now);
        let socket = &mut self.sockets[id];
        // tcp_recvmsg stops at urgent data if it has something; splice stops in any case, and says 0 or EAGAIN as if there was
        // nothing behind it (seen on 6.18).
        let ahead = socket.urgent_at.map_or(u64::MAX, |at| at - socket.read);
        let stops = ahead == 0 && is_splice && socket.waiting > 0;
        if stops {
            return Err(if socket.fin_arrived || (socket.rst_arrived && !socket.error) {
                Read::Fin
            } else if std::mem::take(&mut socket.error) {
                self.told_broken(id);
                Read::Gone
            } else {
                socket.is_exhausted = true;
                Read::Wait
            });
        }
        let limit = match usize::try_from(ahead) {
            Ok(0) => {
                socket.urgent_at = None;
                limit
            }
            Ok(ahead) => limit.min(ahead),
            Err(_) => limit,
        };
        let mut taken = 0;
        let mut used = 0;
        while used < slots
            && taken < limit
            && let Some(first) = socket.segments.front_mut()
        {
            let part = (*first).min(limit - taken);
            *first -= part;
            taken += part;
            used += 1;
            if *first == 0 {
                socket.segments.pop_front();
            }
        }
        if taken > 0 {
            socket.waiting -= taken;
            let of_header = Tcp::part_of(&socket.header_in, &mut socket.header_read, taken);
            socket.read += (taken - of_header) as u64;
            self.progress += 1;
            return Ok(taken);
        }
        if slots == 0 {
            return Err(Read::Wait);
        }
        if socket.fin_arrived {
            // SOCK_DONE comes before sk_err in tcp_recvmsg: a RST behind a FIN is not seen by reading.
            if is_splice {
                return Err(Read::Fin);
            }
            socket.fin_told = Some(call);
        } else if !socket.rst_arrived {
            socket.is_exhausted = true;
            return Err(Read::Wait);
        }
        // What a splice says of an end is not the last word.
        if !is_splice {
            socket.is_read_out = true;
            self.active_at = now;
        }
        self.progress += 1;
        if !socket.fin_arrived && std::mem::take(&mut socket.error) {
            self.told_broken(id);
            return Err(Read::Gone);
        }
        Err(Read::Fin)
    }

    pub(crate) fn receive(&mut self, id: Id, into: &mut [u8]) -> Read {
        self.enter(id, "receive");
        if into.is_empty() {
            self.violate(format!("reads nothing from {id}"));
        }
        let (place, header_before) = (self.sockets[id].read, self.sockets[id].header_read);
        let outcome = match self.take(id, into.len(), usize::MAX, false) {
            Ok(bytes) => {
                let seed = self.pattern_seed(self.sockets[id].side);
                let header = &self.sockets[id].header_in[header_before..self.sockets[id].header_read];
                into[..header.len()].copy_from_slice(header);
                fill(seed, place, &mut into[header.len()..bytes]);
                Read::Bytes(bytes)
            }
            Err(end) => end,
        };
        self.trace(|| format!("  receive {id} -> {outcome:?}"));
        outcome
    }

    /// Into a pipe that holds so many segments: the place of the first byte, and how it went.
    pub(crate) fn splice_in(&mut self, id: Id, slots_used: usize, bytes_held: usize) -> (u64, Read) {
        self.enter(id, "splice_in");
        let place = self.sockets[id].read;
        let outcome = if self.faults.no_splice {
            self.splices_in_vain += 1;
            if self.splices_in_vain > 2 {
                self.violate("splices again what can't be spliced".to_owned());
            }
            Read::Unsupported
        } else {
            let slots = self.pipe_slots.saturating_sub(slots_used);
            let limit = self.pipe_bytes.saturating_sub(bytes_held);
            match self.take(id, limit, slots, true) {
                Ok(bytes) => Read::Bytes(bytes),
                Err(end) => end,
            }
        };
        self.trace(|| format!("  splice_in {id} -> {outcome:?}"));
        (place, outcome)
    }

    pub(crate) fn acknowledge(&mut self, id: Id) {
        self.enter(id, "acknowledge");
        self.trace(|| format!("  acknowledge {id}"));
        self.progress += 1;
        if !std::mem::take(&mut self.sockets[id].owes_handshake) {
            self.violate(format!("acknowledges {id}, which was told already"));
        }
    }

    /// What a write of so many bytes comes to.
    fn give(&mut self, id: Id, bytes: usize) -> Write {
        if self.sockets[id].is_finished {
            self.violate(format!("writes to {id} after FIN"));
        }
        if bytes == 0 {
            self.violate(format!("writes nothing to {id}"));
        }
        if self.sockets[id].is_refused {
            self.violate(format!("writes to {id} again, though it said Wait"));
        }
        let later = self.faults.later;
        if self.rng.percent(later) {
            self.was_short_of_memory = true;
            return Write::Later;
        }
        let now = self.now;
        let socket = &mut self.sockets[id];
        if socket.rst_arrived {
            socket.error = false;
            self.progress += 1;
            self.told_broken(id);
            return Write::Gone;
        }
        let taken = bytes.min(socket.room());
        socket.owes_handshake &= taken == 0;
        socket.is_short |= taken < bytes;
        if taken == 0 {
            socket.is_refused = true;
            return Write::Wait;
        }
        socket.unacknowledged += taken;
        let of_header = Tcp::part_of(&socket.header_out, &mut socket.header_sent, taken);
        socket.sent += (taken - of_header) as u64;
        self.progress += 1;
        self.active_at = now;
        Write::Bytes(taken)
    }

    pub(crate) fn send(&mut self, id: Id, bytes: &[u8]) -> Write {
        self.enter(id, "send");
        let (place, header_before) = (self.sockets[id].sent, self.sockets[id].header_sent);
        let outcome = self.give(id, bytes.len());
        if let Write::Bytes(taken) = outcome {
            let seed = self.pattern_seed(opposite(self.sockets[id].side));
            let mut expected = self.sockets[id].header_out[header_before..self.sockets[id].header_sent].to_vec();
            let header_bytes = expected.len();
            expected.resize(taken, 0);
            fill(seed, place, &mut expected[header_bytes..]);
            if expected != bytes[..taken] {
                self.violate(format!("wrong bytes to {id} at {place}"));
            }
            self.check_prefix(id);
        }
        self.trace(|| format!("  send {id} {} -> {outcome:?}", bytes.len()));
        outcome
    }

    /// Out of a pipe: the first segment's place and side come along.
    pub(crate) fn splice_out(&mut self, id: Id, bytes: usize, place: u64, from: Side) -> Write {
        self.enter(id, "splice_out");
        let expected = self.sockets[id].sent;
        let outcome = self.give(id, bytes);
        if let Write::Bytes(_) = outcome {
            if place != expected || from == self.sockets[id].side {
                self.violate(format!(
                    "wrong bytes to {id}: {place} of {from:?} instead of {expected}"
                ));
            }
            self.check_prefix(id);
        }
        self.trace(|| format!("  splice_out {id} {bytes} -> {outcome:?}"));
        outcome
    }

    fn check_prefix(&mut self, id: Id) {
        let read = self.other(id).map_or(0, |other| self.sockets[other].read);
        if self.sockets[id].sent > read {
            self.violate(format!("more bytes to {id} than were read for it"));
        }
    }

    pub(crate) fn finish(&mut self, id: Id) -> bool {
        self.enter(id, "finish");
        let is_alive = !self.sockets[id].rst_arrived;
        self.trace(|| format!("  finish {id} -> {is_alive}"));
        self.check_fin(id);
        if self.sockets[id].is_finished {
            self.violate(format!("a second FIN to {id}"));
        }
        if is_alive {
            self.progress += 1;
            self.active_at = self.now;
            self.sockets[id].is_finished = true;
            self.sockets[id].owes_handshake = false;
            // Both FINs: EPOLLHUP is news.
            self.sockets[id].edge |= self.sockets[id].fin_arrived;
        } else {
            self.told_broken(id);
        }
        is_alive
    }

    /// A FIN passes on what the other side said: all its bytes, and its FIN.
    fn check_fin(&mut self, id: Id) {
        let Some(other) = self.other(id) else {
            return self.violate(format!("FIN to {id}, which has no other side"));
        };
        let (source, target) = (&self.sockets[other], &self.sockets[id]);
        if source.fin_told.is_none() {
            self.violate(format!("FIN to {id}, but {other} sent none"));
        } else if source.rst_told.is_some() {
            self.violate(format!("FIN to {id}, but {other} has reset"));
        } else if target.lacks_header() {
            self.violate(format!("FIN to {id} before it has its header"));
        } else if target.sent != source.arrived {
            let (sent, arrived) = (target.sent, source.arrived);
            self.violate(format!("FIN to {id} after {sent} of {arrived} bytes"));
        }
    }

    pub(crate) fn connect_outcome(&mut self, id: Id) -> Connect {
        self.operations += 1;
        if let Link::Pending(..) = self.sockets[id].link {
            // SO_ERROR is 0 then, which reads as "up".
            self.violate(format!(
                "asks how connect {id} went before an event said that it is over"
            ));
        }
        let socket = &mut self.sockets[id];
        let outcome = match socket.link {
            Link::Pending(..) => Connect::Pending,
            Link::Failed(failure) => Connect::Failed(failure),
            Link::Up if std::mem::take(&mut socket.error) => {
                if socket.waiting > 0 {
                    Connect::UpAndReset
                } else {
                    Connect::Failed(ConnectFailure::Reset)
                }
            }
            Link::Up => Connect::Up,
        };
        if outcome != Connect::Pending {
            socket.is_settled = true;
            self.progress += 1;
        }
        if outcome == Connect::UpAndReset {
            self.told_broken(id);
        }
        self.trace(|| format!("  connect_outcome {id} -> {outcome:?}"));
        outcome
    }

    pub(crate) fn close(&mut self, id: Id) {
        self.trace(|| format!("  close {id}"));
        self.progress += 1;
        let socket = &mut self.sockets[id];
        socket.fd = Fd::Closed;
        let (is_finished, unread) = (socket.is_finished, socket.waiting);
        // Who comes and goes without a word, where a header was due, gets what it gave.
        let came_for_nothing = !socket.header_in.is_empty() && socket.header_arrived == 0 && socket.fin_told.is_some();
        let is_answered = is_finished || (came_for_nothing && self.winner.is_none());
        if !is_answered {
            self.check_fin(id);
        }
        if unread > 0 {
            self.violate(format!("close of {id} with {unread} bytes unread is a RST"));
        }
    }

    pub(crate) fn reset(&mut self, id: Id) {
        self.trace(|| format!("  reset {id}"));
        self.progress += 1;
        self.sockets[id].fd = Fd::Reset;
    }

    pub(crate) const fn pattern_seed(&self, side: Side) -> u64 {
        mix(self.seed
            ^ match side {
                Side::Client => 1,
                Side::Backend => 2,
            })
    }
}

/// The bytes that stand at `place` and after it.
fn fill(seed: u64, place: u64, into: &mut [u8]) {
    let mut word_number = place / 8;
    let mut skip = (place % 8) as usize;
    let mut rest = into;
    while !rest.is_empty() {
        let word = mix(seed.wrapping_add(word_number)).to_le_bytes();
        let part = (8 - skip).min(rest.len());
        let (now, later) = rest.split_at_mut(part);
        now.copy_from_slice(&word[skip..skip + part]);
        rest = later;
        skip = 0;
        word_number += 1;
    }
}

//! What the peers do, at random: how much they send and read, at what pace, and how they leave.

use std::time::Duration;

use lb::types::Moment;

use super::kernel::{Id, Kernel};
use super::rng::Rng;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// Half-close after the last byte; reads on.
    Fin,
    /// Half-close once the other side's FIN was seen.
    FinAfterFin,
    /// Both halves after the last byte: what comes later is answered by RST.
    Close,
    /// RST after the last byte.
    Rst,
    /// Stays, and says nothing more.
    Never,
}

#[derive(Clone, Debug)]
pub(crate) struct Peer {
    pub(crate) total: u64,
    pub(crate) sent: u64,
    pub(crate) segment_max: u64,
    /// Segments sent at once.
    pub(crate) burst: u64,
    /// Reads so much before it sends.
    pub(crate) waits_for: u64,
    /// Reads no more than this.
    pub(crate) reads_max: u64,
    pub(crate) read_bytes: usize,
    pub(crate) pause_percent: u64,
    /// Chance of urgent data before a segment.
    pub(crate) urge_percent: u64,
    pub(crate) pause_max: Duration,
    pub(crate) ending: Ending,
    pub(crate) has_ended: bool,
    pub(crate) asleep_until: Moment,
}

impl Peer {
    /// One who answers, takes everything and finishes.
    pub(crate) fn friendly(rng: &mut Rng, sizes: &[u64]) -> Self {
        Self {
            total: rng.pick(sizes),
            sent: 0,
            segment_max: rng.pick(&[1, 100, 1460, 16_384]),
            burst: rng.between(1, 8),
            waits_for: 0,
            reads_max: u64::MAX,
            read_bytes: rng.pick(&[64, 1000, 65_536]),
            pause_percent: rng.pick(&[0, 0, 5]),
            urge_percent: rng.pick(&[0, 0, 0, 0, 2]),
            pause_max: Duration::from_millis(5),
            ending: Ending::Fin,
            has_ended: false,
            asleep_until: Moment::START,
        }
        .paced()
    }

    /// One who does as it likes.
    pub(crate) fn wild(rng: &mut Rng, sizes: &[u64], pause_max: Duration) -> Self {
        let mut peer = Self::friendly(rng, sizes);
        peer.ending = rng.pick(&[
            Ending::Fin,
            Ending::Fin,
            Ending::FinAfterFin,
            Ending::Close,
            Ending::Rst,
            Ending::Rst,
            Ending::Never,
        ]);
        if rng.percent(20) {
            peer.reads_max = rng.below(peer.total.max(1000));
        }
        if rng.percent(10) {
            peer.waits_for = rng.between(1, 100);
        }
        peer.pause_percent = rng.pick(&[0, 2, 10]);
        peer.pause_max = pause_max;
        peer
    }

    /// In segments that don't take the whole seed.
    fn paced(mut self) -> Self {
        self.segment_max = self.segment_max.max(self.total / 100);
        self.read_bytes = self.read_bytes.max(self.total as usize / 20);
        self
    }

    fn can_send(&self, kernel: &Kernel, id: Id) -> bool {
        let socket = &kernel.sockets[id];
        self.sent < self.total
            && !self.has_ended
            && socket.peer_read >= self.waits_for
            && socket.waiting < socket.buffers.receive
    }

    fn can_end(&self, kernel: &Kernel, id: Id) -> bool {
        let is_time = match self.ending {
            Ending::Fin | Ending::Rst | Ending::Close => true,
            Ending::FinAfterFin => kernel.peer_sees_fin(id),
            Ending::Never => false,
        };
        !self.has_ended && self.sent == self.total && is_time
    }

    fn can_read(&self, kernel: &Kernel, id: Id) -> bool {
        let socket = &kernel.sockets[id];
        socket.peer_waiting > 0 && socket.peer_read < self.reads_max && !socket.is_peer_closed
    }

    /// Whether it would do something if it was awake.
    pub(crate) fn has_plans(&self, kernel: &Kernel, id: Id) -> bool {
        self.can_send(kernel, id) || self.can_end(kernel, id) || self.can_read(kernel, id)
    }

    pub(crate) fn act(&mut self, kernel: &mut Kernel, id: Id) {
        if kernel.rng.percent(self.pause_percent) {
            let span = kernel.rng.below(self.pause_max.as_nanos() as u64);
            self.asleep_until = kernel.now.plus(Duration::from_nanos(span));
            return;
        }
        if self.can_read(kernel, id) && kernel.rng.percent(50) {
            let bytes = kernel.rng.between(1, self.read_bytes as u64) as usize;
            kernel.peer_reads(id, bytes);
            return;
        }
        for _ in 0..self.burst {
            if !self.can_send(kernel, id) {
                break;
            }
            let socket = &kernel.sockets[id];
            let window = (socket.buffers.receive - socket.waiting) as u64;
            let most = self.segment_max.min(self.total - self.sent).min(window);
            // Mostly full segments, as a stack sends them.
            let bytes = if kernel.rng.percent(70) {
                most
            } else {
                kernel.rng.between(1, most)
            };
            if kernel.rng.percent(self.urge_percent) {
                kernel.peer_urges(id);
            }
            if kernel.peer_sends(id, bytes as usize) {
                self.sent += bytes;
            }
        }
        // The end may come in the same moment as the last bytes.
        if self.can_end(kernel, id) && kernel.rng.percent(60) {
            self.has_ended = true;
            match self.ending {
                Ending::Fin | Ending::FinAfterFin => kernel.peer_fins(id),
                Ending::Close => kernel.peer_closes(id),
                Ending::Rst => kernel.peer_resets(id),
                Ending::Never => {}
            }
        }
    }
}

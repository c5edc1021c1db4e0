//! Replies longer than their requests: each has its request's bytes over and over, and is made as it is written.
//!
//! Called by `connection`: it gives what it reads only while no whole request waits, so that this never holds more than
//! one read and less than one request; however long a reply is, only how much of it was written is kept. Pure.

use std::time::Instant;

/// The most of a reply that is laid out at once: two of the longest requests, so that from any byte of a request on
/// there is as much as one write moves.
pub(super) const TILE_BYTES: usize = 128 * 1024;

/// The replies to one connection's requests.
pub(super) struct Repeat {
    request_bytes: usize,
    reply_bytes: u64,
    /// What was read and is not answered; requests before `answered` are.
    pending: Vec<u8>,
    answered: usize,
    /// Bytes of the present reply that were written; never all of them.
    written: u64,
    /// When the waiting replies may go: whole requests wait only since the last read, so it is one time for all.
    due: Option<Instant>,
}

impl Repeat {
    /// Both at least 1.
    pub(super) fn new(request_bytes: usize, reply_bytes: u64) -> Self {
        Self {
            request_bytes: request_bytes.max(1),
            reply_bytes,
            pending: Vec::new(),
            answered: 0,
            written: 0,
            due: None,
        }
    }

    /// Takes the bytes that came, whose replies may go from `due` on. No whole request waits.
    pub(super) fn take(&mut self, bytes: &[u8], due: Instant) {
        self.pending.drain(..self.answered.min(self.pending.len()));
        self.answered = 0;
        self.pending.extend_from_slice(bytes);
        self.due = Some(due);
    }

    /// The request that is to be answered next, or whose reply is begun.
    fn request(&self) -> Option<&[u8]> {
        self.pending.get(self.answered..)?.get(..self.request_bytes)
    }

    /// When the next reply may go; nothing when no whole request waits.
    pub(super) fn due(&self) -> Option<Instant> {
        self.request().and(self.due)
    }

    /// Lays out in `tile` what `rest` gives parts of, for the request that waits.
    pub(super) fn lay(&self, tile: &mut Vec<u8>) {
        let request = self.request().unwrap_or_default();
        let needed = self.place().saturating_add(self.left()).min(TILE_BYTES);
        tile.clear();
        tile.extend_from_slice(request.get(..needed).unwrap_or(request));
        // It doubles: copies as long as can be.
        while tile.len() < needed && !tile.is_empty() {
            let count = tile.len().min(needed.saturating_sub(tile.len()));
            tile.extend_from_within(..count);
        }
    }

    /// The next bytes of the present reply, as many as there are in a tile that was laid out for it.
    pub(super) fn rest<'a>(&self, tile: &'a [u8]) -> &'a [u8] {
        let rest = tile.get(self.place()..).unwrap_or_default();
        rest.get(..self.left()).unwrap_or(rest)
    }

    /// Counts bytes of the present reply as written; true when they were its last.
    pub(super) fn note_written(&mut self, count: usize) -> bool {
        self.written = self.written.saturating_add(count as u64);
        let is_whole = self.written >= self.reply_bytes;
        if is_whole {
            self.written = 0;
            self.answered = self.answered.saturating_add(self.request_bytes);
        }
        is_whole
    }

    /// Where in the request the reply's next byte stands.
    fn place(&self) -> usize {
        let place = self.written.checked_rem(self.request_bytes as u64);
        place.unwrap_or_default() as usize
    }

    fn left(&self) -> usize {
        usize::try_from(self.reply_bytes.saturating_sub(self.written)).unwrap_or(usize::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;

    fn naive(requests: &[u8], request_bytes: usize, reply_bytes: usize) -> Vec<u8> {
        let reply =
            |request: &[u8]| -> Vec<u8> { (0..reply_bytes).map(|place| request[place % request_bytes]).collect() };
        requests.chunks_exact(request_bytes).flat_map(reply).collect()
    }

    /// All replies, when the socket takes as many bytes at a time as `room` says, over and over, and a turn is two writes.
    fn replies<'a>(
        pieces: impl IntoIterator<Item = &'a [u8]>,
        (request_bytes, reply_bytes): (usize, usize),
        room: &[usize],
    ) -> Vec<u8> {
        let mut repeat = Repeat::new(request_bytes, reply_bytes as u64);
        let (mut tile, mut replies) = (Vec::new(), Vec::new());
        let mut room = room.iter().cycle();
        for piece in pieces {
            repeat.take(piece, Instant::now());
            while repeat.due().is_some() {
                repeat.lay(&mut tile);
                for _ in 0..2 {
                    let rest = repeat.rest(&tile);
                    let written = &rest[..rest.len().min(*room.next().unwrap())];
                    replies.extend_from_slice(written);
                    if repeat.note_written(written.len()) {
                        break;
                    }
                }
            }
            assert!(repeat.pending.len() - repeat.answered < request_bytes);
        }
        replies
    }

    proptest! {
        #[test]
        fn replies_are_what_their_definition_says_however_requests_and_writes_are_cut(
            pieces in vec(vec(any::<u8>(), 0..100), 0..6),
            request in 1_usize..150,
            reply in 1_usize..600,
            room in vec(1_usize..300, 1..6),
        ) {
            let (request, reply) = (request.min(reply), reply.max(request));
            let wanted = naive(&pieces.concat(), request, reply);
            prop_assert_eq!(replies(pieces.iter().map(Vec::as_slice), (request, reply), &room), wanted);
        }
    }

    #[test]
    fn a_cut_at_any_place_changes_nothing() {
        let requests: Vec<u8> = (0..100_u32).map(|place| ((place * place) >> 3) as u8).collect();
        for (request, reply) in [(1, 2), (7, 64), (32, 33), (100, 250), (101, 200)] {
            let wanted = naive(&requests, request, reply);
            for cut in 0..=requests.len() {
                let (first, second) = requests.split_at(cut);
                let found = replies([first, second], (request, reply), &[usize::MAX]);
                assert_eq!(found, wanted, "{request}, {reply}, cut at {cut}");
            }
        }
    }

    #[test]
    fn a_reply_longer_than_a_tile_is_laid_out_piece_by_piece() {
        let request: Vec<u8> = (0..65_521_u32).map(|place| ((place * place) >> 5) as u8).collect();
        let sizes = (request.len(), 3 * TILE_BYTES + 5);
        let found = replies([request.as_slice()], sizes, &[60_000, 1, usize::MAX]);
        assert!(found == naive(&request, sizes.0, sizes.1));
    }
}

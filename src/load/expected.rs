//! What must come back for a request. As long as the request: the request itself (an echo). Shorter: its fold. Longer:
//! its bytes over and over, cut at the reply's size. This is `tcp_server --request-size --reply-size`, told from its
//! definition: no line is shared with it.
//!
//! Used by `connection`, which tells it what was sent. It must never let a byte pass that it has not compared.

use super::fold::Fold;
use super::options::MessageSizes;
use super::payload::Payload;

/// One request, and the reply to it.
#[derive(Debug)]
pub(super) struct Expected {
    pub(super) payload: Payload,
    pub(super) sizes: MessageSizes,
    /// Of the bytes sent, where the reply is shorter than the request.
    fold: Option<Fold>,
}

impl Expected {
    pub(super) fn new(payload: Payload, sizes: MessageSizes) -> Self {
        let is_folded = sizes.reply < sizes.request;
        Self {
            payload,
            sizes,
            // The options allow no reply that is folded and longer than memory.
            fold: is_folded.then(|| Fold::new(usize::try_from(sizes.reply).unwrap_or(usize::MAX))),
        }
    }

    /// Takes the bytes that were sent, in order, and leaves them as scrap.
    pub(super) fn note_sent(&mut self, bytes: &mut [u8]) {
        if let Some(fold) = &mut self.fold {
            fold.take(bytes);
        }
    }

    /// Whether `received` is what the reply has from `offset` on, when `sent` bytes of the request are.
    pub(super) fn matches(&self, sent: u64, offset: u64, received: &[u8]) -> bool {
        let end = offset.saturating_add(received.len() as u64);
        if self.sizes.is_echo() {
            // More than was sent so far can't be an echo, whatever it holds.
            return end <= sent && self.payload.matches(offset, received);
        }
        // Only a whole request has a reply.
        if sent < self.sizes.request || end > self.sizes.reply {
            return false;
        }
        match &self.fold {
            Some(fold) => {
                let start = usize::try_from(offset).unwrap_or(usize::MAX);
                fold.bytes().get(start..).is_some_and(|rest| rest.starts_with(received))
            }
            None => self.matches_repeated(offset, received),
        }
    }

    /// Compares one period with the request, and the rest with the bytes one period before it: those are right by then.
    fn matches_repeated(&self, offset: u64, received: &[u8]) -> bool {
        let place = offset.checked_rem(self.sizes.request).unwrap_or_default();
        let period = usize::try_from(self.sizes.request).unwrap_or(usize::MAX);
        let left = usize::try_from(self.sizes.request.saturating_sub(place)).unwrap_or(usize::MAX);
        let (first, later) = received.split_at(received.len().min(period));
        let (to_end, from_start) = first.split_at(first.len().min(left));
        self.payload.matches(place, to_end) && self.payload.matches(0, from_start) && received.starts_with(later)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;

    fn request(payload: Payload, size: u64) -> Vec<u8> {
        let mut bytes = vec![0; size as usize];
        payload.fill(0, &mut bytes);
        bytes
    }

    /// The reply as it is defined, byte by byte.
    fn naive(request: &[u8], size: usize) -> Vec<u8> {
        let mut reply = vec![0; size];
        for place in 0..request.len().max(size) {
            match size < request.len() {
                true => reply[place % size] ^= request[place],
                false => reply[place] = request[place % request.len()],
            }
        }
        reply
    }

    /// A request that was sent in pieces.
    fn sent(payload: Payload, sizes: MessageSizes, cuts: &[usize]) -> Expected {
        let mut expected = Expected::new(payload, sizes);
        for piece in cut(&mut request(payload, sizes.request), cuts) {
            expected.note_sent(piece);
        }
        expected
    }

    /// `bytes` in pieces of the lengths of `cuts`, and what is left.
    fn cut<'a>(mut bytes: &'a mut [u8], cuts: &[usize]) -> Vec<&'a mut [u8]> {
        let mut pieces = Vec::new();
        for length in cuts {
            let (piece, rest) = bytes.split_at_mut((*length).min(bytes.len()));
            pieces.push(piece);
            bytes = rest;
        }
        pieces.push(bytes);
        pieces
    }

    proptest! {
        #[test]
        fn a_reply_is_what_its_definition_says_however_both_are_cut(
            size in 1_u64..600,
            reply in 1_u64..600,
            cuts in vec(0_usize..200, 0..8),
            reply_cuts in vec(0_usize..200, 0..8),
        ) {
            let sizes = MessageSizes { request: size, reply };
            let payload = Payload::new(1, size, reply);
            let expected = sent(payload, sizes, &cuts);
            let mut bytes = naive(&request(payload, size), reply as usize);
            let mut offset = 0;
            for piece in cut(&mut bytes, &reply_cuts) {
                prop_assert!(expected.matches(size, offset, piece));
                offset += piece.len() as u64;
            }
        }

        #[test]
        fn one_changed_byte_is_found_wherever_it_is(
            size in 1_u64..300,
            reply in 1_u64..300,
            place in any::<proptest::sample::Index>(),
            change in 1_u8..,
        ) {
            let sizes = MessageSizes { request: size, reply };
            let payload = Payload::new(1, size, reply);
            let mut bytes = naive(&request(payload, size), reply as usize);
            bytes[place.index(reply as usize)] ^= change;
            prop_assert!(!sent(payload, sizes, &[]).matches(size, 0, &bytes));
        }
    }

    #[test]
    fn a_reply_before_the_whole_request_or_beyond_its_size_is_wrong() {
        let payload = Payload::new(1, 2, 3);
        for (size, reply) in [(64, 16), (16, 64), (64, 64)] {
            let sizes = MessageSizes { request: size, reply };
            let expected = sent(payload, sizes, &[]);
            let mut bytes = naive(&request(payload, size), reply as usize);
            assert!(expected.matches(size, 0, &bytes));
            assert!(!expected.matches(size - 1, 0, &bytes), "{size}, {reply}");
            bytes.push(bytes[0]);
            assert!(!expected.matches(size, 0, &bytes), "{size}, {reply}");
        }
    }
}

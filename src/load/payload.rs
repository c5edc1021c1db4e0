//! The bytes of a request: pseudo-random, different for each run, connection and request, so that crossed, repeated or
//! shifted bytes are found. Any part can be made from its offset alone: nothing is stored, however large the message.
//!
//! A line of 128 bytes has one random word, the finalizer of SplitMix64 over a counter (Steele, Lea, Flood: Fast
//! Splittable Pseudorandom Number Generators, 2014), and its words are that one plus a multiple of the golden ratio each:
//! additions, which the compiler does several at a time. A finalizer for every word cost a third of the client's time.
//! Called by `connection` for what it sends and by `expected` for what must come back.

const GOLDEN_GAMMA: u64 = 0x9e37_79b9_7f4a_7c15;
const LINE_BYTES: usize = 128;
const LINE_WORDS: usize = LINE_BYTES / 8;

/// The bytes of one request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Payload {
    seed: u64,
}

impl Payload {
    pub(super) fn new(run_seed: u64, connection: u64, request: u64) -> Self {
        let seed = mix(run_seed ^ mix(connection.wrapping_add(GOLDEN_GAMMA)));
        Self {
            seed: mix(seed ^ mix(request.wrapping_mul(GOLDEN_GAMMA))),
        }
    }

    /// Fills `out` with the bytes from `offset` on.
    pub(super) fn fill(&self, offset: u64, out: &mut [u8]) {
        let (number, skipped) = line_of(offset);
        let (head, rest) = out.split_at_mut(head_bytes(skipped, out.len()));
        let (lines, tail) = rest.as_chunks_mut::<LINE_BYTES>();
        let mut numbers = number..;
        if !head.is_empty() {
            let line = self.line(numbers.next().unwrap_or_default());
            copy(head, line.get(skipped..).unwrap_or_default());
        }
        for (line, number) in lines.iter_mut().zip(&mut numbers) {
            *line = self.line(number);
        }
        if !tail.is_empty() {
            copy(tail, &self.line(numbers.next().unwrap_or_default()));
        }
    }

    /// Whether `received` are the bytes from `offset` on.
    pub(super) fn matches(&self, offset: u64, received: &[u8]) -> bool {
        let (number, skipped) = line_of(offset);
        let (head, rest) = received.split_at(head_bytes(skipped, received.len()));
        let (lines, tail) = rest.as_chunks::<LINE_BYTES>();
        let mut numbers = number..;
        if !head.is_empty() {
            let line = self.line(numbers.next().unwrap_or_default());
            if !line.get(skipped..).unwrap_or_default().starts_with(head) {
                return false;
            }
        }
        let mut difference = 0;
        for (line, number) in lines.iter().zip(&mut numbers) {
            let (words, _) = line.as_chunks();
            for (found, wanted) in words.iter().zip(self.words(number)) {
                difference |= u64::from_le_bytes(*found) ^ wanted;
            }
        }
        difference == 0 && (tail.is_empty() || self.line(numbers.next().unwrap_or_default()).starts_with(tail))
    }

    fn words(&self, line: u64) -> [u64; LINE_WORDS] {
        let first = mix(self.seed.wrapping_add(line.wrapping_mul(GOLDEN_GAMMA)));
        std::array::from_fn(|place| first.wrapping_add((place as u64).wrapping_mul(GOLDEN_GAMMA)))
    }

    fn line(&self, number: u64) -> [u8; LINE_BYTES] {
        let mut line = [0; LINE_BYTES];
        let (places, _) = line.as_chunks_mut();
        for (place, word) in places.iter_mut().zip(self.words(number)) {
            *place = word.to_le_bytes();
        }
        line
    }
}

/// The number of the line that has the byte at `offset`, and how many of its bytes stand before that.
fn line_of(offset: u64) -> (u64, usize) {
    const BYTES: u64 = LINE_BYTES as u64;
    (offset / BYTES, (offset % BYTES) as usize)
}

/// How many of `length` bytes belong to a line of which `skipped` stand before.
fn head_bytes(skipped: usize, length: usize) -> usize {
    match skipped {
        0 => 0,
        _ => LINE_BYTES.saturating_sub(skipped).min(length),
    }
}

/// Fills `out` with the first of `bytes`, which are no fewer.
fn copy(out: &mut [u8], bytes: &[u8]) {
    for (out, byte) in out.iter_mut().zip(bytes) {
        *out = *byte;
    }
}

fn mix(word: u64) -> u64 {
    let word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    /// Two lines whole, two in part.
    const SPAN: usize = 3 * LINE_BYTES + 9;

    fn whole(payload: Payload) -> Vec<u8> {
        let mut bytes = vec![0; SPAN];
        payload.fill(0, &mut bytes);
        bytes
    }

    #[test]
    fn any_part_is_the_same_as_in_the_whole() {
        let payload = Payload::new(1, 2, 3);
        let whole = whole(payload);
        let mut part = [0; SPAN];
        for from in 0..SPAN {
            for to in from..SPAN {
                let part = &mut part[..to - from];
                payload.fill(from as u64, part);
                assert!(*part == whole[from..to], "{from}..{to}");
                assert!(payload.matches(from as u64, part), "{from}..{to}");
            }
        }
    }

    #[test]
    fn other_runs_connections_and_requests_have_other_bytes() {
        let payloads = [(1, 2, 3), (2, 2, 3), (1, 3, 3), (1, 2, 4), (1, 3, 2), (3, 2, 1)];
        let wholes = payloads.map(|(run, connection, request)| whole(Payload::new(run, connection, request)));
        let words: BTreeSet<&[u8]> = wholes.iter().flat_map(|whole| whole.chunks_exact(8)).collect();
        assert_eq!(words.len(), payloads.len() * (SPAN / 8));
    }

    #[test]
    fn one_flipped_bit_does_not_match_wherever_it_is() {
        let payload = Payload::new(1, 2, 3);
        for from in [0, 7, LINE_BYTES - 1] {
            let mut bytes = whole(payload).split_off(from);
            for bit in 0..8 * bytes.len() {
                bytes[bit / 8] ^= 1 << (bit % 8);
                assert!(!payload.matches(from as u64, &bytes), "from {from}, bit {bit}");
                bytes[bit / 8] ^= 1 << (bit % 8);
            }
            assert!(payload.matches(from as u64, &bytes));
        }
    }

    #[test]
    fn shifted_bytes_do_not_match() {
        let payload = Payload::new(1, 2, 3);
        let whole = whole(payload);
        for by in 1..=2 * LINE_BYTES {
            assert!(!payload.matches(0, &whole[by..]), "by {by}");
        }
    }
}

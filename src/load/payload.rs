//! The bytes of a request: pseudo-random, different for each run, connection and request, so that crossed, repeated or
//! shifted bytes are found. Any part can be made from its offset alone: nothing is stored, however large the message.
//!
//! A word is the finalizer of SplitMix64 over a counter (Steele, Lea, Flood: Fast Splittable Pseudorandom Number
//! Generators, 2014). Called by `connection` for what it sends and for what it expects.

const GOLDEN_GAMMA: u64 = 0x9e37_79b9_7f4a_7c15;
const WORD_BYTES: u64 = 8;

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
        let word = offset / WORD_BYTES;
        let mut counter = self.seed.wrapping_add(word.wrapping_mul(GOLDEN_GAMMA));
        let skipped = (offset % WORD_BYTES) as usize;
        let mut rest = out;
        if skipped > 0 {
            let bytes = mix(counter).to_le_bytes();
            counter = counter.wrapping_add(GOLDEN_GAMMA);
            let from = bytes.get(skipped..).unwrap_or_default();
            let count = from.len().min(rest.len());
            let (head, tail) = rest.split_at_mut(count);
            head.copy_from_slice(from.get(..count).unwrap_or_default());
            rest = tail;
        }
        let mut words = rest.chunks_exact_mut(WORD_BYTES as usize);
        for chunk in &mut words {
            chunk.copy_from_slice(&mix(counter).to_le_bytes());
            counter = counter.wrapping_add(GOLDEN_GAMMA);
        }
        let tail = words.into_remainder();
        let bytes = mix(counter).to_le_bytes();
        tail.copy_from_slice(bytes.get(..tail.len()).unwrap_or_default());
    }

    /// Whether `received` are the bytes from `offset` on. `scratch` is at least as long.
    pub(super) fn matches(&self, offset: u64, received: &[u8], scratch: &mut [u8]) -> bool {
        let Some(expected) = scratch.get_mut(..received.len()) else {
            return false;
        };
        self.fill(offset, expected);
        expected == received
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

    #[test]
    fn any_part_is_the_same_as_in_the_whole() {
        let payload = Payload::new(1, 2, 3);
        let mut whole = [0; 100];
        payload.fill(0, &mut whole);
        for from in 0..100 {
            for to in from..100 {
                let mut part = vec![0; to - from];
                payload.fill(from as u64, &mut part);
                assert_eq!(part, whole[from..to], "{from}..{to}");
            }
        }
    }

    #[test]
    fn other_runs_connections_and_requests_have_other_bytes() {
        let payloads = [(1, 2, 3), (2, 2, 3), (1, 3, 3), (1, 2, 4), (1, 3, 2), (3, 2, 1)];
        let firsts: std::collections::BTreeSet<[u8; 8]> = payloads
            .iter()
            .map(|&(run, connection, request)| {
                let mut bytes = [0; 8];
                Payload::new(run, connection, request).fill(0, &mut bytes);
                bytes
            })
            .collect();
        assert_eq!(firsts.len(), payloads.len());
    }

    #[test]
    fn one_flipped_bit_does_not_match() {
        let payload = Payload::new(1, 2, 3);
        let mut bytes = [0; 65];
        let mut scratch = [0; 65];
        payload.fill(7, &mut bytes);
        assert!(payload.matches(7, &bytes, &mut scratch));
        bytes[64] ^= 1;
        assert!(!payload.matches(7, &bytes, &mut scratch));
    }
}

//! Pseudo-random bytes that both ends can make from a seed: stronger than a digest, since a wrong byte is found with its place.

/// A stream of bytes; two of the same seed are the same.
pub(crate) struct Noise {
    state: u64,
    word: [u8; 8],
    used: usize,
}

impl Noise {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            state: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1,
            word: [0; 8],
            used: 8,
        }
    }

    /// The next bytes. (xorshift64*, Vigna 2016, arXiv:1402.6246.)
    pub(crate) fn fill(&mut self, bytes: &mut [u8]) {
        for byte in bytes {
            if self.used == 8 {
                self.state ^= self.state >> 12;
                self.state ^= self.state << 25;
                self.state ^= self.state >> 27;
                self.word = self.state.wrapping_mul(0x2545_f491_4f6c_dd1d).to_le_bytes();
                self.used = 0;
            }
            *byte = self.word[self.used];
            self.used += 1;
        }
    }
}

/// Where two runs of bytes begin to differ.
pub(crate) fn difference(wanted: &[u8], got: &[u8]) -> Option<usize> {
    wanted.iter().zip(got).position(|(wanted, got)| wanted != got)
}

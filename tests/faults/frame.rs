//! The load's records: u64 session, u32 number, u32 length, u64 xxh3 of the payload, payload. Nothing of a record can be lost, doubled,
//! mixed up with another session's or damaged without being seen.

use twox_hash::XxHash3_64;

use crate::common::Noise;

const HEAD: usize = 24;

/// One record, appended to `into`.
pub(super) fn write(session: u64, number: u32, length: usize, into: &mut Vec<u8>) {
    let from = into.len() + HEAD;
    into.extend(session.to_le_bytes());
    into.extend(number.to_le_bytes());
    into.extend(u32::try_from(length).unwrap().to_le_bytes());
    into.extend([0; 8]);
    into.resize(from + length, 0);
    Noise::new(session ^ u64::from(number) << 40).fill(&mut into[from..]);
    let digest = XxHash3_64::oneshot(&into[from..]);
    into[from - 8..from].copy_from_slice(&digest.to_le_bytes());
}

/// What comes back of a session, put together and looked at.
#[derive(Default)]
pub(super) struct Reader {
    bytes: Vec<u8>,
    /// Records that were right so far: the number of the next one.
    pub(super) whole: u32,
    pub(super) is_wrong: bool,
}

impl Reader {
    /// Takes bytes as they come; every record that is complete is checked.
    pub(super) fn take(&mut self, session: u64, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
        while self.bytes.len() >= HEAD && !self.is_wrong {
            let number = u32::from_le_bytes(self.bytes[8..12].try_into().unwrap());
            let length = u32::from_le_bytes(self.bytes[12..16].try_into().unwrap()) as usize;
            if self.bytes[..8] != session.to_le_bytes() || number != self.whole {
                self.is_wrong = true;
                return;
            }
            if self.bytes.len() < HEAD + length {
                return;
            }
            let digest = XxHash3_64::oneshot(&self.bytes[HEAD..HEAD + length]);
            self.is_wrong = self.bytes[16..HEAD] != digest.to_le_bytes();
            self.bytes.drain(..HEAD + length);
            self.whole += 1;
        }
    }

    /// Whether nothing of a record is left over.
    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }
}

#[test]
fn a_wrong_byte_a_lost_record_and_a_strangers_record_are_seen() {
    let (mut first, mut second) = (Vec::new(), Vec::new());
    write(7, 0, 1000, &mut first);
    write(7, 1, 10, &mut second);
    let whole = |bytes: &[u8]| {
        let mut reader = Reader::default();
        bytes.chunks(100).for_each(|part| reader.take(7, part));
        (reader.whole, reader.is_wrong)
    };
    assert_eq!(whole(&[&*first, &second].concat()), (2, false));
    assert!(whole(&second).1, "a record is missing");
    for place in [0, 9, HEAD + 500] {
        let mut damaged = first.clone();
        damaged[place] ^= 1;
        assert!(whole(&damaged).1, "byte {place}");
    }
}

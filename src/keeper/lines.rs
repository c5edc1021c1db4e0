//! What a replica writes, as lines that a log can hold: of a bounded length, no more than so many a second, nothing invisible.

use std::fmt::Write;
use std::io;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

/// Bytes of a line; a longer one becomes several.
const LINE_BYTES_MAX: usize = 1024;
/// Lines a second; a replica that writes more fills no log with them.
const LINES_MAX: u64 = 1000;

/// A stream of a replica.
#[derive(Debug)]
pub(super) struct Stream {
    pipe: Option<OwnedFd>,
    begun: Vec<u8>,
}

impl Stream {
    pub(super) const fn new(pipe: Option<OwnedFd>) -> Self {
        Self {
            pipe,
            begun: Vec::new(),
        }
    }

    /// What can be awaited; `None`: it has ended.
    pub(super) const fn pipe(&self) -> Option<&OwnedFd> {
        self.pipe.as_ref()
    }

    /// Reads once, and tells each line that is whole. Whether there was anything.
    pub(super) fn read(&mut self, tell: &mut impl FnMut(String)) -> bool {
        let mut chunk = [0_u8; 4096];
        let Some(pipe) = &self.pipe else {
            return false;
        };
        match rustix::io::read(pipe, &mut chunk) {
            Ok(length @ 1..) => {
                self.take(chunk.get(..length).unwrap_or_default(), tell);
                true
            }
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => false,
            Ok(0) | Err(_) => {
                if !self.begun.is_empty() {
                    tell(visible(&std::mem::take(&mut self.begun)));
                }
                self.pipe = None;
                false
            }
        }
    }

    fn take(&mut self, bytes: &[u8], tell: &mut impl FnMut(String)) {
        for byte in bytes {
            if *byte == b'\n' {
                tell(visible(&std::mem::take(&mut self.begun)));
                continue;
            }
            self.begun.push(*byte);
            if self.begun.len() >= LINE_BYTES_MAX {
                tell(visible(&std::mem::take(&mut self.begun)));
            }
        }
    }
}

/// A line as a person may see it: what isn't text, moves the cursor or changes its direction is written out.
fn visible(line: &[u8]) -> String {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let mut shown = String::with_capacity(line.len());
    for sign in String::from_utf8_lossy(line).chars() {
        // U+200B to U+200F, U+2028 to U+202E, U+2066 to U+2069: invisible, or they turn the rest around.
        let is_hidden =
            matches!(sign, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}');
        if sign.is_control() && sign != '\t' || is_hidden {
            let _always_ok: Result<(), std::fmt::Error> = write!(shown, "{}", sign.escape_default()); // a String takes everything
        } else {
            shown.push(sign);
        }
    }
    shown
}

/// How many lines may still be told.
#[derive(Debug)]
pub(super) struct Allowance {
    since: Instant,
    told: u64,
    lost: u64,
}

impl Allowance {
    pub(super) const fn new(now: Instant) -> Self {
        Self {
            since: now,
            told: 0,
            lost: 0,
        }
    }

    /// Whether another may be told now.
    pub(super) fn has_room(&mut self, now: Instant) -> bool {
        if now.saturating_duration_since(self.since) >= Duration::from_secs(1) {
            (self.since, self.told) = (now, 0);
        }
        self.told < LINES_MAX
    }

    /// One was told, or not.
    pub(super) const fn note(&mut self, is_told: bool) {
        if is_told {
            self.told = self.told.saturating_add(1);
        } else {
            self.lost = self.lost.saturating_add(1);
        }
    }

    /// Lines that were lost since this was asked last.
    pub(super) const fn take_lost(&mut self) -> u64 {
        std::mem::replace(&mut self.lost, 0)
    }

    /// They could not be told of either.
    pub(super) const fn keep_lost(&mut self, lines: u64) {
        self.lost = self.lost.saturating_add(lines);
    }
}

/// What a keeper reads from never holds it up.
///
/// # Errors
/// The kernel refuses.
pub(super) fn without_waiting(pipe: &OwnedFd) -> io::Result<()> {
    Ok(rustix::io::ioctl_fionbio(pipe, true)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_cut_shown_and_never_empty_the_memory() {
        let mut stream = Stream::new(None);
        let mut told = Vec::new();
        let mut tell = |line| told.push(line);
        stream.take(b"one\r\ntw", &mut tell);
        stream.take(b"o\n\n\x1b[31mred\0\tx\n\xff\n", &mut tell);
        stream.take(&[b'a'; 2500], &mut tell);
        assert_eq!(told[..5], ["one", "two", "", "\\u{1b}[31mred\\u{0}\tx", "\u{fffd}"]);
        assert_eq!(told[5..].iter().map(String::len).collect::<Vec<_>>(), [1024, 1024]);
        assert_eq!(visible("a\u{202e}b".as_bytes()), "a\\u{202e}b");
    }

    #[test]
    fn who_writes_too_much_is_heard_again_a_second_later() {
        let start = Instant::now();
        let mut allowance = Allowance::new(start);
        for _ in 0..LINES_MAX + 5 {
            let has_room = allowance.has_room(start);
            allowance.note(has_room);
        }
        assert_eq!((allowance.take_lost(), allowance.take_lost()), (5, 0));
        assert!(allowance.has_room(start + Duration::from_secs(1)));
    }
}

//! Text lines that must never hold up who writes them: a bounded queue and one thread that writes.
//!
//! The log and the access log go this way. A full disk, a closed pipe or a reader that has stopped costs lines, which are counted
//! and reported as soon as a line gets through; it never blocks, panics or kills anything.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};

/// Lines that may wait: at 300 bytes each about 2.5 MB, and half a second of a busy access log.
const QUEUE_LINES: usize = 8192;
/// How long the end of the process waits for a writer that is stuck.
const FLUSH_PATIENCE: Duration = Duration::from_secs(1);

/// The writing end; cheap to clone.
#[derive(Clone, Debug)]
pub struct Lines {
    queue: Sender<Vec<u8>>,
    dropped: Drops,
}

/// A count of lost lines that outlives who writes; clones share it.
#[derive(Clone, Debug, Default)]
pub struct Drops(Arc<AtomicU64>);

impl Drops {
    /// Lines lost so far.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.0.load(Relaxed)
    }

    fn add_one(&self) {
        self.0.fetch_add(1, Relaxed);
    }
}

/// Keeps the thread; dropped, it waits until what is queued has been written.
#[derive(Debug)]
pub struct LinesGuard {
    stop: Sender<()>,
    finished: Receiver<()>,
}

impl Lines {
    /// Starts the thread that writes to `target`; `what` names the lines in a report of dropped ones, which are
    /// counted by `dropped`.
    ///
    /// # Errors
    /// No thread can be started.
    pub fn spawn(
        what: &'static str,
        target: Box<dyn Write + Send>,
        dropped: Drops,
    ) -> std::io::Result<(Self, LinesGuard)> {
        let (queue, lines) = bounded::<Vec<u8>>(QUEUE_LINES);
        let (stop, stopped) = bounded::<()>(1);
        let (finish, finished) = bounded::<()>(1);
        let mut writer = Writer {
            what,
            target,
            dropped: dropped.clone(),
            reported: 0,
        };
        std::thread::Builder::new().name("lines".into()).spawn(move || {
            writer.run(&lines, &stopped);
            drop(finish);
        })?;
        Ok((Self { queue, dropped }, LinesGuard { stop, finished }))
    }

    /// Hands over one line, its newline at the end. Full queue: the line is dropped and counted.
    pub fn write(&self, line: Vec<u8>) {
        if let Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) = self.queue.try_send(line) {
            self.dropped.add_one();
        }
    }

    /// A line was lost before it came here.
    pub(super) fn count_drop(&self) {
        self.dropped.add_one();
    }
}

impl Write for Lines {
    fn write(&mut self, line: &[u8]) -> std::io::Result<usize> {
        Self::write(self, line.to_vec());
        Ok(line.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Drop for LinesGuard {
    fn drop(&mut self) {
        // A stop that can't be sent means that the thread has gone, and a timeout that it is stuck: either way we leave.
        if self.stop.try_send(()).is_ok() && self.finished.recv_timeout(FLUSH_PATIENCE).is_ok() {
            log::trace!("lines written");
        }
    }
}

struct Writer {
    what: &'static str,
    target: Box<dyn Write + Send>,
    dropped: Drops,
    reported: u64,
}

impl Writer {
    fn run(&mut self, lines: &Receiver<Vec<u8>>, stopped: &Receiver<()>) {
        loop {
            crossbeam_channel::select_biased! {
                recv(lines) -> line => match line {
                    Ok(line) => self.put(&line),
                    Err(_) => break,
                },
                recv(stopped) -> _ => break,
            }
        }
        // A stop is seen only when the queue was empty; what was queued since then still goes out.
        while let Ok(line) = lines.try_recv() {
            self.put(&line);
        }
    }

    fn put(&mut self, line: &[u8]) {
        let written = self.target.write_all(line).and_then(|()| self.target.flush());
        if written.is_err() {
            self.dropped.add_one();
            return;
        }
        let dropped = self.dropped.count();
        let new = dropped.saturating_sub(self.reported);
        if new > 0 && writeln!(self.target, "lb: {new} lines of the {} were lost", self.what).is_ok() {
            self.reported = dropped;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;
    use std::sync::Mutex;

    #[derive(Clone, Default)]
    struct Shared(Arc<Mutex<Vec<u8>>>);

    impl Write for Shared {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    struct Stuck(Receiver<()>, Shared);

    impl Write for Stuck {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if self.0.recv_timeout(Duration::from_secs(10)).is_err() {
                return self.1.write(bytes); // released: the sender is gone
            }
            Err(io::Error::from(io::ErrorKind::StorageFull))
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn every_line_is_written_before_the_guard_is_gone() {
        let target = Shared::default();
        let (lines, guard) = Lines::spawn("test", Box::new(target.clone()), Drops::default()).unwrap();
        for number in 0..1000 {
            lines.write(format!("{number}\n").into_bytes());
        }
        drop(guard);
        let text = String::from_utf8(target.0.lock().unwrap().clone()).unwrap();
        assert_eq!(text.lines().count(), 1000);
        assert_eq!(lines.dropped.count(), 0);
    }

    #[test]
    fn a_target_that_is_stuck_or_full_costs_lines_and_says_how_many() {
        let target = Shared::default();
        let (fail, failing) = bounded(1);
        let (lines, guard) = Lines::spawn("test", Box::new(Stuck(failing, target.clone())), Drops::default()).unwrap();
        fail.send(()).unwrap(); // the first line meets a full disk
        for _ in 0..QUEUE_LINES + 1000 {
            lines.write(b"line\n".to_vec());
        }
        assert!(lines.dropped.count() >= 999, "the queue is bounded");
        drop(fail);
        drop(guard);
        let text = String::from_utf8(target.0.lock().unwrap().clone()).unwrap();
        let lost: u64 = text
            .lines()
            .filter_map(|line| {
                line.strip_prefix("lb: ")?
                    .strip_suffix(" lines of the test were lost")?
                    .parse::<u64>()
                    .ok()
            })
            .sum();
        assert_eq!(lost, lines.dropped.count(), "{}", text.len());
    }
}

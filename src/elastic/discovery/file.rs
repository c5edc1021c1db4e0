//! A list of backends in a file: read when it changes, and looked at now and then where nobody tells of changes.
//!
//! Whoever writes the file best puts another one in its place (rename), which is there whole or not at all. One that is written in
//! place is read in the middle too, and then most often can't be followed: the backends stay until it is whole.

use std::convert::Infallible;
use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::time::Duration;

use super::entries;
use super::follow::{Tell, Word};
use super::pass;
use super::watch::Seat;
use crate::config::FILE_BYTES_MAX;

/// A change is most often several: what comes within so long is read once.
const SETTLE: Duration = Duration::from_millis(20);
/// It is looked at so often also where no change was told: on a network's file system, or without watches left.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// Tells what the file says, from the start and after each change.
pub(super) async fn follow(path: &Path, mut seat: Seat, tell: &Tell) -> Infallible {
    let mut before = None;
    let (mut is_told, mut is_good) = (true, true);
    loop {
        // Watched first, then read: a change in between is told.
        seat.look();
        let now = Stamp::of(path);
        // What is wrong is told each time: who counts must see that it lasts.
        if is_told || !is_good || before != now {
            let word = match read(path) {
                Ok(bytes) => entries::of_file(path, &bytes).map_or_else(Word::Failed, Word::Answer),
                Err(error) => Word::Failed(format!("{}: {}", path.display(), cannot_read(&error))),
            };
            (before, is_good) = (now, matches!(word, Word::Answer(_)));
            drop(tell.send(word).await); // without a follower this ends with it
        }
        is_told = tokio::time::timeout(LOOK_EVERY, seat.changed()).await.is_ok();
        if is_told {
            pass(SETTLE).await;
        }
    }
}

/// What tells one state of a file from another without reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp([i64; 4], [u64; 3]);

impl Stamp {
    fn of(path: &Path) -> Option<Self> {
        let file = std::fs::metadata(path).ok()?;
        let times = [file.mtime(), file.mtime_nsec(), file.ctime(), file.ctime_nsec()];
        Some(Self(times, [file.dev(), file.ino(), file.size()]))
    }
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    // Opening a pipe that nobody writes to would wait for ever.
    let file: File = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NONBLOCK)
        .open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("it is no regular file"));
    }
    let most = u64::try_from(FILE_BYTES_MAX).unwrap_or(u64::MAX);
    let mut bytes = Vec::new();
    file.take(most.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() > FILE_BYTES_MAX {
        return Err(io::Error::other(format!(
            "it is larger than {} MiB",
            FILE_BYTES_MAX >> 20
        )));
    }
    Ok(bytes)
}

fn cannot_read(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "no such file".to_owned(),
        io::ErrorKind::PermissionDenied => "may not be read by this user; change its permissions".to_owned(),
        _ => format!("can't be read: {error}"),
    }
}

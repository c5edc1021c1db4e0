//! Samples on disk: JSON lines, a file an hour, named by the hour in UTC. Old files go, by their age and by the sum of their bytes.
//!
//! Written by a thread of its own, behind a bounded queue: a full disk or a slow one costs samples, nothing else. Read once, at a
//! start, so that the last half hour is there again.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::{Span, Timestamp};

use crate::api;
use crate::config;

const PREFIX: &str = "samples-";
const SUFFIX: &str = ".jsonl";
/// Bytes read of one file at a start: half an hour of about 500 backends.
const READ_MAX: u64 = 64 << 20;

/// The files of a directory, as one place to write lines to.
#[derive(Debug)]
pub(super) struct Archive {
    settings: config::History,
    now: fn() -> Timestamp,
    current: Option<Current>,
}

/// The file of this hour.
#[derive(Debug)]
struct Current {
    hour: String,
    file: File,
    /// Of all files.
    bytes: u64,
    /// What was written last ends within a line.
    is_torn: bool,
}

impl Archive {
    /// Opens the directory, which is made where it isn't there.
    ///
    /// # Errors
    /// Nothing can be written there: one line that a person can act on.
    pub(super) fn open(settings: &config::History) -> Result<Self, String> {
        let mut archive = Self {
            settings: settings.clone(),
            now: Timestamp::now,
            current: None,
        };
        let opened = fs::create_dir_all(&settings.directory).and_then(|()| archive.turn(0));
        opened.map_err(|error| {
            format!(
                "history.directory: can't write to {}: {error}; make it lb's, or choose another",
                settings.directory.display()
            )
        })?;
        Ok(archive)
    }

    /// The file of this hour, with room for so many bytes if that can be had: those that are too old, or too many, go.
    fn turn(&mut self, coming: u64) -> io::Result<&mut Current> {
        let hour = hour((self.now)());
        let current = self.current.take().filter(|current| current.hour == hour);
        let mut current = match current {
            Some(current) => current,
            None => self.begin(hour)?,
        };
        if current.bytes.saturating_add(coming) > self.settings.bytes_max {
            current.bytes = self.tidy(&current.hour, coming)?;
        }
        Ok(self.current.insert(current))
    }

    fn begin(&self, hour: String) -> io::Result<Current> {
        let path = self.settings.directory.join(format!("{PREFIX}{hour}{SUFFIX}"));
        let mut file = OpenOptions::new().read(true).append(true).create(true).open(path)?;
        let bytes = self.tidy(&hour, 0)?;
        // A process that was killed may have left half a line.
        let mut last = [b'\n'];
        if file.metadata()?.len() > 0 {
            file.seek(SeekFrom::End(-1))?;
            file.read_exact(&mut last)?;
        }
        Ok(Current {
            hour,
            file,
            bytes,
            is_torn: last != *b"\n",
        })
    }

    /// Removes what is too old, and the oldest of what is too much beside so many bytes that are to come. How many are left.
    fn tidy(&self, current: &str, coming: u64) -> io::Result<u64> {
        let oldest = Span::try_from(self.settings.keep)
            .ok()
            .and_then(|keep| (self.now)().checked_sub(keep).ok())
            .map(hour);
        let mut files = files(&self.settings.directory)?;
        files.sort();
        let mut bytes = files.iter().map(|(_, _, bytes)| bytes).sum::<u64>();
        for (hour, path, length) in files {
            let is_old = oldest.as_ref().is_some_and(|oldest| hour < *oldest);
            if hour != current && (is_old || bytes.saturating_add(coming) > self.settings.bytes_max) {
                match fs::remove_file(&path) {
                    Ok(()) => bytes = bytes.saturating_sub(length),
                    Err(error) => log::warn!("history: {} can't be removed: {error}", path.display()),
                }
            }
        }
        Ok(bytes)
    }
}

impl Write for Archive {
    /// A whole line.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let bytes_max = self.settings.bytes_max;
        let length = u64::try_from(line.len()).unwrap_or(u64::MAX);
        let current = self.turn(length)?;
        if current.bytes.saturating_add(length) > bytes_max {
            return Err(io::Error::new(
                io::ErrorKind::StorageFull,
                "max_size is reached within an hour",
            ));
        }
        if current.is_torn {
            current.file.write_all(b"\n")?;
            current.is_torn = false;
        }
        current.is_torn = true;
        current.file.write_all(line)?;
        current.is_torn = !line.ends_with(b"\n");
        current.bytes = current.bytes.saturating_add(length);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }

    /// What is said of samples isn't one: it goes to the log.
    fn write_fmt(&mut self, words: std::fmt::Arguments<'_>) -> io::Result<()> {
        log::warn!("history: {}", words.to_string().trim_end());
        Ok(())
    }
}

/// The samples of the last `span` in a directory, oldest first. What can't be read isn't there.
pub(super) fn read(directory: &Path, span: Duration) -> Vec<api::Sample> {
    let now = Timestamp::now();
    let first = Span::try_from(span).ok().and_then(|span| now.checked_sub(span).ok());
    let first = first.unwrap_or(now);
    let mut files = files(directory).unwrap_or_default();
    files.retain(|(hour, _, _)| *hour >= self::hour(first));
    files.sort();
    let mut samples = Vec::new();
    for (_, path, length) in files {
        match lines(&path, length) {
            Ok(lines) => samples.extend(lines.filter(|sample| {
                let time: Option<Timestamp> = sample.time.parse().ok();
                time.is_some_and(|time| time >= first && time <= now)
            })),
            Err(error) => log::warn!("history: {} can't be read: {error}", path.display()),
        }
    }
    samples
}

/// The last samples of a file.
fn lines(path: &Path, length: u64) -> io::Result<impl Iterator<Item = api::Sample>> {
    let mut file = File::open(path)?;
    file.seek(SeekFrom::Start(length.saturating_sub(READ_MAX)))?;
    // Half a line, and what a full disk made of one, is none.
    let lines = BufReader::new(file.take(READ_MAX)).split(b'\n').map_while(Result::ok);
    Ok(lines.filter_map(|line| serde_json::from_slice(&line).ok()))
}

/// Hour, path and length of each file.
fn files(directory: &Path) -> io::Result<Vec<(String, PathBuf, u64)>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let name = entry.file_name();
        let hour = name
            .to_str()
            .and_then(|name| name.strip_prefix(PREFIX)?.strip_suffix(SUFFIX));
        if let Some(hour) = hour {
            files.push((hour.to_owned(), entry.path(), entry.metadata()?.len()));
        }
    }
    Ok(files)
}

/// As in a file's name: their order is that of time.
fn hour(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    thread_local! {
        /// Hours since the epoch, for the archive of this test.
        static HOURS: Cell<i64> = const { Cell::new(490_000) };
    }

    fn now() -> Timestamp {
        Timestamp::from_second(HOURS.get() * 3600).unwrap()
    }

    fn archive(directory: &Path, bytes_max: u64) -> Archive {
        let settings = config::History {
            directory: directory.to_owned(),
            keep: Duration::from_hours(3),
            bytes_max,
        };
        Archive {
            now,
            ..Archive::open(&settings).unwrap()
        }
    }

    fn names(directory: &Path) -> Vec<String> {
        let mut names: Vec<String> = files(directory).unwrap().into_iter().map(|(hour, _, _)| hour).collect();
        names.sort();
        names
    }

    fn text(directory: &Path, hour: &str) -> String {
        fs::read_to_string(directory.join(format!("{PREFIX}{hour}{SUFFIX}"))).unwrap()
    }

    /// The file of the moment at which the archive was opened isn't of the test's time.
    fn in_test_time(directory: &Path, bytes_max: u64) -> Archive {
        let archive = archive(directory, bytes_max);
        for (_, path, _) in files(directory).unwrap() {
            if fs::metadata(&path).unwrap().len() == 0 {
                fs::remove_file(path).unwrap();
            }
        }
        archive
    }

    #[test]
    fn each_hour_has_a_file_and_the_old_ones_go() {
        let folder = tempfile::tempdir().unwrap();
        let mut archive = in_test_time(folder.path(), 1 << 20);
        fs::write(folder.path().join("other.txt"), "stays").unwrap();
        for hour in 490_000..490_006 {
            HOURS.set(hour);
            archive.write_all(b"{}\n").unwrap();
            archive.write_all(b"{}\n").unwrap();
        }
        let names = names(folder.path());
        assert_eq!(names.len(), 4, "three hours and this one: {names:?}");
        assert_eq!(names.last(), Some(&hour(now())));
        assert_eq!(text(folder.path(), &hour(now())), "{}\n{}\n");
        assert!(folder.path().join("other.txt").exists());
    }

    #[test]
    fn beyond_the_size_the_oldest_go_and_within_an_hour_samples_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let mut archive = in_test_time(folder.path(), 10);
        archive.write_all(b"123456\n").unwrap();
        HOURS.set(490_001);
        archive.write_all(b"abcdef\n").unwrap();
        assert_eq!(names(folder.path()), [hour(now())], "the older one made room");
        assert!(archive.write_all(b"ghijkl\n").is_err());
        assert_eq!(text(folder.path(), &hour(now())), "abcdef\n");
        HOURS.set(490_002);
        archive.write_all(b"ghijkl\n").unwrap();
        assert_eq!(names(folder.path()), [hour(now())]);
    }

    #[test]
    fn half_a_line_of_a_process_before_costs_that_line_alone() {
        let folder = tempfile::tempdir().unwrap();
        let mut archive = in_test_time(folder.path(), 1 << 20);
        fs::write(
            folder.path().join(format!("{PREFIX}{}{SUFFIX}", hour(now()))),
            "{}\n{\"ti",
        )
        .unwrap();
        archive.write_all(b"{\"a\":1}\n").unwrap();
        assert_eq!(text(folder.path(), &hour(now())), "{}\n{\"ti\n{\"a\":1}\n");
    }

    #[test]
    fn what_can_not_be_opened_is_said() {
        let settings = config::History {
            directory: "/dev/null/x".into(),
            keep: Duration::from_hours(1),
            bytes_max: 1,
        };
        let words = Archive::open(&settings).unwrap_err();
        assert!(
            words.starts_with("history.directory: can't write to /dev/null/x: "),
            "{words}"
        );
    }
}

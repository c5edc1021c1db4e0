//! A file that a run's result goes to: opened before the run, so that a wrong path doesn't cost one.
//!
//! Used by `bin/client.rs`. What the file had stays until there is something to replace it.

use super::failure::LoadError;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::PathBuf;

/// A file that is open, and to be written once.
#[derive(Debug)]
pub struct ResultFile {
    path: PathBuf,
    file: File,
}

impl ResultFile {
    /// Opens the file, makes it where there is none.
    ///
    /// # Errors
    /// When it can't be written to; the error names it.
    pub fn open(path: PathBuf) -> Result<Self, LoadError> {
        let opened = OpenOptions::new().write(true).create(true).truncate(false).open(&path);
        match opened {
            Ok(file) => Ok(Self { path, file }),
            Err(error) => Err(LoadError::File { path, error }),
        }
    }

    /// Puts `text` in the place of what the file has.
    ///
    /// # Errors
    /// When that fails; the error names the file.
    pub fn write(self, text: &str) -> Result<(), LoadError> {
        let Self { path, mut file } = self;
        replace(&mut file, text).map_err(|error| LoadError::File { path, error })
    }
}

fn replace(file: &mut File, text: &str) -> io::Result<()> {
    // A terminal or a pipe has no length.
    if file.metadata()?.is_file() {
        file.set_len(0)?;
    }
    file.write_all(text.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn what_the_file_had_stays_until_there_is_a_result() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("result");
        fs::write(&path, "a longer one of the day before").unwrap();
        let file = ResultFile::open(path.clone()).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "a longer one of the day before");
        file.write("new").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "new");
    }

    #[test]
    fn a_file_that_can_not_be_written_is_named() {
        let error = ResultFile::open("/no/such/folder/result".into())
            .unwrap_err()
            .to_string();
        assert!(error.starts_with("cannot write /no/such/folder/result: "), "{error}");
    }
}

//! Folders for configurations, logs and reports: gone when dropped, and when the benchmark is interrupted.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use super::Failure;

/// The folders that exist, for when the whole is interrupted.
static OPEN: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

/// Removes every folder that still exists.
pub(crate) fn remove_all() {
    for path in OPEN.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
        // There is nobody left to tell.
        fs::remove_dir_all(path).ok();
    }
}

/// An empty folder of its own.
#[derive(Debug)]
pub(crate) struct Folder(tempfile::TempDir);

impl Folder {
    pub(crate) fn open() -> Result<Self, Failure> {
        let folder = Self(tempfile::tempdir()?);
        OPEN.lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(folder.path().to_owned());
        Ok(folder)
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        OPEN.lock()
            .unwrap_or_else(PoisonError::into_inner)
            .retain(|path| path != self.0.path());
    }
}

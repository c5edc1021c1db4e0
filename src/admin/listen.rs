//! Where the admin port is: opened before anything runs, so that a start that can't work says so.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use crate::config::AdminListen;
use crate::sys;

/// The file of a socket, known again by its inode: by the time that we end, the path may be another's.
#[derive(Clone, Debug)]
pub(super) struct SocketFile {
    path: PathBuf,
    inode: (u64, u64),
}

impl SocketFile {
    pub(super) fn of(path: &Path) -> io::Result<Self> {
        let metadata = std::fs::symlink_metadata(path)?;
        Ok(Self {
            path: path.to_owned(),
            inode: (metadata.dev(), metadata.ino()),
        })
    }

    fn remove(&self) {
        let now = Self::of(&self.path).map(|file| file.inode);
        let removed = match now {
            Ok(inode) if inode == self.inode => std::fs::remove_file(&self.path),
            Ok(_) => Ok(()),
            Err(error) => Err(error),
        };
        if let Err(error) = removed {
            log::debug!("admin: {}: {error}", self.path.display());
        }
    }
}

/// An open listener, non-blocking.
#[derive(Debug)]
pub(super) enum Door {
    /// On an address.
    Tcp(TcpListener),
    /// On a socket in the file system.
    Unix(UnixListener, SocketFile),
}

impl std::fmt::Display for Door {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Tcp(_) => out.write_str("a TCP port"),
            Self::Unix(_, file) => write!(out, "unix:{}", file.path.display()),
        }
    }
}

impl Door {
    /// Opens it; `None`: it is off.
    ///
    /// # Errors
    /// Why not, in one line.
    pub(super) fn open(listen: &AdminListen) -> Result<Option<Self>, String> {
        let opened = match listen {
            AdminListen::Off => return Ok(None),
            AdminListen::Tcp(address) => sys::listen(*address).map(Self::Tcp),
            AdminListen::Unix(path) => sys::listen_unix(path).and_then(|listener| {
                let file = SocketFile::of(path)?;
                Ok(Self::Unix(listener, file))
            }),
        };
        opened.map(Some).map_err(|error| {
            let hint = match error.kind() {
                io::ErrorKind::AddrInUse => "another program has it; stop it, or choose another",
                io::ErrorKind::AddrNotAvailable => "this machine has no such address; choose another",
                io::ErrorKind::PermissionDenied => "this user may not; choose another",
                _ => "choose another",
            };
            format!("admin.listen: can't listen on {listen}: {error}; {hint} [admin] listen, or \"off\"")
        })
    }

    /// Another handle on the same listener.
    pub(super) fn try_clone(&self) -> io::Result<Self> {
        Ok(match self {
            Self::Tcp(listener) => Self::Tcp(listener.try_clone()?),
            Self::Unix(listener, file) => Self::Unix(listener.try_clone()?, file.clone()),
        })
    }

    /// Its address; none of a socket in the file system.
    pub(super) fn address(&self) -> io::Result<Option<SocketAddr>> {
        match self {
            Self::Tcp(listener) => listener.local_addr().map(Some),
            Self::Unix(..) => Ok(None),
        }
    }

    /// Leaves no file behind.
    pub(super) fn close(self) {
        if let Self::Unix(_, file) = self {
            file.remove();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_its_own_file_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("admin.sock");
        let open = || Door::open(&AdminListen::Unix(path.clone())).unwrap().unwrap();
        open().close();
        assert!(!path.exists());
        let first = open();
        std::fs::remove_file(&path).unwrap();
        let second = open();
        first.close();
        assert!(path.exists(), "it is another's by now");
        second.close();
        assert!(!path.exists());
    }
}

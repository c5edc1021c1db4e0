//! Where the admin port is: opened before anything runs, so that a start that can't work says so.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use crate::config::AdminListen;
use crate::control::Inherited;
use crate::sys;

/// Under which a new lb finds the listener again.
pub(super) const NAME: &str = "admin";

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

/// A listener that lb was started with.
#[derive(Debug)]
pub(super) enum Given {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Given {
    /// The one for this `[admin] listen`: an old lb's, or one that was opened for its address.
    pub(super) fn take(listen: &AdminListen, inherited: &mut Inherited) -> Option<Self> {
        let of_old = inherited
            .luggage(NAME)
            .filter(|luggage| luggage.state == listen.to_string());
        let socket = of_old.and_then(|mut luggage| luggage.descriptors.pop());
        let adopted = |error: io::Error| log::warn!("admin: the socket of the lb before this one: {error}");
        match (listen, socket) {
            (AdminListen::Off, _) => None,
            (AdminListen::Tcp(_), Some(socket)) => sys::adopt_listener(socket)
                .map_err(adopted)
                .ok()
                .flatten()
                .map(Self::Tcp),
            (AdminListen::Unix(_), Some(socket)) => sys::adopt_unix_listener(socket)
                .map_err(adopted)
                .ok()
                .flatten()
                .map(Self::Unix),
            (AdminListen::Tcp(address), None) => inherited.tcp(*address).map(Self::Tcp),
            (AdminListen::Unix(path), None) => inherited.unix(path).map(Self::Unix),
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
    /// Opens it, if it isn't open already; `None`: it is off.
    ///
    /// # Errors
    /// Why not, in one line.
    pub(super) fn open(listen: &AdminListen, given: Option<Given>) -> Result<Option<Self>, String> {
        let opened = match (listen, given) {
            (AdminListen::Off, _) => return Ok(None),
            (AdminListen::Tcp(_), Some(Given::Tcp(listener))) => Ok(Self::Tcp(listener)),
            (AdminListen::Tcp(address), _) => sys::listen(*address).map(Self::Tcp),
            (AdminListen::Unix(path), given) => {
                let listener = match given {
                    Some(Given::Unix(listener)) => Ok(listener),
                    _ => sys::listen_unix(path),
                };
                listener.and_then(|listener| Ok(Self::Unix(listener, SocketFile::of(path)?)))
            }
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

    /// A handle on it for a new lb.
    pub(super) fn descriptor(&self) -> io::Result<OwnedFd> {
        Ok(match self.try_clone()? {
            Self::Tcp(listener) => listener.into(),
            Self::Unix(listener, _) => listener.into(),
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
        let open = || Door::open(&AdminListen::Unix(path.clone()), None).unwrap().unwrap();
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

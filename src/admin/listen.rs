//! Where the admin port is: opened before anything runs, so that a start that can't work says so.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::config::{ADMIN_BACKLOG, AdminListen};
use crate::control::{Inherited, Luggage};
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
pub(super) struct Given {
    door: Door,
    /// An old lb takes connections at it until this one is ready.
    pub(super) is_shared: bool,
}

impl Given {
    /// The one for this `[admin] listen`: an old lb's, or one that was opened for its address.
    pub(super) fn take(listen: &AdminListen, inherited: &mut Inherited) -> Option<Self> {
        if let Some(luggage) = inherited.luggage(NAME) {
            let adopted = Self::adopt(listen, luggage);
            return adopted.unwrap_or_else(|error| {
                log::warn!("admin: the socket of the lb before this one: {error}");
                None
            });
        }
        let door = match listen {
            AdminListen::Off => None,
            AdminListen::Tcp(address) => inherited.tcp(*address).map(Door::Tcp),
            // Its file belongs to whoever opened it.
            AdminListen::Unix(path) => inherited.unix(path).map(|listener| Door::Unix(listener, None)),
        };
        door.map(|door| Self { door, is_shared: false })
    }

    /// An old lb's, if it listens where this one is to.
    fn adopt(listen: &AdminListen, mut luggage: Luggage) -> io::Result<Option<Self>> {
        let moved: Moved = serde_json::from_value(luggage.state)?;
        let socket = luggage.descriptors.pop().filter(|_| moved.listen == listen.to_string());
        let door = socket
            .map(|socket| Door::adopted(listen, socket, moved.has_file))
            .transpose()?;
        Ok(door.flatten().map(|door| Self { door, is_shared: true }))
    }
}

/// What a new lb is told of the listener.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Moved {
    /// Where it is, as lb.toml says it.
    pub(super) listen: String,
    /// Whether its file is lb's to remove.
    pub(super) has_file: bool,
}

/// An open listener, non-blocking.
#[derive(Debug)]
pub(super) enum Door {
    /// On an address.
    Tcp(TcpListener),
    /// On a socket in the file system, with its file if that is ours to remove.
    Unix(UnixListener, Option<SocketFile>),
}

impl std::fmt::Display for Door {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Tcp(_) => out.write_str("a TCP port"),
            Self::Unix(..) => out.write_str("a socket"),
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
            (_, Some(given)) => return Ok(Some(given.door)),
            (AdminListen::Tcp(address), None) => sys::listen(*address, ADMIN_BACKLOG).map(Self::Tcp),
            (AdminListen::Unix(path), None) => {
                sys::listen_unix(path).and_then(|listener| Ok(Self::Unix(listener, Some(SocketFile::of(path)?))))
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

    /// A listener of the lb before this one; `None`: it is no such listener.
    fn adopted(listen: &AdminListen, socket: OwnedFd, has_file: bool) -> io::Result<Option<Self>> {
        Ok(match listen {
            AdminListen::Off => None,
            AdminListen::Tcp(_) => sys::adopt_listener(socket)?.map(Self::Tcp),
            AdminListen::Unix(path) => {
                let file = has_file.then(|| SocketFile::of(path)).transpose()?;
                sys::adopt_unix_listener(socket)?.map(|listener| Self::Unix(listener, file))
            }
        })
    }

    /// Whether a file is to be removed with it.
    pub(super) const fn has_file(&self) -> bool {
        matches!(self, Self::Unix(_, Some(_)))
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
        if let Self::Unix(_, Some(file)) = self {
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

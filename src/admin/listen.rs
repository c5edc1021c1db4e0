//! Where the admin port is: opened before anything runs, so that a start that can't work says so.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;

use crate::config::AdminListen;
use crate::sys;

/// An open listener, non-blocking.
#[derive(Debug)]
pub(super) enum Door {
    /// On an address.
    Tcp(TcpListener),
    /// On a socket in the file system.
    Unix(UnixListener, PathBuf),
}

impl std::fmt::Display for Door {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Tcp(_) => out.write_str("a TCP port"),
            Self::Unix(_, path) => write!(out, "unix:{}", path.display()),
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
            AdminListen::Unix(path) => sys::listen_unix(path).map(|listener| Self::Unix(listener, path.clone())),
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
            Self::Unix(listener, path) => Self::Unix(listener.try_clone()?, path.clone()),
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
        if let Self::Unix(_, path) = self
            && let Err(error) = std::fs::remove_file(&path)
        {
            log::debug!("admin: {}: {error}", path.display());
        }
    }
}

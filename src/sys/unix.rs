//! A listener in the file system, for its owner alone.

use std::io;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

use socket2::{Domain, SockAddr, Socket, Type};

/// Connections that may wait.
const BACKLOG: i32 = 128;

/// Opens a listener at `path`, mode 0600. A socket that a dead process has left there is replaced; anything else is not.
///
/// # Errors
/// `EADDRINUSE` (somebody listens there, or it is no socket), `EACCES`, `ENOENT` (no such folder).
pub fn listen_unix(path: &Path) -> io::Result<UnixListener> {
    if let Ok(metadata) = std::fs::symlink_metadata(path) {
        if !metadata.file_type().is_socket() || UnixStream::connect(path).is_ok() {
            return Err(io::ErrorKind::AddrInUse.into());
        }
        std::fs::remove_file(path)?;
    }
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    socket.bind(&SockAddr::unix(path)?)?;
    // Before it listens: until then nobody can connect, whatever the umask left open.
    std::fs::set_permissions(path, PermissionsExt::from_mode(0o600))?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dead_socket_is_replaced_and_a_living_one_and_a_file_are_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("admin.sock");
        let first = listen_unix(&path).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(listen_unix(&path).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        drop(first);
        let second = listen_unix(&path).unwrap();
        assert!(UnixStream::connect(&path).is_ok());
        drop(second);
        let file = folder.path().join("file");
        std::fs::write(&file, "kept").unwrap();
        assert_eq!(listen_unix(&file).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "kept");
    }
}

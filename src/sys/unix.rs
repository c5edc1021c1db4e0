//! A listener in the file system, for its owner alone.

use std::io;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::Path;

use socket2::{Domain, SockAddr, Socket, Type};

/// Connections that may wait.
const BACKLOG: i32 = 128;

/// Opens a listener at `path`, mode 0600. A socket that a dead process has left there is replaced; anything else is not.
///
/// # Errors
/// `EADDRINUSE` (somebody listens there, or it is no socket), `EPROTOTYPE` (a socket of another kind), `EACCES`, `ENOENT` (no such
/// folder).
pub fn listen_unix(path: &Path) -> io::Result<UnixListener> {
    if let Ok(metadata) = std::fs::symlink_metadata(path) {
        if !metadata.file_type().is_socket() {
            return Err(io::ErrorKind::AddrInUse.into());
        }
        remove_if_dead(path)?;
    }
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    socket.bind(&SockAddr::unix(path)?)?;
    // Before it listens: until then nobody can connect, whatever the umask left open.
    std::fs::set_permissions(path, PermissionsExt::from_mode(0o600))?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Removes the socket at `path` if nobody listens on it, which nothing but a refusal says (unix(7)).
fn remove_if_dead(path: &Path) -> io::Result<()> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    // A process that hangs takes no more after a while: EAGAIN, for which a blocking connect would wait.
    socket.set_nonblocking(true)?;
    match socket.connect(&SockAddr::unix(path)?) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => std::fs::remove_file(path),
        Ok(()) => Err(io::ErrorKind::AddrInUse.into()),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Err(io::ErrorKind::AddrInUse.into()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixStream;

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

    #[test]
    fn a_socket_that_nobody_refuses_for_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("datagrams.sock");
        let _datagrams = std::os::unix::net::UnixDatagram::bind(&path).unwrap();
        assert!(listen_unix(&path).is_err());
        assert!(path.exists(), "somebody uses it");
    }

    #[test]
    fn a_listener_that_has_no_room_left_is_alive() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("admin.sock");
        let hung = Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
        hung.bind(&SockAddr::unix(&path).unwrap()).unwrap();
        hung.listen(0).unwrap();
        let mut waiting = Vec::new();
        loop {
            let socket = Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
            socket.set_nonblocking(true).unwrap();
            if socket.connect(&SockAddr::unix(&path).unwrap()).is_err() {
                break;
            }
            waiting.push(socket);
        }
        let (send, receive) = std::sync::mpsc::channel();
        std::thread::spawn(move || send.send(listen_unix(&path).map_err(|error| error.kind())));
        let outcome = receive.recv_timeout(std::time::Duration::from_secs(10)).unwrap();
        assert_eq!(outcome.unwrap_err(), io::ErrorKind::AddrInUse);
    }
}

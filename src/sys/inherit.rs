//! Sockets that a process starts with: systemd's convention (sd_listen_fds(3)). Taken once, and given to a successor in the same way.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::process::{Child, Command};

use command_fds::{CommandFdExt, FdMapping};
use listenfd::ListenFd;
use rustix::net::sockopt;

use super::listen::set_inheritable;

/// The first descriptor of those that are handed over (`SD_LISTEN_FDS_START`).
const FIRST: i32 = 3;
/// What a descriptor is called whose name nobody said (sd_listen_fds(3)).
const NAMELESS: &str = "unknown";
/// At most so many are looked at: all listeners and replicas that a configuration may have, and some more.
const COUNT_MAX: usize = 16_384;

/// A socket that this process was started with: of TCP, or of streams or packets within the machine.
#[derive(Debug)]
pub struct InheritedSocket {
    /// What whoever started it calls it.
    pub name: String,
    /// The socket, close-on-exec.
    pub socket: OwnedFd,
}

impl InheritedSocket {
    /// Its own address; none of a socket that isn't TCP's.
    #[must_use]
    pub fn address(&self) -> Option<SocketAddr> {
        let address = rustix::net::getsockname(&self.socket).ok()?;
        SocketAddr::try_from(address).ok()
    }
}

/// The sockets that this process was started with, each once: to be called first of all, since it also removes the variable that
/// says how many they are. What is no socket of a kind that lb knows is left alone, and said in words: nobody logs yet.
#[must_use]
pub fn inherited_sockets() -> Vec<Result<InheritedSocket, String>> {
    let names = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
    let mut names = names.split(':');
    let mut found = ListenFd::from_env();
    let mut sockets = Vec::new();
    for place in 0..found.len().min(COUNT_MAX) {
        let name = names.next().filter(|name| !name.is_empty()).unwrap_or(NAMELESS);
        // One of them fits, whether it listens or not.
        let tcp = found.take_tcp_listener(place).map(|taken| taken.map(OwnedFd::from));
        let taken = tcp
            .or_else(|_| found.take_unix_listener(place).map(|taken| taken.map(OwnedFd::from)))
            .or_else(|_| found.take_custom(place, libc::AF_UNIX, libc::SOCK_SEQPACKET, "socket of packets"));
        match taken {
            Ok(Some(socket)) => sockets.push(Ok(InheritedSocket {
                name: name.to_owned(),
                socket,
            })),
            Ok(None) => {}
            Err(error) => sockets.push(Err(format!(
                "the descriptor {name} that lb was started with is of no use: {error}"
            ))),
        }
    }
    sockets
}

/// A listener that somebody else opened, made to behave as one of [`listen`](super::listen()). `None`: it doesn't listen.
///
/// # Errors
/// It is no socket of ours to change.
pub fn adopt_listener(socket: OwnedFd) -> io::Result<Option<TcpListener>> {
    if !sockopt::socket_acceptconn(&socket)? {
        return Ok(None);
    }
    set_inheritable((&socket).into());
    rustix::io::ioctl_fionbio(&socket, true)?;
    Ok(Some(socket.into()))
}

/// The same of a listener in the file system.
///
/// # Errors
/// As with [`adopt_listener`].
pub fn adopt_unix_listener(socket: OwnedFd) -> io::Result<Option<UnixListener>> {
    if !sockopt::socket_acceptconn(&socket)? {
        return Ok(None);
    }
    rustix::io::ioctl_fionbio(&socket, true)?;
    Ok(Some(socket.into()))
}

/// Starts a program with these descriptors, in this order. It inherits no other but the standard streams.
///
/// The variable `LISTEN_PID` isn't set: only the child knows its number. Without it the descriptors are for whoever reads them first.
///
/// # Errors
/// The program can't be started.
pub fn spawn_with(mut command: Command, sockets: Vec<InheritedSocket>) -> io::Result<Child> {
    let names: Vec<&str> = sockets.iter().map(|socket| socket.name.as_str()).collect();
    command
        .env("LISTEN_FDS", sockets.len().to_string())
        .env("LISTEN_FDNAMES", names.join(":"))
        .env_remove("LISTEN_PID")
        .env_remove("LISTEN_FDS_FIRST_FD");
    let mappings = sockets.into_iter().zip(FIRST..).map(|(socket, child_fd)| FdMapping {
        parent_fd: socket.socket,
        child_fd,
    });
    // Each number stands once.
    command.fd_mappings(mappings.collect()).map_err(io::Error::other)?;
    command.spawn()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_of_somebody_else_is_adopted_and_what_does_not_listen_is_not() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let client = std::net::TcpStream::connect(address).unwrap();
        let adopted = adopt_listener(listener.into()).unwrap().unwrap();
        assert_eq!(adopted.local_addr().unwrap(), address);
        let (_waiting, peer) = adopted.accept().unwrap();
        assert_eq!(peer, client.local_addr().unwrap());
        assert_eq!(adopted.accept().unwrap_err().kind(), io::ErrorKind::WouldBlock);
        assert!(adopt_listener(client.into()).unwrap().is_none());
        assert!(adopt_listener(std::fs::File::open("/dev/null").unwrap().into()).is_err());
    }

    #[test]
    fn a_program_finds_what_it_was_given_where_it_looks_for_it() {
        let one = || OwnedFd::from(TcpListener::bind("127.0.0.1:0").unwrap());
        let given = |name: &str| InheritedSocket {
            name: name.to_owned(),
            socket: one(),
        };
        let mut command = Command::new("sh");
        command
            .args([
                "-c",
                "echo $LISTEN_FDS $LISTEN_FDNAMES $LISTEN_PID; ls -l /proc/self/fd/3 /proc/self/fd/4 | grep -c socket",
            ])
            .env("LISTEN_PID", "1")
            .stdout(std::process::Stdio::piped());
        let child = spawn_with(command, vec![given("a"), given("b")]).unwrap();
        let output = child.wait_with_output().unwrap();
        assert_eq!(String::from_utf8(output.stdout).unwrap(), "2 a:b\n2\n");
    }
}

//! `GET`, as the side port of a `tcp_server` understands it, from any address of this machine.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use socket2::{Domain, SockAddr, Socket, Type};

use crate::common::Failure;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// The body of the answer to `GET path`, asked from the address `from`.
pub(crate) fn get(from: Ipv4Addr, to: SocketAddr, path: &str) -> Result<String, Failure> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.bind(&SockAddr::from(SocketAddr::from((from, 0))))?;
    socket.connect_timeout(&SockAddr::from(to), PATIENCE)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    let mut stream = TcpStream::from(socket);
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {to}\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    match answer.split_once("\r\n\r\n") {
        Some((head, body)) if head.starts_with("HTTP/1.1 200 ") => Ok(body.to_owned()),
        _ => Err(format!("GET {path} from {to}: {answer:?} instead of a page").into()),
    }
}

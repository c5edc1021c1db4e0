//! Pipes and splice(2): moving bytes between sockets without copying them through this process.
//!
//! `EAGAIN` from a splice into a pipe doesn't say whether the socket is empty or the pipe is full: with many small segments
//! a pipe is full long before its bytes are (each takes a slot). The caller decides by whether the pipe holds anything.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rustix::pipe::{PipeFlags, SpliceFlags, fcntl_setpipe_size, pipe_with, splice};

/// A pipe, both ends ours and non-blocking; two file descriptors.
#[derive(Debug)]
pub struct Pipe {
    read: OwnedFd,
    write: OwnedFd,
    capacity: usize,
}

impl Pipe {
    /// What the kernel gives without asking.
    const DEFAULT_BYTES: usize = 65_536;

    /// Opens a pipe of `wanted_bytes`, or of what the system allows (`/proc/sys/fs/pipe-max-size`, `pipe-user-pages-soft`).
    ///
    /// # Errors
    /// `EMFILE`, `ENFILE`: no descriptor left; the caller copies instead.
    pub fn open(wanted_bytes: usize) -> io::Result<Self> {
        let (read, write) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
        // A refused size (EPERM beyond the user's pages) leaves the pipe as it is, which works as well.
        let capacity = fcntl_setpipe_size(&write, wanted_bytes).unwrap_or(Self::DEFAULT_BYTES);
        Ok(Self { read, write, capacity })
    }
}

/// From a socket into a pipe, as much as there is and as fits. 0 = the peer's FIN.
///
/// # Errors
/// `EAGAIN`: socket empty or pipe full; `EINVAL`: this kind of file can't splice; else as recv(2).
pub fn splice_in(socket: impl AsFd, pipe: &Pipe) -> io::Result<usize> {
    Ok(splice(
        socket,
        None,
        &pipe.write,
        None,
        pipe.capacity,
        SpliceFlags::MOVE | SpliceFlags::NONBLOCK,
    )?)
}

/// From a pipe into a socket, up to `bytes`.
///
/// # Errors
/// `EAGAIN`: the socket takes no more; else as send(2).
pub fn splice_out(pipe: &Pipe, socket: impl AsFd, bytes: usize) -> io::Result<usize> {
    Ok(splice(
        &pipe.read,
        None,
        socket,
        None,
        bytes,
        SpliceFlags::MOVE | SpliceFlags::NONBLOCK,
    )?)
}

//! The keeper: a small process between lb and one replica, which ends the replica and everything it started as soon as lb is gone,
//! however lb ended.
//!
//! lb starts itself again as `lb keep-replica` with one end of a socket pair as standard input ([`run()`]); `elastic::managed` holds the
//! other end. Who holds that end owns the replica: when its last copy is closed, the replica is stopped. So an upgraded lb that is
//! handed the sockets has the replicas too, and a killed one leaves none behind. If the keeper itself is killed, the kernel kills the
//! replica ([`bind_to_caller`](crate::sys::bind_to_caller)), and lb its relatives.
//!
//! One keeper keeps one process once; whoever wants another starts another keeper. One message is one packet of JSON (`SOCK_SEQPACKET`,
//! unix(7)); unknown fields are ignored, since after an upgrade the two ends may be of different versions.
//!
//! May not: start a thread, write a log, hold anything but the socket, two pipes and a pipe for signals; wait for a lb that doesn't read.

mod family;
mod lines;
mod run;
mod start;

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socketpair};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

pub use family::{kill_session, session_of};
pub use run::run;

/// Bytes of the longest message: a command and an environment of 32 KiB each, with room for escapes.
const MESSAGE_BYTES_MAX: usize = 192 << 10;

/// What is asked of a keeper.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// The first: what to start.
    Start(Start),
    /// SIGTERM for the replica's process group, and after so long SIGKILL for all that is left.
    Stop {
        /// Milliseconds between the two.
        grace_ms: u64,
    },
}

/// What to start.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Start {
    /// The program and its arguments.
    pub command: Vec<String>,
    /// Set beside what is inherited.
    pub env: Vec<(String, String)>,
    /// `None` = that of lb.
    pub working_directory: Option<std::path::PathBuf>,
    /// A name or a number; `None` = that of lb.
    pub user: Option<String>,
}

/// What a keeper tells.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Report {
    /// It runs.
    Started {
        /// Its process id, which is that of its session and process group too.
        pid: u32,
    },
    /// It can't be started.
    Failed {
        /// Why.
        message: String,
    },
    /// It wrote a line.
    Line {
        /// Without its end; control characters made visible.
        text: String,
    },
    /// It wrote lines faster than they could be told.
    Lost {
        /// So many.
        lines: u64,
    },
    /// It ended; what it started is ended too when the keeper goes.
    Exited {
        /// Its exit code, if it had one.
        code: Option<i32>,
        /// The signal that ended it, if one did.
        signal: Option<i32>,
    },
}

/// The two ends of a conversation.
///
/// # Errors
/// No descriptor is left.
pub fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    let ends = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
    Ok(ends)
}

/// Sends a message without waiting.
///
/// # Errors
/// `WouldBlock`: the other end doesn't read; `EPIPE`, `ECONNRESET`: it is closed.
pub fn say<T: Serialize>(socket: impl AsFd, message: &T) -> io::Result<()> {
    let text = serde_json::to_vec(message)?;
    send(socket, &text, SendFlags::DONTWAIT | SendFlags::NOSIGNAL)?;
    Ok(())
}

/// What there is to be heard.
#[derive(Debug)]
pub enum Heard<T> {
    /// A message.
    Message(T),
    /// None now.
    Nothing,
    /// None any more: the other end is closed.
    End,
}

/// Receives a message without waiting.
///
/// # Errors
/// It is none that is known.
pub fn hear<T: DeserializeOwned>(socket: impl AsFd, buffer: &mut Vec<u8>) -> io::Result<Heard<T>> {
    buffer.resize(MESSAGE_BYTES_MAX, 0);
    match recv(socket, &mut **buffer, RecvFlags::DONTWAIT) {
        Ok((0, _)) | Err(Errno::CONNRESET | Errno::PIPE) => Ok(Heard::End),
        Ok((length, _)) => {
            let message = serde_json::from_slice(buffer.get(..length).unwrap_or(buffer))?;
            Ok(Heard::Message(message))
        }
        Err(Errno::AGAIN | Errno::INTR) => Ok(Heard::Nothing),
        Err(errno) => Err(errno.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_is_heard_whole_and_then_the_end() {
        let (ours, theirs) = pair().unwrap();
        let mut buffer = Vec::new();
        assert!(matches!(hear::<Order>(&theirs, &mut buffer), Ok(Heard::Nothing)));
        let order = Order::Start(Start {
            command: vec!["\u{1}".repeat(20_000)],
            env: vec![("A".to_owned(), "é".to_owned())],
            working_directory: None,
            user: None,
        });
        say(&ours, &order).unwrap();
        say(&ours, &Order::Stop { grace_ms: 5 }).unwrap();
        assert!(matches!(hear(&theirs, &mut buffer), Ok(Heard::Message(heard)) if order == heard));
        drop(ours);
        let stop = Order::Stop { grace_ms: 5 };
        assert!(matches!(hear(&theirs, &mut buffer), Ok(Heard::Message(heard)) if stop == heard));
        assert!(matches!(hear::<Order>(&theirs, &mut buffer), Ok(Heard::End)));
        assert!(say(&theirs, &stop).is_err());
    }
}

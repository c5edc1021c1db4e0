//! epoll(7), edge-triggered: a socket is registered once, for its life, and leaves by being closed.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};

use crate::types::Readiness;

/// How many events one wake may bring.
const EVENTS_MAX: usize = 512;

/// One thing that happened.
#[derive(Clone, Copy, Debug)]
pub struct Event {
    /// What the file was registered with.
    pub token: u64,
    /// What the kernel said.
    pub ready: Readiness,
}

/// An epoll set and what the last wait brought. Belongs to one thread.
#[derive(Debug)]
pub struct Poller {
    epoll: OwnedFd,
    events: Vec<Event>,
}

impl Poller {
    /// Opens an empty set.
    ///
    /// # Errors
    /// `EMFILE`, `ENFILE`, `ENOMEM`.
    pub fn open() -> io::Result<Self> {
        Ok(Self {
            epoll: epoll::create(CreateFlags::CLOEXEC)?,
            events: Vec::with_capacity(EVENTS_MAX),
        })
    }

    /// Registers a socket for both ways, edge-triggered. The first wait tells what it is ready for already.
    ///
    /// # Errors
    /// `ENOSPC` (the user's epoll watches are used up), `ENOMEM`.
    pub fn add(&self, source: impl AsFd, token: u64) -> io::Result<()> {
        let interest = EventFlags::IN | EventFlags::PRI | EventFlags::OUT | EventFlags::RDHUP | EventFlags::ET;
        Ok(epoll::add(&self.epoll, source, EventData::new_u64(token), interest)?)
    }

    /// Registers a file for reading only; `level` asks for an event at every wait while there is something.
    ///
    /// # Errors
    /// As [`Poller::add`].
    pub fn add_readable(&self, source: impl AsFd, token: u64, level: bool) -> io::Result<()> {
        let interest = if level {
            EventFlags::IN
        } else {
            EventFlags::IN | EventFlags::ET
        };
        Ok(epoll::add(&self.epoll, source, EventData::new_u64(token), interest)?)
    }

    /// Takes a file out of the set without closing it.
    ///
    /// # Errors
    /// `ENOENT`: it is not in the set.
    pub fn remove(&self, source: impl AsFd) -> io::Result<()> {
        Ok(epoll::delete(&self.epoll, source)?)
    }

    /// Waits for events; `None` waits without end, a part of a millisecond is rounded up. Interrupted = no event.
    ///
    /// # Errors
    /// `EBADF`, `EINVAL`: a fault of ours.
    pub fn wait(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        self.events.clear();
        let timeout = timeout.map(|span| Timespec {
            tv_sec: i64::try_from(span.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: i64::from(span.subsec_nanos()),
        });
        let mut buffer = [const { MaybeUninit::uninit() }; EVENTS_MAX];
        match epoll::wait(&self.epoll, &mut buffer, timeout.as_ref()) {
            Ok((events, _)) => {
                self.events.extend(events.iter().map(|event| translate(*event)));
                Ok(())
            }
            Err(rustix::io::Errno::INTR) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }

    /// How many events the last wait brought.
    #[must_use]
    pub fn count(&self) -> usize {
        self.events.len()
    }

    /// The event of that number of the last wait.
    #[must_use]
    pub fn event(&self, number: usize) -> Option<Event> {
        self.events.get(number).copied()
    }
}

fn translate(event: epoll::Event) -> Event {
    let flags = event.flags;
    // HUP alone is no fault: it is there as soon as both FINs are. It says "look", and reading tells which it was.
    let hung_up = flags.intersects(EventFlags::ERR | EventFlags::HUP);
    Event {
        token: event.data.u64(),
        ready: Readiness {
            readable: hung_up || flags.intersects(EventFlags::IN | EventFlags::RDHUP),
            writable: hung_up || flags.contains(EventFlags::OUT),
            read_closed: hung_up || flags.contains(EventFlags::RDHUP),
            urgent: flags.contains(EventFlags::PRI),
            broken: flags.contains(EventFlags::ERR),
        },
    }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use rustix::net::SendFlags;

    use super::*;

    #[test]
    fn urgent_data_is_told() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let peer = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (socket, _) = listener.accept().unwrap();
        let mut poller = Poller::open().unwrap();
        poller.add(&socket, 7).unwrap();
        assert_eq!(rustix::net::send(&peer, b"u", SendFlags::OOB).unwrap(), 1);
        // The first wait may tell of room to write alone.
        let is_told = (0..10).any(|_| {
            poller.wait(Some(Duration::from_secs(5))).unwrap();
            (0..poller.count()).any(|number| poller.event(number).unwrap().ready.urgent)
        });
        assert!(is_told);
    }
}

//! What lb was started with: sockets that systemd opened (sd_listen_fds(3)), or all that an old lb hands over at an upgrade.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::time::{Duration, Instant};

use super::companion::Luggage;
use super::handover::HandOver;
use super::sandbox::Sandbox;
use super::sockets::Sockets;
use super::start::StartError;
use crate::config::{self, AdminListen, Config};
use crate::sys::{self, InheritedSocket};

/// What the stream to the old lb is called.
pub(super) const PREDECESSOR: &str = "lb-predecessor";
/// And a listening socket of a service.
pub(super) const LISTENER: &str = "lb-listener";
/// And what belongs to a room: this, and its name.
pub(super) const ROOM: &str = "lb-room-";
/// The room that has a port of its own.
const ADMIN: &str = "admin";
/// What the new lb says when it serves.
pub(super) const READY: &[u8] = b"ready\n";
/// What it says when it is told to stop: it doesn't fail.
pub(super) const STOPPING: &[u8] = b"stopping\n";

/// And at most so many bytes: a hundred thousand backends and a million clients have a tenth of that.
const TOLD_BYTES_MAX: u64 = 1 << 30;
/// The old lb has so long to say everything.
const TELLING_MAX: Duration = Duration::from_secs(5);

/// All of it, until whoever it belongs to takes it.
#[derive(Debug, Default)]
pub struct Inherited {
    pub(super) sockets: Sockets,
    pub(super) handed: HandOver,
    pub(super) predecessor: Option<Predecessor>,
    descriptors: HashMap<String, Vec<OwnedFd>>,
    tcp: Vec<(SocketAddr, TcpListener)>,
    unix: Vec<UnixListener>,
    /// What is of no use, in words.
    useless: Vec<String>,
    /// Which sockets were opened and closed beside those that were handed over, in words.
    exchanged: Vec<String>,
    /// The sockets of the services, once they are open.
    opened: Option<Sockets>,
    /// What lb shut itself in with.
    pub(super) sandbox: Sandbox,
}

/// The lb that this one follows.
#[derive(Debug)]
pub(super) struct Predecessor(UnixStream);

impl Predecessor {
    /// Tells it something. It may be gone: then nobody needs to know.
    pub(super) fn tell(&self, word: &[u8]) {
        if let Err(error) = (&self.0).write_all(word) {
            log::debug!("the lb before this one can't be told: {error}");
        }
    }

    /// Waits until it has ended, but no longer than that. Whether it has.
    pub(super) fn wait_for_end(&self, most: Duration) -> bool {
        let until = Instant::now().checked_add(most);
        loop {
            let left = until.map_or(most, |until| until.saturating_duration_since(Instant::now()));
            // Zero would be no limit. It says nothing more: there is only the end to read.
            let waiting = self.0.set_read_timeout(Some(left.max(Duration::from_millis(1))));
            match waiting.and_then(|()| (&self.0).read(&mut [0])) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {} // with a timeout a signal does that (signal(7))
                Err(error) if is_late(&error) => return false,
                _ => return true,
            }
        }
    }
}

impl Inherited {
    /// Takes what this process was started with; nothing, mostly. To be called before any thread is started, the log's too.
    ///
    /// # Errors
    /// An old lb doesn't say what is what, in one line.
    pub fn take() -> Result<Self, String> {
        let mut inherited = Self::default();
        let mut listeners = Vec::new();
        let bad = |error: io::Error| format!("a socket that lb was started with: {error}");
        for given in sys::inherited_sockets() {
            let given = match given {
                Ok(given) => given,
                Err(words) => {
                    inherited.useless.push(words);
                    continue;
                }
            };
            if given.name == PREDECESSOR {
                let stream = UnixStream::from(given.socket);
                inherited.handed = told_by(&stream).map_err(|error| format!("the lb before this one: {error}"))?;
                inherited.predecessor = Some(Predecessor(stream));
            } else if given.name == LISTENER {
                listeners.extend(sys::adopt_listener(given.socket).map_err(bad)?);
            } else if let Some(room) = given.name.strip_prefix(ROOM) {
                let of_room = inherited.descriptors.entry(room.to_owned()).or_default();
                of_room.push(given.socket);
            } else {
                inherited.activated(given).map_err(bad)?;
            }
        }
        let (told, given) = (inherited.handed.listeners.len(), listeners.len());
        if told != given {
            return Err(format!(
                "the lb before this one: {given} listening sockets found, {told} wanted; which is whose can't be known"
            ));
        }
        inherited.sockets = Sockets::inherited(&inherited.handed.listeners, listeners).map_err(bad)?;
        Ok(inherited)
    }

    /// A socket that somebody opened for us by its address.
    fn activated(&mut self, given: InheritedSocket) -> io::Result<()> {
        let (address, name) = (given.address(), given.name);
        let is_listening = match address {
            Some(address) => {
                let listener = sys::adopt_listener(given.socket)?;
                listener.map(|listener| self.tcp.push((address, listener)))
            }
            None => sys::adopt_unix_listener(given.socket)?.map(|listener| self.unix.push(listener)),
        };
        if is_listening.is_none() {
            let words = format!("the socket {name} that lb was started with doesn't listen");
            self.useless.push(words);
        }
        Ok(())
    }

    /// Another end of the stream to the lb before this one, which takes its end for that of this process and kills it then: to be kept until
    /// what went wrong is told.
    #[must_use]
    pub fn witness(&self) -> Option<UnixStream> {
        self.predecessor
            .as_ref()
            .and_then(|predecessor| predecessor.0.try_clone().ok())
    }

    /// Opens the ports, gives up the rights that nothing else needs and shuts the process in, as the file says. To be called before any
    /// thread is started, the log's too: they all have to be inside.
    ///
    /// # Errors
    /// What can't be had: one line.
    pub fn prepare(mut self, config: &Config, path: &Path) -> Result<Self, String> {
        let admin = match config.admin.listen {
            // One that can't be opened is told by the room itself, which tries again.
            AdminListen::Tcp(address) if !self.handed.rooms.contains_key(ADMIN) => self
                .tcp(address)
                .or_else(|| sys::listen(address, config::ADMIN_BACKLOG).ok())
                .map(|listener| (address, listener)),
            AdminListen::Tcp(_) | AdminListen::Unix(_) | AdminListen::Off => None,
        };
        let sockets = self.open_sockets(config).map_err(|error| error.to_string())?;
        self.opened = Some(sockets);
        self.tcp.extend(admin);
        self.sandbox = Sandbox::enter(config, path, self.handed.given_up.take())?;
        Ok(self)
    }

    /// The luggage of a room, if an old lb sent some.
    pub fn luggage(&mut self, room: &str) -> Option<Luggage> {
        let state = self.handed.rooms.remove(room)?;
        let descriptors = self.descriptors.remove(room).unwrap_or_default();
        Some(Luggage { state, descriptors })
    }

    /// A listener that was opened for this address.
    pub fn tcp(&mut self, address: SocketAddr) -> Option<TcpListener> {
        let place = self.tcp.iter().position(|(of, _)| *of == address)?;
        Some(self.tcp.swap_remove(place).1)
    }

    /// A listener that was opened at this path.
    pub fn unix(&mut self, path: &Path) -> Option<UnixListener> {
        let is_it = |listener: &UnixListener| {
            let address = listener.local_addr();
            address.is_ok_and(|address| address.as_pathname() == Some(path))
        };
        let place = self.unix.iter().position(is_it)?;
        Some(self.unix.swap_remove(place))
    }

    /// The sockets of the services, opened unless they are: an old lb's, those that were opened for an address, and new ones.
    ///
    /// # Errors
    /// One that can't be opened.
    pub(super) fn open_sockets(&mut self, config: &Config) -> Result<Sockets, StartError> {
        if let Some(opened) = self.opened.take() {
            return Ok(opened);
        }
        let given = std::mem::take(&mut self.sockets).with_activated(std::mem::take(&mut self.tcp));
        let sockets = Sockets::open(config, &given)?;
        if given.count() > 0 {
            self.exchanged = given.difference(&sockets);
        }
        Ok(sockets)
    }

    /// Says what became of what lb was started with, and of its rights.
    pub(super) fn tell(&mut self) {
        self.sandbox.log();
        for word in &self.exchanged {
            log::info!("{word}");
        }
        for words in &self.useless {
            log::warn!("{words}");
        }
        for listener in &self.unix {
            let address = listener.local_addr();
            log::warn!("lb was started with a socket that lb.toml doesn't name: {address:?}; it is closed");
        }
    }
}

/// Whether a socket's time was over.
pub(super) fn is_late(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}

/// All that an old lb says.
fn told_by(stream: &UnixStream) -> io::Result<HandOver> {
    stream.set_read_timeout(Some(TELLING_MAX))?;
    // Its length comes first: the stream stays open, since its end is that of the old lb.
    let mut length = [0; 8];
    (&*stream).read_exact(&mut length)?;
    let length = u64::from_be_bytes(length).min(TOLD_BYTES_MAX);
    let mut told = Vec::new();
    stream.take(length).read_to_end(&mut told)?;
    serde_json::from_slice(&told).map_err(io::Error::other)
}

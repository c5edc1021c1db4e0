//! The listening sockets: opened for what is new, the very same ones for what a reload keeps.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::sync::Arc;

use super::handover::ListenerState;
use super::start::StartError;
use crate::acceptor::Listener;
use crate::config::{self, Config};
use crate::service::Service;
use crate::sys;

/// A listening socket.
#[derive(Clone, Debug)]
struct Bound {
    /// Its service's name.
    service: String,
    /// As in the file; port 0 = one that the kernel chose.
    configured: SocketAddr,
    address: SocketAddr,
    socket: Arc<TcpListener>,
}

/// All listening sockets, in the order of the file.
#[derive(Clone, Debug, Default)]
pub(super) struct Sockets(Vec<Bound>);

impl Sockets {
    /// Those of `config`: who is among `kept` already stays the same socket, even where another service has the address now.
    ///
    /// # Errors
    /// One that can't be opened. Those that were opened before it are closed again.
    pub(super) fn open(config: &Config, kept: &Self) -> Result<Self, StartError> {
        let mut left = kept.0.clone();
        let mut all = Vec::new();
        for service in &config.services {
            for configured in &service.listen {
                let is_it = |bound: &Bound| {
                    // Port 0 may stand several times, so there the service counts too.
                    bound.configured == *configured && (configured.port() != 0 || bound.service == service.name)
                };
                let found = left.iter().position(is_it).map(|place| left.remove(place));
                let bound = match found {
                    Some(bound) => {
                        sys::set_backlog(&*bound.socket, service.limits.backlog)?;
                        Bound {
                            service: service.name.clone(),
                            ..bound
                        }
                    }
                    None => Bound::open(service, *configured)?,
                };
                all.push(bound);
            }
        }
        Ok(Self(all))
    }

    /// Those that an old lb hands over, each with what it is of.
    ///
    /// # Errors
    /// One isn't what it was said to be.
    pub(super) fn inherited(states: &[ListenerState], sockets: Vec<TcpListener>) -> io::Result<Self> {
        let bound = |(state, socket): (&ListenerState, TcpListener)| {
            Ok(Bound {
                service: state.service.clone(),
                configured: state.configured,
                address: socket.local_addr()?,
                socket: Arc::new(socket),
            })
        };
        states
            .iter()
            .zip(sockets)
            .map(bound)
            .collect::<io::Result<_>>()
            .map(Self)
    }

    /// With those that somebody opened for an address.
    pub(super) fn with_activated(mut self, sockets: Vec<(SocketAddr, TcpListener)>) -> Self {
        self.0.extend(sockets.into_iter().map(|(address, socket)| Bound {
            service: String::new(),
            configured: address,
            address,
            socket: Arc::new(socket),
        }));
        self
    }

    /// All of them for a new lb, which gets handles of its own.
    ///
    /// # Errors
    /// No descriptor is left.
    pub(super) fn handed_over(&self) -> io::Result<(Vec<ListenerState>, Vec<OwnedFd>)> {
        let state = |bound: &Bound| ListenerState {
            service: bound.service.clone(),
            configured: bound.configured,
        };
        let sockets = self.0.iter().map(|bound| bound.socket.try_clone().map(OwnedFd::from));
        Ok((self.0.iter().map(state).collect(), sockets.collect::<io::Result<_>>()?))
    }

    /// What the acceptor is told; `services` are those of the same configuration.
    pub(super) fn listeners(&self, services: &[Arc<Service>]) -> Vec<Listener> {
        let listener = |bound: &Bound| {
            let service = services.iter().find(|service| *service.name == *bound.service)?;
            Some(Listener {
                socket: Arc::clone(&bound.socket),
                service: Arc::clone(service),
            })
        };
        self.0.iter().filter_map(listener).collect()
    }

    /// Where a service listens.
    pub(super) fn of(&self, service: &str) -> Vec<SocketAddr> {
        let own = self.0.iter().filter(|bound| bound.service == service);
        own.map(|bound| bound.address).collect()
    }

    /// Whether a connection to this address would come back to us.
    pub(super) fn is_ours(&self, address: SocketAddr) -> bool {
        self.0.iter().any(|bound| leads_to(address, bound.address))
    }

    pub(super) const fn count(&self) -> usize {
        self.0.len()
    }

    /// What `after` opens and closes, in words.
    pub(super) fn difference(&self, after: &Self) -> Vec<String> {
        let without = |these: &Self, others: &Self, word: &str| {
            let is_missing = |bound: &&Bound| !others.0.iter().any(|other| Arc::ptr_eq(&other.socket, &bound.socket));
            let words = |bound: &Bound| format!("{}: listener {} {word}", bound.service, bound.address);
            these.0.iter().filter(is_missing).map(words).collect::<Vec<_>>()
        };
        [without(after, self, "opened"), without(self, after, "closed")].concat()
    }
}

impl Bound {
    fn open(service: &config::Service, configured: SocketAddr) -> Result<Self, StartError> {
        let failed = |error| StartError::Listen(configured, error);
        let socket = sys::listen(configured, service.limits.backlog).map_err(failed)?;
        Ok(Self {
            service: service.name.clone(),
            configured,
            address: socket.local_addr().map_err(failed)?,
            socket: Arc::new(socket),
        })
    }
}

/// Whether who connects to `address` reaches a listener at `listener`.
pub(super) fn leads_to(address: SocketAddr, listener: SocketAddr) -> bool {
    let (ip, own) = (address.ip().to_canonical(), listener.ip().to_canonical());
    let is_everywhere = own.is_unspecified() && own.is_ipv4() == ip.is_ipv4();
    address.port() == listener.port() && (own == ip || (is_everywhere && sys::is_own(ip)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(services: &[(&str, &[&str])]) -> Config {
        let text: String = services
            .iter()
            .map(|(name, listen)| {
                format!(
                    "[[service]]\nname = \"{name}\"\nlisten = {listen:?}\n[[service.backend]]\nname = \"b\"\naddress = \"10.0.0.1:1\"\n"
                )
            })
            .collect();
        config::parse("f", &text).unwrap()
    }

    #[test]
    fn a_connection_that_would_come_back_is_found_however_its_address_is_written() {
        let leads = |address: &str, listener: &str| leads_to(address.parse().unwrap(), listener.parse().unwrap());
        assert!(leads("127.0.0.1:9", "127.0.0.1:9") && leads("[::ffff:127.0.0.1]:9", "127.0.0.1:9"));
        assert!(leads("127.0.0.1:9", "0.0.0.0:9") && leads("[::1]:9", "[::]:9"));
        assert!(!leads("127.0.0.1:8", "127.0.0.1:9") && !leads("127.0.0.2:9", "127.0.0.1:9"));
        assert!(!leads("[::1]:9", "0.0.0.0:9") && !leads("192.0.2.77:9", "0.0.0.0:9"));
    }

    #[test]
    fn what_stays_is_the_same_socket_and_what_can_not_be_opened_changes_nothing() {
        let free = "127.0.0.1:0";
        let sockets = Sockets::open(&config(&[("a", &[free, free]), ("b", &[free])]), &Sockets::default()).unwrap();
        let again = Sockets::open(&config(&[("b", &[free]), ("a", &[free])]), &sockets).unwrap();
        assert_eq!(again.of("b"), sockets.of("b"));
        assert_eq!(again.of("a"), sockets.of("a")[..1]);
        let words = sockets.difference(&again);
        assert_eq!(words, [format!("a: listener {} closed", sockets.of("a")[1])]);
        let taken = std::net::TcpListener::bind(free).unwrap();
        let address = taken.local_addr().unwrap().to_string();
        assert!(Sockets::open(&config(&[("a", &[free]), ("c", &[&address])]), &sockets).is_err());
    }

    #[test]
    fn an_address_may_move_to_another_service_and_stays_open() {
        let port = {
            let probe = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            probe.local_addr().unwrap().to_string()
        };
        let before = Sockets::open(&config(&[("a", &[&port])]), &Sockets::default()).unwrap();
        let after = Sockets::open(&config(&[("b", &[&port])]), &before).unwrap();
        assert!(Arc::ptr_eq(&before.0[0].socket, &after.0[0].socket));
        assert_eq!((after.of("a").len(), after.of("b").len()), (0, 1));
    }
}

//! What must hold between values: names and addresses used once, limits of the whole file, no loop.
//!
//! May not: look at a single value; that has been done.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::{IpAddr, SocketAddr};

use super::problems::Findings;
use super::reader::Field;
use super::{BACKENDS_MAX, LISTENERS_MAX, SERVICES_MAX, SLOTS_IN_FILE_MAX};

/// What a value stands for, and where.
enum Place {
    /// At this byte, under this path.
    File(usize, String),
    /// Nowhere: it is the default of this path.
    DefaultOf(&'static str),
}

/// Values that may stand once.
pub(super) struct Unique<T> {
    seen: HashMap<T, Place>,
}

impl<T> Default for Unique<T> {
    fn default() -> Self {
        Self { seen: HashMap::new() }
    }
}

impl<T: Eq + Hash> Unique<T> {
    pub(super) fn add(&mut self, value: T, what: &str, field: &Field, findings: &mut Findings) {
        let hint = match self.seen.get(&value) {
            None => {
                self.seen.insert(value, Place::File(field.at, field.path.clone()));
                return;
            }
            Some(Place::File(at, path)) => format!("{path} has it on line {}", findings.line(*at)),
            Some(Place::DefaultOf(path)) => {
                format!("it is the default of {path}, which another address or \"off\" replaces")
            }
        };
        field.refuse(&format!("{what} that stands once"), &hint, findings);
    }
}

/// What has been read of a file.
#[derive(Default)]
pub(super) struct Whole {
    /// `[runtime] user` is set.
    pub(super) gives_up_root: bool,
    services: Unique<String>,
    services_count: usize,
    listeners: Unique<SocketAddr>,
    listeners_count: usize,
    backends: Vec<(SocketAddr, usize, String)>,
    backends_count: usize,
    slots_count: usize,
}

impl Whole {
    pub(super) fn count_service(&mut self, field: &Field, findings: &mut Findings) {
        count((&mut self.services_count, 1), SERVICES_MAX, "services", field, findings);
    }

    /// `more` slots or virtual nodes of a service's wheel.
    pub(super) fn count_slots(&mut self, more: usize, field: &Field, findings: &mut Findings) {
        let number = (&mut self.slots_count, more);
        count(number, SLOTS_IN_FILE_MAX, "slots and virtual nodes", field, findings);
    }

    pub(super) fn count_backend(&mut self, field: &Field, findings: &mut Findings) {
        count((&mut self.backends_count, 1), BACKENDS_MAX, "backends", field, findings);
    }

    pub(super) fn service(&mut self, name: &str, field: &Field, findings: &mut Findings) {
        self.services.add(name.to_owned(), "a name", field, findings);
    }

    pub(super) fn listener(&mut self, address: SocketAddr, field: &Field, findings: &mut Findings) {
        count(
            (&mut self.listeners_count, 1),
            LISTENERS_MAX,
            "listen addresses",
            field,
            findings,
        );
        // Each port 0 becomes a port of its own.
        if address.port() != 0 {
            self.listeners.add(address, "an address", field, findings);
        }
    }

    /// An address that lb listens on where the file doesn't say otherwise.
    pub(super) fn default_listener(&mut self, address: SocketAddr, path: &'static str) {
        self.listeners.seen.insert(address, Place::DefaultOf(path));
    }

    /// Two names for one address are allowed: a weight split in two, or a port that is about to move.
    pub(super) fn backend(&mut self, address: SocketAddr, field: &Field) {
        self.backends.push((address, field.at, field.path.clone()));
    }

    /// Finds backends that are our own listeners: a connection to one would come back to us until no descriptor is left.
    pub(super) fn find_loops(&self, findings: &mut Findings) {
        for (address, at, path) in &self.backends {
            let everywhere = match address.ip() {
                IpAddr::V4(_) => SocketAddr::from((std::net::Ipv4Addr::UNSPECIFIED, address.port())),
                IpAddr::V6(_) => SocketAddr::from((std::net::Ipv6Addr::UNSPECIFIED, address.port())),
            };
            let exact = self.listeners.seen.get(address);
            let around = || {
                self.listeners
                    .seen
                    .get(&everywhere)
                    .filter(|_| address.ip().is_loopback())
            };
            let listener = match exact.or_else(around) {
                None => continue,
                Some(Place::File(at, listener)) => format!("{listener} on line {}", findings.line(*at)),
                Some(Place::DefaultOf(listener)) => format!("the default of {listener}"),
            };
            let said =
                format!("found \"{address}\", wanted the address of a backend; lb itself listens there: {listener}");
            findings.add(*at, path.clone(), said);
        }
    }
}

/// So many more; a finding at the first that is too many.
fn count((number, more): (&mut usize, usize), most: usize, what: &str, field: &Field, findings: &mut Findings) {
    let before = *number;
    *number = before.saturating_add(more);
    if before <= most && *number > most {
        findings.add(
            field.at,
            field.path.clone(),
            format!("found more than {most} {what}, wanted at most {most} in a file"),
        );
    }
}

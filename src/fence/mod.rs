//! Who may come in, and how often: a service's networks, and what each source may take of it.
//!
//! Asked once a connection, by the acceptor, or by a worker where the client's address stands in a PROXY header. Pure but for the
//! table of sources, which has the only locks on the way of a connection: one for each sixteenth of the sources, held for a look into a
//! map, never across a system call. A service without limits on sources never touches it.
//!
//! May not: open a socket, read a clock (time is an argument), or log.

mod networks;
mod sources;

use std::net::IpAddr;
use std::sync::Arc;

pub use networks::Networks;
pub use sources::{Rate, SourceLimits, SourcePermit, Sources};

use crate::observe::RefusedReason;
use crate::types::Moment;

/// What a service asks of its clients.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FenceSettings {
    /// `[service.access]`.
    pub networks: Networks,
    /// Of `[service.limits]`, what holds for each source.
    pub limits: SourceLimits,
}

/// The fence of a service: its settings, and the sources it has seen.
#[derive(Debug)]
pub struct Fence {
    settings: FenceSettings,
    sources: Arc<Sources>,
}

impl Fence {
    /// A fence that has seen nobody yet.
    #[must_use]
    pub fn new(settings: FenceSettings) -> Self {
        Self {
            settings,
            sources: Arc::default(),
        }
    }

    /// Other settings; who is connected, and how often each source came, goes on being counted.
    #[must_use]
    pub fn renewed(&self, settings: FenceSettings) -> Self {
        Self {
            settings,
            sources: Arc::clone(&self.sources),
        }
    }

    /// Lets a client in, or says what is against it. What it takes is given back when the permit is dropped; `None`: nothing is counted.
    ///
    /// # Errors
    /// Why it is refused; then it has taken nothing.
    pub fn admit(&self, client: IpAddr, now: Moment) -> Result<Option<SourcePermit>, RefusedReason> {
        let client = client.to_canonical();
        if !self.settings.networks.admits(client) {
            return Err(RefusedReason::Access);
        }
        if self.settings.limits == SourceLimits::default() {
            return Ok(None);
        }
        Sources::admit(&self.sources, client, &self.settings.limits, now).map(Some)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::num::NonZeroU32;

    #[test]
    fn the_network_is_asked_first_and_only_limits_are_counted() {
        let networks = Networks::new(&["10.0.0.0/8".parse().unwrap()], &[]);
        let (inside, mapped, outside) = ("10.0.0.1", "::ffff:10.0.0.1", "192.0.2.1");
        let admit = |fence: &Fence, client: &str| fence.admit(client.parse().unwrap(), Moment::START);
        let open = Fence::new(FenceSettings {
            networks: networks.clone(),
            limits: SourceLimits::default(),
        });
        assert!(admit(&open, inside).unwrap().is_none() && admit(&open, mapped).unwrap().is_none());
        assert_eq!(admit(&open, outside).unwrap_err(), RefusedReason::Access);
        let counting = open.renewed(FenceSettings {
            networks,
            limits: SourceLimits {
                connections_max: NonZeroU32::new(1),
                rate: None,
            },
        });
        let permit = admit(&counting, inside).unwrap();
        assert!(permit.is_some());
        assert_eq!(
            admit(&counting, mapped).unwrap_err(),
            RefusedReason::SourceLimit,
            "the same source"
        );
        assert_eq!(admit(&counting, outside).unwrap_err(), RefusedReason::Access);
        drop(permit);
        assert!(admit(&counting, inside).unwrap().is_some());
    }
}

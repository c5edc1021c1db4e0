//! Who connected, as the worker knows it: the peer, or whom its header named.

use crate::types::ClientAddr;

/// Who connected. An idle session doesn't pay for what few have.
#[derive(Debug)]
pub(super) enum Caller {
    Direct(ClientAddr),
    Proxied(Box<Proxied>),
}

#[derive(Debug)]
pub(super) struct Proxied {
    client: ClientAddr,
    by: ClientAddr,
}

impl Caller {
    /// Whose connection it is.
    pub(super) const fn client(&self) -> ClientAddr {
        match self {
            Self::Direct(client) => *client,
            Self::Proxied(proxied) => proxied.client,
        }
    }

    /// Who told so.
    pub(super) const fn proxied_by(&self) -> Option<ClientAddr> {
        match self {
            Self::Direct(_) => None,
            Self::Proxied(proxied) => Some(proxied.by),
        }
    }

    /// It is another's, as its peer says.
    pub(super) fn introduce(&mut self, client: ClientAddr) {
        let by = self.client();
        *self = Self::Proxied(Box::new(Proxied { client, by }));
    }
}

//! Whether a peer is there at all: what its kernel owes, and how it is asked.

use std::os::fd::AsFd;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};

use super::socket::optional;

/// How often a peer that says nothing is asked whether it is there.
const ALIVE_ASKS: u32 = 4;
/// Probes of a closed window that a peer who is there has surely answered one of, though they are many seconds apart.
const WINDOW_PROBES: u8 = 3;

/// What a peer's kernel owes.
#[derive(Clone, Copy, Debug)]
pub struct Acknowledgements {
    /// Segments sent that it hasn't acknowledged.
    pub(super) segments_sent: u32,
    /// Times it was asked, since it was last heard, whether it has room again.
    pub(super) probes_sent: u8,
    /// Since it last acknowledged anything.
    pub(super) since_last: Duration,
}

impl Acknowledgements {
    /// Whether it owes something and wasn't heard in this time.
    #[must_use]
    pub fn is_silent(self, span: Duration) -> bool {
        let is_asked = self.segments_sent > 0 || self.probes_sent >= WINDOW_PROBES;
        is_asked && self.since_last >= span
    }
}

/// From now on the kernel asks a peer that has said nothing for twice `peer_timeout` whether it is there, four times within another
/// one, and then ends the connection (`TCP_KEEPIDLE`, tcp(7)): 60 s with the default. It counts in seconds.
pub fn keep_alive(socket: impl AsFd, peer_timeout: Duration) {
    let pause = peer_timeout.checked_div(ALIVE_ASKS).unwrap_or(peer_timeout);
    let asks = TcpKeepalive::new()
        .with_time(peer_timeout.saturating_mul(2))
        .with_interval(pause.max(Duration::from_secs(1)))
        .with_retries(ALIVE_ASKS);
    optional("SO_KEEPALIVE", SockRef::from(&socket).set_tcp_keepalive(&asks));
}

//! Whether the peers of a session are there at all.
//!
//! A peer whose network is gone says nothing: no FIN, no RST. The kernel asks again and again, and gives up after a quarter of an hour
//! (tcp(7), `tcp_retries2`). `TCP_USER_TIMEOUT` would shorten that, but it also ends who only doesn't read (6.18, `tcp_probe_timer`: a
//! window of zero counts however well it is acknowledged), and to be slow is no fault. So what is asked is the acknowledgements: at
//! quarters of `peer_timeout`, while bytes are under way. Who is silent with nothing under way is asked by the kernel
//! ([`Socket::keep_alive`]), which costs a session that lives shorter than such a quarter nothing.

use std::time::Duration;

use super::SessionOptions;
use super::direction::Wire;
use super::io::{Outstanding, Socket};
use crate::types::Moment;

/// Looks in a row that find nothing acknowledged until a peer is taken for gone.
const LOOKS: u8 = 4;

/// What is known of both peers of a session.
#[derive(Clone, Copy, Debug)]
pub(super) struct Liveness {
    /// When to look; [`Moment::NEVER`] while nothing is under way.
    look_at: Moment,
    /// Looks in a row that found the client, or the backend, silent.
    silent: (u8, u8),
    is_kept_alive: bool,
}

impl Liveness {
    pub(super) const fn new() -> Self {
        Self {
            look_at: Moment::NEVER,
            silent: (0, 0),
            is_kept_alive: false,
        }
    }

    pub(super) const fn deadline(&self) -> Moment {
        self.look_at
    }

    /// Bytes were written, so there is something to acknowledge.
    pub(super) fn note_written(&mut self, now: Moment, options: &SessionOptions) {
        if self.look_at == Moment::NEVER
            && let Some(pause) = pause(options)
        {
            self.look_at = now.plus(pause);
        }
    }

    /// Looks, if it is time to. Who is gone is broken from here on.
    pub(super) fn look<S: Socket>(
        &mut self,
        now: Moment,
        options: &SessionOptions,
        client: &mut Wire<S>,
        backend: &mut Wire<S>,
    ) {
        let Some(pause) = pause(options).filter(|_| now >= self.look_at) else {
            return;
        };
        if !self.is_kept_alive {
            self.is_kept_alive = true;
            let peer_timeout = options.peer_timeout.unwrap_or(pause);
            client.socket.keep_alive(peer_timeout);
            backend.socket.keep_alive(peer_timeout);
        }
        let of_client = look_at(client, &mut self.silent.0, pause);
        let of_backend = look_at(backend, &mut self.silent.1, pause);
        self.look_at = match (of_client, of_backend) {
            (Outstanding::Nothing, Outstanding::Nothing) => Moment::NEVER,
            _ => now.plus(pause),
        };
    }
}

fn look_at<S: Socket>(wire: &mut Wire<S>, silent: &mut u8, pause: Duration) -> Outstanding {
    let found = wire.socket.outstanding(pause);
    *silent = match found {
        Outstanding::Unanswered => silent.saturating_add(1),
        Outstanding::Nothing | Outstanding::Recent => 0,
    };
    wire.broken |= *silent >= LOOKS;
    found
}

/// From one look to the next.
fn pause(options: &SessionOptions) -> Option<Duration> {
    options.peer_timeout?.checked_div(u32::from(LOOKS))
}

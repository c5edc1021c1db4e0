//! What is made of an answer, whoever gave it: which backends, or why none; and when they are put in force.
//!
//! Called by `follow`. Pure: sets and moments are arguments. Two laws: an answer is followed whole or not at all, and the newest
//! answer is the one that holds in the end.
//!
//! May not: read a clock, log, or know where an answer came from.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use ipnet::IpNet;

use crate::config::{self, Backend, Listed};
use crate::types::Moment;

/// What an answer must be to be followed.
#[derive(Clone, Debug)]
pub(super) struct Rules {
    pub(super) backends_min: usize,
    pub(super) backends_max: usize,
    pub(super) allow: Option<Vec<IpNet>>,
}

impl Rules {
    /// The backends of an answer, by name.
    ///
    /// # Errors
    /// Why it isn't followed: the first thing that is wrong, in one line.
    pub(super) fn judge(&self, answer: &[Listed]) -> Result<Vec<Backend>, String> {
        let most = self.backends_max;
        if answer.len() > most {
            return Err(format!(
                "{} backends found, at most {most} are wanted (max_backends)",
                answer.len()
            ));
        }
        let mut seen: HashMap<String, SocketAddr> = HashMap::new();
        let mut backends = Vec::with_capacity(answer.len());
        for (entry, number) in answer.iter().zip(1_u32..) {
            let address = SocketAddr::new(entry.address.ip().to_canonical(), entry.address.port());
            let name = entry.name.clone().unwrap_or_else(|| name_of(address));
            let wrong = |reason: &str| Err(format!("entry {number}, {name:?}: {reason}"));
            if let Err(reason) = config::check_name(&name) {
                return wrong(&reason);
            }
            if let Some(reason) = self.objection(address) {
                return wrong(&format!("{address} {reason}"));
            }
            match seen.insert(name.clone(), address) {
                // The same address listed twice is one backend; a name that was given twice is a slip.
                Some(before) if before == address && entry.name.is_none() => continue,
                Some(before) => return wrong(&format!("{before} has this name too")),
                None => {}
            }
            backends.push(Backend {
                name,
                address,
                weight: entry.weight,
                connections_max: None,
                backup: entry.backup,
                metrics: None,
            });
        }
        match backends.len() {
            0 => Err("no backend found".to_owned()),
            count if count < self.backends_min => {
                let least = self.backends_min;
                Err(format!(
                    "{count} backends found, at least {least} are wanted (min_backends)"
                ))
            }
            _ => {
                // In which order they were told says nothing: DNS servers turn their records about.
                backends.sort_unstable_by(|one, other| one.name.cmp(&other.name));
                Ok(backends)
            }
        }
    }

    /// What speaks against an address, which is canonical.
    fn objection(&self, address: SocketAddr) -> Option<&'static str> {
        let ip = address.ip();
        if address.port() == 0 {
            return Some("has no port");
        }
        if is_never_allowed(ip) {
            return Some("is link-local, multicast, broadcast or unspecified: never a backend");
        }
        let is_named = |network: &IpNet| network.contains(&ip) && (!ip.is_loopback() || is_loopback(network));
        match &self.allow {
            Some(allow) if allow.iter().any(is_named) => None,
            None if !ip.is_loopback() => None,
            _ if ip.is_loopback() => Some("is this machine itself: only `allow` with a network of loopback lets it in"),
            _ => Some("is in no network of `allow`"),
        }
    }
}

fn is_never_allowed(ip: IpAddr) -> bool {
    let is_local = match ip {
        // 0.0.0.0/8 is "this network" (RFC 1122, 3.2.1.3); Linux takes 0.0.0.0 for loopback.
        IpAddr::V4(ip) => ip.is_link_local() || ip.is_broadcast() || ip.octets().first() == Some(&0),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    };
    is_local || ip.is_multicast() || ip.is_unspecified()
}

/// A network that holds loopback and all else doesn't name it: 0.0.0.0/0 was meant for others.
fn is_loopback(network: &IpNet) -> bool {
    network.network().is_loopback() && network.broadcast().is_loopback()
}

/// A name for who has none: allowed characters only, the same for the same address, another for another.
pub(super) fn name_of(address: SocketAddr) -> String {
    let ip = address.ip().to_string().replace(':', "-");
    format!("{ip}-{}", address.port())
}

/// Values that come as they like, and go out at most once a `gap`: the first at once, of those that come meanwhile the newest.
#[derive(Debug)]
pub(super) struct Pace<T> {
    gap: Duration,
    /// What went out last.
    last: Option<T>,
    waiting: Option<T>,
    free_at: Moment,
}

impl<T: Clone + PartialEq> Pace<T> {
    pub(super) const fn new(gap: Duration) -> Self {
        Self {
            gap,
            last: None,
            waiting: None,
            free_at: Moment::START,
        }
    }

    /// The newest value. Whether it says something new.
    pub(super) fn offer(&mut self, value: T) -> bool {
        let is_new = self.newest() != Some(&value);
        // Back to what holds: nothing has to go out.
        self.waiting = Some(value).filter(|value| self.last.as_ref() != Some(value));
        is_new
    }

    /// What holds in the end if nothing more comes.
    pub(super) fn newest(&self) -> Option<&T> {
        self.waiting.as_ref().or(self.last.as_ref())
    }

    /// What went out last is lost: it goes out again, unless something newer waits.
    pub(super) fn again(&mut self) {
        let last = self.last.take();
        self.waiting = self.waiting.take().or(last);
    }

    /// When something goes out.
    pub(super) fn due(&self) -> Option<Moment> {
        self.waiting.as_ref().map(|_| self.free_at)
    }

    /// What goes out now.
    pub(super) fn take(&mut self, now: Moment) -> Option<T> {
        if now < self.free_at {
            return None;
        }
        let value = self.waiting.take()?;
        self.last = Some(value.clone());
        self.free_at = now.plus(self.gap);
        Some(value)
    }
}

/// SRV records' weights in lb's scale: in proportion, and nobody at 0, which with lb would get nothing at all (RFC 2782 gives such a
/// one "a very small chance").
pub(super) fn scaled(weights: &[u16]) -> Vec<u16> {
    let greatest = u32::from(weights.iter().copied().max().unwrap_or(0));
    let most = u32::from(config::WEIGHT_MAX);
    let scale = |weight: u16| {
        let weight = u32::from(weight);
        let scaled = if greatest <= most {
            weight
        } else {
            weight.saturating_mul(most).checked_div(greatest).unwrap_or(1)
        };
        u16::try_from(scaled.max(1)).unwrap_or(config::WEIGHT_MAX)
    };
    weights.iter().copied().map(scale).collect()
}

/// How long after a failure it is asked again: twice as long each time.
pub(super) fn back_off(failures: u32, bounds: (Duration, Duration)) -> Duration {
    let (least, most) = bounds;
    let factor = 1_u32.checked_shl(failures.saturating_sub(1)).unwrap_or(u32::MAX);
    least.saturating_mul(factor).min(most.max(least))
}

#[cfg(test)]
mod tests;

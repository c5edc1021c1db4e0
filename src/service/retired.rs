//! What backends had seen that were removed: the sums of a service never fall.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::pool::BackendTotals;

/// The totals of all that are gone.
#[derive(Debug, Default)]
pub(super) struct Retired {
    connected: AtomicU64,
    failed: AtomicU64,
    bytes_to_backend: AtomicU64,
    bytes_to_client: AtomicU64,
}

impl Retired {
    /// One more is gone.
    pub(super) fn add(&self, totals: &BackendTotals) {
        self.connected.fetch_add(totals.connected, Relaxed);
        self.failed.fetch_add(totals.failed, Relaxed);
        self.bytes_to_backend.fetch_add(totals.bytes_to_backend, Relaxed);
        self.bytes_to_client.fetch_add(totals.bytes_to_client, Relaxed);
    }

    /// All of them together. None is active: a backend goes after its last session.
    pub(super) fn totals(&self) -> BackendTotals {
        BackendTotals {
            active: 0,
            connected: self.connected.load(Relaxed),
            failed: self.failed.load(Relaxed),
            bytes_to_backend: self.bytes_to_backend.load(Relaxed),
            bytes_to_client: self.bytes_to_client.load(Relaxed),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::balance::{Balancer, HashKey, PolicyName};
    use crate::pool::{Backend, Member, Pool};
    use crate::service::{Service, ServiceSettings};
    use crate::session::SessionOptions;
    use crate::types::{BackendAddr, BackendId, ConnectFailure, ServiceId, Way, WorkerId};
    use std::sync::Arc;
    use std::time::Duration;

    fn service(pool: Pool) -> Service {
        let span = Duration::from_secs(1);
        let options = SessionOptions {
            connect_timeout: span,
            connect_retries: 0,
            hedge_after: None,
            idle_timeout: span,
            half_close_timeout: span,
            latency_every: None,
        };
        let settings = ServiceSettings {
            options,
            connections_max: None,
            hash_key: HashKey::SourceIp,
            sticky: None,
            seed: 1,
        };
        Service::new(ServiceId(0), "s", settings, Balancer::new(pool, PolicyName::RoundRobin))
    }

    #[test]
    fn what_removed_backends_had_seen_stays_in_the_sums_of_their_service() {
        let member = |id: u32| {
            let address = BackendAddr("127.0.0.1:1".parse().unwrap());
            let backend = Backend::new(BackendId(id), &format!("b{id}"), address, None, 3, 1);
            backend.note_moved(WorkerId(0), Way::ToBackend, 10_u64.pow(id));
            backend.note_moved(WorkerId(0), Way::ToClient, 2 * 10_u64.pow(id));
            backend.note_connected(Duration::from_millis(1));
            assert_eq!(backend.note_failed(ConnectFailure::Refused), None);
            Member::new(Arc::new(backend), id + 1, 1)
        };
        let members: Vec<_> = (0..4).map(member).collect();
        let service = service(Pool::new(members.clone()));
        let before = service.backend_totals();
        assert_eq!((before.connected, before.failed), (4, 4));
        assert_eq!(service.bytes(), (1111, 2222));
        for left in [2, 0] {
            let pool = Pool::new(members[..left].to_vec());
            service.swap_balancer(Balancer::new(pool, PolicyName::RoundRobin));
            for gone in &members[left..left + 2] {
                service.retire(&gone.backend);
            }
            assert_eq!(service.backend_totals(), before);
            assert_eq!(service.bytes(), (1111, 2222));
        }
    }
}

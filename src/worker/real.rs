//! The world of a real session: sockets of the kernel, the worker's buffer, pipes and epoll set.

use std::fmt::Arguments;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::Sender;

use super::pipes::{Pipes, PooledPipe};
use crate::fence::SourcePermit;
use crate::observe::{RefusedReason, Seldom};
use crate::pool::{BackendGuard, Limiter, Permit, TrafficFailure};
use crate::proxy_protocol::{self, Endpoints};
use crate::service::Service;
use crate::session::{Connect, Outstanding, Read, SessionOptions, Socket, World, Write};
use crate::sys::{self, Decision, Doorbell, LocalPorts, Poller};
use crate::types::{BackendId, ClientAddr, ConnectFailure, Handshake, Lane, Moment, SessionKey, Token, Way, WorkerId};

/// The buffer that a worker copies small traffic through, and the most that a slow reader makes it hold a way.
pub const SCRATCH_BYTES: usize = 16_384;

/// The service whose sessions fail, to see what a fault costs.
#[cfg(test)]
pub(super) const FAULTY_SERVICE: &str = "faulty";

/// What the sessions of one worker share, and whose turn it is.
#[derive(Debug)]
pub(super) struct Real {
    pub(super) worker: WorkerId,
    pub(super) poller: Poller,
    pub(super) scratch: Box<[u8]>,
    pub(super) pipes: Pipes,
    pub(super) ports: LocalPorts,
    pub(super) races: Arc<Limiter>,
    pub(super) failures: Sender<TrafficFailure>,
    pub(super) prober: Arc<Doorbell>,
    /// When this wake began.
    pub(super) now: Moment,
    /// Bytes moved in this wake.
    pub(super) moved_bytes: u64,
    /// Whose turn it is.
    pub(super) key: SessionKey,
    /// And whose client's, of which service.
    pub(super) client: ClientAddr,
    /// Whose connection it turned out to be in this very turn.
    pub(super) introduced: Option<ClientAddr>,
    /// And what its source takes.
    pub(super) source: Option<SourcePermit>,
    /// Of refusals.
    pub(super) warnings: Seldom,
    pub(super) service: Arc<Service>,
}

impl Real {
    /// Sets the world for one session's turn.
    pub(super) fn enter(&mut self, key: SessionKey, client: ClientAddr, service: &Arc<Service>) {
        self.key = key;
        self.client = client;
        if !Arc::ptr_eq(&self.service, service) {
            self.service = Arc::clone(service);
        }
    }

    /// What the service demands of a client is asked here where a header says who that is; else the acceptor asks it of the peer.
    fn admitted(&mut self) -> Result<(), RefusedReason> {
        self.source = self.service.admit(self.client.0.ip(), self.now)?;
        Ok(())
    }

    /// Whether the policy goes by how long backends take.
    fn measures(&self) -> bool {
        self.service.options.latency_every.is_some()
    }
}

/// A socket of the kernel. Dropped, it resets its connection.
#[derive(Debug)]
pub(super) struct RealSocket(Option<OwnedFd>);

impl RealSocket {
    pub(super) const fn new(socket: OwnedFd) -> Self {
        Self(Some(socket))
    }

    fn local_address(&self) -> Option<SocketAddr> {
        self.0.as_ref().and_then(|socket| sys::local_address(socket).ok())
    }

    fn read(&self, mut call: impl FnMut(&OwnedFd) -> std::io::Result<usize>) -> Read {
        let Some(socket) = &self.0 else { return Read::Gone };
        loop {
            return match call(socket) {
                Ok(0) => Read::Fin,
                Ok(bytes) => Read::Bytes(bytes),
                Err(error) => match sys::decide(&error) {
                    Decision::Retry => continue,
                    Decision::Wait => Read::Wait,
                    Decision::BackOff => Read::Later,
                    Decision::Unsupported => Read::Unsupported,
                    Decision::PeerGone | Decision::Skip | Decision::Bug => Read::Gone,
                },
            };
        }
    }

    fn write(&self, mut call: impl FnMut(&OwnedFd) -> std::io::Result<usize>) -> Write {
        let Some(socket) = &self.0 else { return Write::Gone };
        loop {
            return match call(socket) {
                Ok(0) => Write::Wait,
                Ok(bytes) => Write::Bytes(bytes),
                Err(error) => match sys::decide(&error) {
                    Decision::Retry => continue,
                    Decision::Wait => Write::Wait,
                    Decision::BackOff => Write::Later,
                    Decision::PeerGone | Decision::Skip | Decision::Unsupported | Decision::Bug => Write::Gone,
                },
            };
        }
    }
}

impl Drop for RealSocket {
    fn drop(&mut self) {
        if let Some(socket) = self.0.take() {
            sys::reset(socket);
        }
    }
}

impl Socket for RealSocket {
    type Pipe = Box<PooledPipe>;

    fn receive(&mut self, into: &mut [u8]) -> Read {
        self.read(|socket| sys::receive(socket, into))
    }

    fn send(&mut self, bytes: &[u8]) -> Write {
        self.write(|socket| sys::send(socket, bytes))
    }

    fn splice_in(&mut self, pipe: &mut Self::Pipe) -> Read {
        self.read(|socket| sys::splice_in(socket, &pipe.pipe))
    }

    fn splice_out(&mut self, pipe: &mut Self::Pipe, bytes: usize) -> Write {
        self.write(|socket| sys::splice_out(&pipe.pipe, socket, bytes))
    }

    fn finish(&mut self) -> bool {
        self.0.as_ref().is_some_and(|socket| sys::finish_write(socket).is_ok())
    }

    fn connect_outcome(&mut self) -> Connect {
        let Some(socket) = &self.0 else {
            return Connect::Failed(ConnectFailure::Other);
        };
        match sys::take_error(socket) {
            Ok(None) => Connect::Up,
            Ok(Some(error)) | Err(error) => match sys::connect_failure(&error) {
                // It had been taken, or there would be a refusal. What came before the reset is the client's.
                ConnectFailure::Reset if matches!(sys::peek(socket, &mut [0]), Ok(1..)) => Connect::UpAndReset,
                failure => Connect::Failed(failure),
            },
        }
    }

    fn acknowledge(&mut self) {
        if let Some(socket) = &self.0 {
            sys::acknowledge(socket);
        }
    }

    fn round_trip(&self) -> Option<Duration> {
        self.0.as_ref().and_then(|socket| sys::round_trip(socket).ok())
    }

    fn unacknowledged_bytes(&self) -> u64 {
        // A socket that can't be asked is gone, and waits for nothing.
        self.0
            .as_ref()
            .and_then(|socket| sys::unacknowledged_bytes(socket).ok())
            .unwrap_or(0)
    }

    fn outstanding(&self, span: Duration) -> Outstanding {
        if self.unacknowledged_bytes() == 0 {
            return Outstanding::Nothing;
        }
        match self.0.as_ref().map(sys::acknowledgements) {
            Some(Ok(heard)) if heard.is_silent(span) => Outstanding::Unanswered,
            _ => Outstanding::Recent,
        }
    }

    fn keep_alive(&mut self, peer_timeout: Duration) {
        if let Some(socket) = &self.0 {
            sys::keep_alive(socket, peer_timeout);
        }
    }

    fn close(mut self) {
        drop(self.0.take());
    }
}

impl World for Real {
    type Socket = RealSocket;
    type Pipe = Box<PooledPipe>;
    type Backend = BackendGuard;
    type Race = Permit;

    fn now(&self) -> Moment {
        self.now
    }

    fn options(&self) -> &SessionOptions {
        &self.service.options
    }

    fn introduce(&mut self, proxied: Option<&Endpoints>) -> Result<(), RefusedReason> {
        if let Some(endpoints) = proxied {
            self.client = ClientAddr(endpoints.source);
            self.introduced = Some(self.client);
        }
        self.admitted()
    }

    fn note_refused(&mut self, reason: RefusedReason, why: Arguments<'_>) {
        self.service.counters.note_refused(reason);
        let is_due = self.warnings.is_due(self.now);
        let level = if is_due { log::Level::Warn } else { log::Level::Debug };
        log::log!(level, "{}: {} refused: {why}", self.service.name, self.client);
    }

    fn header(&mut self, client: &RealSocket, destination: Option<SocketAddr>) -> Vec<u8> {
        let Some(version) = self.service.proxy.send else {
            return Vec::new();
        };
        let destination = destination.or_else(|| client.local_address());
        let endpoints = destination.map(|destination| Endpoints::new(self.client.0, destination));
        proxy_protocol::encode(version, endpoints)
    }

    fn pick(&mut self, tried: &[BackendId]) -> Option<BackendGuard> {
        #[cfg(test)]
        assert!(&*self.service.name != FAULTY_SERVICE, "injected");
        self.service.pick(self.client, self.now, tried)
    }

    fn id(backend: &BackendGuard) -> BackendId {
        backend.backend().id
    }

    fn connect(&mut self, backend: &BackendGuard, lane: Lane) -> Result<RealSocket, ConnectFailure> {
        let socket = sys::begin_connect(backend.backend().address.0, Handshake::WithBytes, &mut self.ports)
            .map_err(|error| sys::connect_failure(&error))?;
        let token = Token { key: self.key, lane }.to_bits();
        self.poller
            .add(&socket, token)
            .map_err(|error| sys::connect_failure(&error))?;
        Ok(RealSocket::new(socket))
    }

    fn race(&mut self) -> Option<Permit> {
        self.races.take()
    }

    fn note_connected(&mut self, backend: &BackendGuard, took: Duration, failed: &[BackendId]) {
        log::trace!(
            "{}: connected to {} in {took:?}",
            self.service.name,
            backend.backend().name
        );
        backend.backend().note_connected(took);
        if self.measures() {
            backend.backend().latency.note_connected(self.now, took);
        }
        if !failed.is_empty() {
            self.service
                .note_redispatched(self.client, self.now, backend.backend().id, failed);
        }
    }

    fn note_latency(&mut self, backend: &BackendGuard, took: Duration) {
        backend.backend().latency.note(self.now, took);
    }

    fn note_unanswered(&mut self, backend: &BackendGuard, waited: Duration) {
        backend.backend().latency.note_unanswered(self.now, waited);
    }

    fn note_connect_failed(&mut self, backend: &BackendGuard, failure: ConnectFailure) {
        let backend = backend.backend();
        log::debug!(
            "{}: {}: {}",
            self.service.name,
            backend.name,
            failure.words(backend.address)
        );
        let told = backend.note_failed(failure);
        if failure.is_local() {
            return;
        }
        if self.measures() {
            backend.latency.note_unanswered(self.now, Duration::MAX);
        }
        if let Some(in_a_row) = told {
            let report = TrafficFailure {
                backend: backend.id,
                failure,
                in_a_row,
            };
            // Full: the prober has a thousand of them already, and the next multiple of `fall` will tell it again.
            if self.failures.try_send(report).is_ok() {
                self.prober.wake();
            }
        }
    }

    fn note_redispatch(&mut self) {
        self.service.counters.redispatched();
    }

    fn note_moved(&mut self, backend: &BackendGuard, way: Way, bytes: u64) {
        self.moved_bytes = self.moved_bytes.saturating_add(bytes);
        backend.backend().note_moved(self.worker, way, bytes);
    }

    fn scratch(&mut self) -> &mut [u8] {
        &mut self.scratch
    }

    fn borrow_pipe(&mut self) -> Option<Box<PooledPipe>> {
        self.pipes.borrow()
    }

    fn return_pipe(&mut self, pipe: Box<PooledPipe>) {
        self.pipes.give_back(pipe);
    }
}

//! What a session needs of the world: sockets, pipes, a choice of backends. Implemented by `worker` over real sockets, and by the
//! simulation of the tests.

use std::fmt::{Arguments, Debug};
use std::net::SocketAddr;
use std::time::Duration;

use super::SessionOptions;
use crate::observe::RefusedReason;
use crate::proxy_protocol::Endpoints;
use crate::types::{BackendId, ConnectFailure, Lane, Moment, Way};

/// What reading gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Read {
    /// So many bytes; not 0.
    Bytes(usize),
    /// The peer has finished.
    Fin,
    /// Nothing now; an event will tell. Of a splice: nothing, or no room in the pipe.
    Wait,
    /// The machine is short of memory; no event will tell.
    Later,
    /// The peer has reset, or can't be reached.
    Gone,
    /// This can't be spliced.
    Unsupported,
}

/// What writing did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Write {
    /// So many bytes were taken; not 0.
    Bytes(usize),
    /// None now; an event will tell.
    Wait,
    /// The machine is short of memory; no event will tell.
    Later,
    /// The peer has reset, or can't be reached.
    Gone,
}

/// How a connect goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Connect {
    /// Not known yet.
    Pending,
    /// It stands.
    Up,
    /// It stood, brought bytes, and is reset already: there is something to deliver.
    UpAndReset,
    /// It won't.
    Failed(ConnectFailure),
}

/// What a peer's kernel owes us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outstanding {
    /// Nothing: it has acknowledged all it was sent.
    Nothing,
    /// Something, and it has been heard lately.
    Recent,
    /// Something, and nothing was heard of it in all the time asked for, though it was asked again.
    Unanswered,
}

/// One end of a session. Dropped, it resets its connection: only [`Socket::close`] ends it in order.
pub trait Socket: Sized + Debug {
    /// What splices go through.
    type Pipe: Debug;
    /// Reads what there is, at most the buffer.
    fn receive(&mut self, into: &mut [u8]) -> Read;
    /// Writes what is taken.
    fn send(&mut self, bytes: &[u8]) -> Write;
    /// Moves what there is into an empty pipe.
    fn splice_in(&mut self, pipe: &mut Self::Pipe) -> Read;
    /// Moves up to `bytes` out of a pipe.
    fn splice_out(&mut self, pipe: &mut Self::Pipe, bytes: usize) -> Write;
    /// Sends FIN behind everything written. `false`: the connection is gone.
    fn finish(&mut self) -> bool;
    /// Asks how a connect went, after an event.
    fn connect_outcome(&mut self) -> Connect;
    /// Ends the handshake of a connect whose last acknowledgement still waits to travel with bytes.
    fn acknowledge(&mut self);
    /// The kernel's smoothed round-trip time to the peer, if it has one.
    fn round_trip(&self) -> Option<Duration>;
    /// Bytes written that the peer's kernel hasn't acknowledged.
    fn unacknowledged_bytes(&self) -> u64;
    /// Whether the peer's kernel has been heard within `span`, if there is something it should have said.
    fn outstanding(&self, span: Duration) -> Outstanding;
    /// Has the kernel ask, from now on, whether a silent peer is still there.
    fn keep_alive(&mut self);
    /// Closes in order: what was written still arrives, then FIN.
    fn close(self);
}

/// Everything a session can reach, for the length of one call.
pub trait World {
    /// One end of a session.
    type Socket: Socket<Pipe = Self::Pipe>;
    /// Borrowed only while bytes are in it; dropped, it leaves the pool.
    type Pipe: Debug;
    /// A hold on a backend, given back when dropped.
    type Backend: Debug;
    /// Leave to have one more connect under way than the session counts for, given back when dropped.
    type Race: Debug;

    /// When this wake began.
    fn now(&self) -> Moment;
    /// What the service asks of its sessions.
    fn options(&self) -> &SessionOptions;
    /// The header has been read: whose the connection is; `None`: the peer's own. From now on that counts for every choice.
    ///
    /// # Errors
    /// Why the service doesn't take this client.
    fn introduce(&mut self, proxied: Option<&Endpoints>) -> Result<(), RefusedReason>;
    /// The session ends as [`End::Refused`](crate::observe::End::Refused), for this reason.
    fn note_refused(&mut self, reason: RefusedReason, why: Arguments<'_>);
    /// What a backend is told of the client before the client's first byte; empty: nothing. `destination`: where it connected to, if
    /// that isn't this socket's own address.
    fn header(&mut self, client: &Self::Socket, destination: Option<SocketAddr>) -> Vec<u8>;
    /// Chooses a backend that hasn't been tried.
    fn pick(&mut self, tried: &[BackendId]) -> Option<Self::Backend>;
    /// Which backend a hold is on.
    fn id(backend: &Self::Backend) -> BackendId;
    /// Starts to connect; events come by `lane`. The handshake's last acknowledgement travels with the first bytes, or the FIN, or
    /// when [`Socket::acknowledge`] asks for it: until then the backend doesn't see the connection.
    ///
    /// # Errors
    /// Why it can't even be started.
    fn connect(&mut self, backend: &Self::Backend, lane: Lane) -> Result<Self::Socket, ConnectFailure>;
    /// Leave to race; `None` when too many do.
    fn race(&mut self) -> Option<Self::Race>;
    /// A connect succeeded, after those to `failed` had failed; others may have been under way.
    fn note_connected(&mut self, backend: &Self::Backend, took: Duration, failed: &[BackendId]);
    /// A backend was measured: it took so long to answer.
    fn note_latency(&mut self, backend: &Self::Backend, took: Duration);
    /// A backend was asked and didn't answer in so long; [`Duration::MAX`]: it won't.
    fn note_unanswered(&mut self, backend: &Self::Backend, waited: Duration);
    /// A connect failed.
    fn note_connect_failed(&mut self, backend: &Self::Backend, failure: ConnectFailure);
    /// Another backend is tried.
    fn note_redispatch(&mut self);
    /// Bytes reached the other side's kernel.
    fn note_moved(&mut self, backend: &Self::Backend, way: Way, bytes: u64);
    /// The worker's one buffer.
    fn scratch(&mut self) -> &mut [u8];
    /// An empty pipe; `None` when all are in use.
    fn borrow_pipe(&mut self) -> Option<Self::Pipe>;
    /// An empty pipe back.
    fn return_pipe(&mut self, pipe: Self::Pipe);
}

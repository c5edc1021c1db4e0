//! The admin thread's loop: connections taken, served, and cut when they are slow.

use std::convert::Infallible;
use std::io;
use std::net::IpAddr;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use hyper::Request;
use hyper::body::{Body, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::watch;
use tokio_io_timeout::TimeoutStream;

use super::answer::Answer;
use super::fence::Source;
use super::handle::handle;
use super::listen::Door;
use super::moving::{Turn, given_away, given_back};
use super::outgoing::{self, Room, WAITING_MAX};
use super::seats::{Place, Seats, Use};
use super::state::State;
use crate::observe::{ProcessCounters, caught};
use crate::sys::Clock;

/// A request's head has so long to come, and so an idle connection to go on.
const HEAD_MAX: Duration = Duration::from_secs(10);
/// Who takes no byte for so long is cut.
const WRITE_MAX: Duration = Duration::from_secs(10);
/// Bytes of a request's head, and lines of it.
const HEAD_BYTES_MAX: usize = 16 << 10;
const HEAD_LINES_MAX: usize = 64;
/// How long it stops when no descriptor is left.
const SHORTAGE_PAUSE: Duration = Duration::from_millis(100);
/// How often it is looked who is late.
const LATE_EVERY: Duration = Duration::from_secs(1);

/// The door, as the loop waits at it.
pub(super) enum Listening {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Listening {
    /// # Errors
    /// The loop can't wait for it. To be called inside of the loop.
    pub(super) fn new(door: Door) -> io::Result<Self> {
        Ok(match door {
            Door::Tcp(listener) => Self::Tcp(TcpListener::from_std(listener)?),
            Door::Unix(listener, _) => Self::Unix(UnixListener::from_std(listener)?),
        })
    }
}

/// A connection.
enum Taken {
    Tcp(TcpStream, IpAddr),
    Unix(UnixStream),
}

impl Listening {
    async fn take(&self) -> io::Result<Taken> {
        Ok(match self {
            Self::Tcp(listener) => {
                let (stream, address) = listener.accept().await?;
                Taken::Tcp(stream, address.ip().to_canonical())
            }
            Self::Unix(listener) => Taken::Unix(listener.accept().await?.0),
        })
    }
}

/// What the connections share of the port.
pub(super) struct Port {
    seats: Rc<Seats>,
    room: Rc<Room>,
    counters: Arc<ProcessCounters>,
    turn: watch::Receiver<Turn>,
}

impl Port {
    /// With so many seats.
    pub(super) fn new(seats: usize, counters: Arc<ProcessCounters>, turn: watch::Receiver<Turn>) -> Self {
        Self {
            seats: Rc::new(Seats::new(seats)),
            room: Rc::new(Room::new(WAITING_MAX)),
            counters,
            turn,
        }
    }

    /// Serves a connection, if a seat is free.
    pub(super) fn begin<S, H, F>(&self, stream: S, answer: H)
    where
        S: AsyncRead + AsyncWrite + Unpin + 'static,
        H: Fn(Request<Incoming>) -> F + 'static,
        F: Future<Output = Answer> + 'static,
    {
        // Everybody there is being answered: who comes now is turned away by closing.
        let Some(place) = self.seats.take(Clock::now()) else {
            return;
        };
        let (seat, room, counters) = (
            Rc::clone(&place.seat),
            Rc::clone(&self.room),
            Arc::clone(&self.counters),
        );
        let turn = self.turn.clone();
        let task = tokio::task::spawn_local(async move {
            let served = caught(
                "admin: a connection",
                &counters,
                serve(stream, place, room, turn, answer),
            )
            .await;
            if let Some(Err(error)) = served {
                log::debug!("admin: a connection: {error}");
            }
        });
        seat.occupy(task.abort_handle());
    }

    /// Cuts who takes an answer too slowly, for as long as lb runs.
    pub(super) async fn cut_late(&self) -> Infallible {
        let mut looks = tokio::time::interval(LATE_EVERY);
        looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            looks.tick().await;
            self.seats.end_late(Clock::now());
        }
    }
}

/// One connection, to its end. When somebody else answers at the port, the answer under way is its last.
async fn serve<S, H, F>(
    stream: S,
    place: Place,
    room: Rc<Room>,
    mut turn: watch::Receiver<Turn>,
    answer: H,
) -> hyper::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
    H: Fn(Request<Incoming>) -> F + 'static,
    F: Future<Output = Answer> + 'static,
{
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(WRITE_MAX));
    let service = service_fn(|request: Request<Incoming>| {
        let (seat, room) = (Rc::clone(&place.seat), Rc::clone(&room));
        let now = Clock::now();
        let is_whole = request.body().is_end_stream();
        let answer = answer(request);
        async move {
            seat.used_for
                .set(if is_whole { Use::Answer(now) } else { Use::Asking(now) });
            Ok::<_, Infallible>(outgoing::send(answer.await, &seat, &room))
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_MAX)
        .max_headers(HEAD_LINES_MAX)
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(Box::pin(stream)), service);
    let mut connection = pin!(connection);
    tokio::select! {
        served = connection.as_mut() => return served,
        () = given_away(&mut turn) => connection.as_mut().graceful_shutdown(),
    }
    connection.await
}

/// Takes connections for as long as lb runs, whenever it is its turn.
pub(super) async fn accept(listening: Listening, port: &Port, state: Rc<State>) -> Infallible {
    let mut turn = port.turn.clone();
    let answer_to = |source| {
        let state = Rc::clone(&state);
        move |request| handle(Rc::clone(&state), source, request)
    };
    loop {
        tokio::select! {
            () = given_away(&mut turn) => given_back(&mut turn).await,
            taken = listening.take() => match taken {
                Ok(Taken::Tcp(stream, ip)) => port.begin(stream, answer_to(Source::Ip(ip))),
                Ok(Taken::Unix(stream)) => port.begin(stream, answer_to(Source::Unix)),
                Err(error) => pause(&error).await,
            },
        }
    }
}

async fn pause(error: &io::Error) {
    log::debug!("admin: can't accept: {error}");
    let pause = tokio::time::timeout(SHORTAGE_PAUSE, std::future::pending::<Infallible>()).await;
    debug_assert!(pause.is_err());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::answer::whole;
    use hyper::StatusCode;
    use std::sync::atomic::Ordering::Relaxed;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

    const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";

    /// With one seat.
    fn port(counters: Arc<ProcessCounters>) -> Port {
        Port::new(1, counters, watch::channel(Turn::Ours).1)
    }

    /// Runs it on a loop as the thread has one, with a deadline.
    fn on_a_loop(test: impl Future<Output = ()>) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .unwrap();
        let outcome = async { tokio::time::timeout(Duration::from_secs(20), test).await };
        tokio::task::LocalSet::new().block_on(&runtime, outcome).unwrap();
    }

    fn connect<F: Future<Output = Answer> + 'static>(port: &Port, answer: fn() -> F) -> DuplexStream {
        let (near, far) = tokio::io::duplex(1024);
        port.begin(near, move |_| answer());
        far
    }

    async fn ask(mut stream: DuplexStream) -> Vec<u8> {
        drop(stream.write_all(REQUEST).await); // it may have been turned away already
        let mut said = Vec::new();
        stream.read_to_end(&mut said).await.unwrap();
        said
    }

    #[test]
    fn a_panic_costs_one_connection_and_is_counted_and_its_seat_is_free_again() {
        let counters = Arc::new(ProcessCounters::default());
        let port = port(Arc::clone(&counters));
        on_a_loop(async {
            let said = ask(connect(&port, || async { panic!("injected") })).await;
            assert_eq!((said.len(), counters.panics.load(Relaxed)), (0, 1));
            let said = ask(connect(&port, || async { whole(StatusCode::OK, "text/plain", "x") })).await;
            assert!(said.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&said));
            assert_eq!(counters.panics.load(Relaxed), 1);
        });
    }

    #[test]
    fn a_connection_that_has_not_taken_its_answer_keeps_its_seat() {
        let port = port(Arc::default());
        let large = || async { whole(StatusCode::OK, "text/plain", vec![b'x'; 1 << 20]) };
        on_a_loop(async {
            let mut first = connect(&port, large);
            first.write_all(REQUEST).await.unwrap();
            let mut start = [0; 12];
            first.read_exact(&mut start).await.unwrap();
            assert!(ask(connect(&port, large)).await.is_empty(), "the seat is taken");
            let mut rest = Vec::new();
            first.read_to_end(&mut rest).await.unwrap();
            assert!(rest.len() > 1 << 20);
            assert!(ask(connect(&port, large)).await.len() > 1 << 20);
        });
    }
}

//! The admin thread's loop: connections taken, served, and cut when they are slow.

use std::convert::Infallible;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio_io_timeout::TimeoutStream;

use super::answer::Content;
use super::fence::Source;
use super::handle::handle;
use super::listen::Door;
use super::seats::Seats;
use super::state::State;
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

/// Takes connections for as long as lb runs.
pub(super) async fn accept(door: Door, seats: Rc<Seats>, state: Rc<State>) -> io::Result<Infallible> {
    match door {
        Door::Tcp(listener) => {
            let listener = TcpListener::from_std(listener)?;
            loop {
                match listener.accept().await {
                    Ok((stream, address)) => {
                        let source = Source::Ip(address.ip().to_canonical());
                        begin(stream, source, &seats, &state);
                    }
                    Err(error) => pause(&error).await,
                }
            }
        }
        Door::Unix(listener, _) => {
            let listener = UnixListener::from_std(listener)?;
            loop {
                match listener.accept().await {
                    Ok((stream, _)) => begin(stream, Source::Unix, &seats, &state),
                    Err(error) => pause(&error).await,
                }
            }
        }
    }
}

async fn pause(error: &io::Error) {
    log::debug!("admin: can't accept: {error}");
    let pause = tokio::time::timeout(SHORTAGE_PAUSE, std::future::pending::<Infallible>()).await;
    debug_assert!(pause.is_err());
}

fn begin<S>(stream: S, source: Source, seats: &Rc<Seats>, state: &Rc<State>)
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
{
    // Everybody there is being answered: who comes now is turned away by closing.
    let Some(seat) = seats.take(Clock::now()) else { return };
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(WRITE_MAX));
    let (state, seats, occupied) = (Rc::clone(state), Rc::clone(seats), Rc::clone(&seat));
    let task = tokio::task::spawn_local(async move {
        let service = service_fn(|request| {
            let (state, seat) = (Rc::clone(&state), Rc::clone(&occupied));
            async move {
                seat.idle_since.set(None);
                let answer = handle(state, source, request).await;
                // A stream goes on for as long as its listener wants.
                if matches!(answer.body(), Content::Whole(_)) {
                    seat.idle_since.set(Some(Clock::now()));
                }
                Ok::<_, Infallible>(answer)
            }
        });
        let served = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_MAX)
            .max_headers(HEAD_LINES_MAX)
            .max_buf_size(HEAD_BYTES_MAX)
            .serve_connection(TokioIo::new(Box::pin(stream)), service)
            .await;
        if let Err(error) = served {
            log::debug!("admin: a connection from {source:?}: {error}");
        }
        seats.leave(&occupied);
    });
    seat.occupy(task.abort_handle());
}

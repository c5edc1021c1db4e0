//! A plain HTTP exchange with the one address of a source: bounded in bytes and time by who asks. Called by `http` and `etcd`.
//!
//! May not: follow a redirect, look a name up, or speak to any other address.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::pin;
use std::time::Duration;

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::{Request, Response, header};
use hyper_util::rt::TokioIo;
#[cfg(not(fuzzing))]
use socket2::{SockRef, TcpKeepalive};
#[cfg(not(fuzzing))]
use tokio::net::TcpStream;

#[cfg(fuzzing)]
use super::fuzzing::connect;

/// Bytes of an answer: 50,000 backends of 150 bytes fit, as in a file.
pub(super) const ANSWER_BYTES_MAX: usize = 8 << 20;
/// A peer whose machine is gone is noticed within three of these.
#[cfg(not(fuzzing))]
const KEEPALIVE_EVERY: Duration = Duration::from_secs(10);

/// A request; its address becomes the `Host`.
pub(super) fn request(method: &str, address: SocketAddr, path: &str) -> hyper::http::request::Builder {
    Request::builder()
        .method(method)
        .uri(path)
        .header(header::HOST, address.to_string())
        .header(header::ACCEPT, "application/json")
        .header(header::USER_AGENT, concat!("lb/", env!("CARGO_PKG_VERSION")))
}

/// Asks, and lets `read` have the answer while the connection lives: it goes when `read` is done, or nobody waits for it any more.
///
/// # Errors
/// Nobody answers, or not with HTTP; or what `read` says.
pub(super) async fn exchange<T>(
    address: SocketAddr,
    request: Request<Full<Bytes>>,
    read: impl AsyncFnOnce(Response<Incoming>) -> Result<T, String>,
) -> Result<T, String> {
    let failed = |error: &dyn std::fmt::Display| format!("{address}: {error}");
    let stream = connect(address).await.map_err(|error| failed(&error))?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| failed(&error))?;
    let mut connection = pin!(connection);
    let mut exchanged = pin!(async {
        let answer = sender.send_request(request).await.map_err(|error| failed(&error))?;
        read(answer).await
    });
    let mut is_over = false;
    // The connection moves the bytes while the answer is waited for. Once it is over, what it has brought can still be read.
    poll_fn(|context| {
        if !is_over && let std::task::Poll::Ready(ended) = connection.as_mut().poll(context) {
            is_over = true;
            if let Err(error) = ended {
                log::debug!("discovery: {address}: {error}");
            }
        }
        exchanged.as_mut().poll(context)
    })
    .await
}

#[cfg(not(fuzzing))]
async fn connect(address: SocketAddr) -> std::io::Result<TcpStream> {
    let stream = TcpStream::connect(address).await?;
    let keepalive = TcpKeepalive::new()
        .with_time(KEEPALIVE_EVERY)
        .with_interval(KEEPALIVE_EVERY)
        .with_retries(2);
    if let Err(error) = SockRef::from(&stream).set_tcp_keepalive(&keepalive) {
        log::debug!("discovery: {address}: {error}");
    }
    Ok(stream)
}

/// The whole body.
///
/// # Errors
/// It is too long, or breaks off.
pub(super) async fn body(answer: Response<Incoming>) -> Result<Bytes, String> {
    let collected = Limited::new(answer.into_body(), ANSWER_BYTES_MAX).collect().await;
    collected.map(http_body_util::Collected::to_bytes).map_err(|error| {
        if error.is::<http_body_util::LengthLimitError>() {
            format!("an answer of more than {} MiB", ANSWER_BYTES_MAX >> 20)
        } else {
            format!("the answer breaks off: {error}")
        }
    })
}

/// What `work` comes to, if it does so in time.
///
/// # Errors
/// It doesn't, or what `work` says.
pub(super) async fn in_time<T>(limit: Duration, work: impl Future<Output = Result<T, String>>) -> Result<T, String> {
    match tokio::time::timeout(limit, work).await {
        Ok(outcome) => outcome,
        Err(_) => Err(format!("no answer within {}", humantime::format_duration(limit))),
    }
}

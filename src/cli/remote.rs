//! The admin API of a running lb, asked one call at a time: a blocking face on an HTTP/1.1 client.
//!
//! Called by `commands` and by the thread of `top` that asks. A call has its own connection, so that none is held over a pause.
//! May not: take longer than [`PATIENCE`] for a call, whatever the other side does, or hold more of an answer than [`ANSWER_BYTES_MAX`].

use std::future::{Future, poll_fn};
use std::io;
use std::pin::pin;
use std::time::Duration;

use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST, HeaderValue};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::runtime::{Builder, Runtime};
use tokio::time::{Instant, timeout_at};

use super::failure::Failure;
use super::place::{Place, authorization};
use super::text::reason;
use super::typed::RemoteFlags;
use crate::api::Problem;

/// For a call in all, from the look-up of a name to the last byte of the answer. lb itself may take five seconds for one.
const PATIENCE: Duration = Duration::from_millis(5_800);
/// 100,000 backends of 600 bytes fit.
const ANSWER_BYTES_MAX: usize = 64 << 20;

/// A running lb.
pub(super) struct Remote {
    place: Place,
    authorization: Option<HeaderValue>,
    patience: Duration,
    /// An option for [`Drop`] alone.
    runtime: Option<Runtime>,
}

/// What lb said to a call that it did.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    /// As it came.
    body: String,
    place: Place,
}

impl Answer {
    /// The answer as JSON, written by `json`, that has nothing for what is none.
    ///
    /// # Errors
    /// It is no JSON.
    pub(super) fn json(&self, json: impl FnOnce(&str) -> Option<String>) -> Result<String, Failure> {
        json(&self.body).ok_or_else(|| strange(&self.place, self.status, "no JSON"))
    }

    /// The answer as a value.
    ///
    /// # Errors
    /// It is no such value.
    pub(super) fn read<T: DeserializeOwned>(&self) -> Result<T, Failure> {
        serde_json::from_str(&self.body).map_err(|error| strange(&self.place, self.status, &error.to_string()))
    }
}

impl Remote {
    /// Nothing is sent yet.
    ///
    /// # Errors
    /// A flag has a value that can't be used.
    pub(super) fn new(flags: &RemoteFlags) -> Result<Self, Failure> {
        let place = Place::parse(&flags.admin)?;
        let authorization = authorization(flags.token_file.as_deref().unwrap_or_default())?;
        let runtime = Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(Failure::Output)?;
        Ok(Self {
            place,
            authorization,
            patience: PATIENCE,
            runtime: Some(runtime),
        })
    }

    /// Reads what is at a path.
    pub(super) fn get(&self, path: &str) -> Result<Answer, Failure> {
        self.call(Method::GET, path, None)
    }

    /// Adds something.
    pub(super) fn post(&self, path: &str, body: &impl Serialize) -> Result<Answer, Failure> {
        self.call(Method::POST, path, Some(json(body)?))
    }

    /// Asks for something to be done.
    pub(super) fn order(&self, path: &str) -> Result<Answer, Failure> {
        self.call(Method::POST, path, None)
    }

    /// Changes something.
    pub(super) fn patch(&self, path: &str, body: &impl Serialize) -> Result<Answer, Failure> {
        self.call(Method::PATCH, path, Some(json(body)?))
    }

    /// Removes something.
    pub(super) fn delete(&self, path: &str) -> Result<Answer, Failure> {
        self.call(Method::DELETE, path, None)
    }

    fn call(&self, method: Method, path: &str, body: Option<Bytes>) -> Result<Answer, Failure> {
        let is_reading = method == Method::GET;
        let request = self.request(method, path, body)?;
        let Some(runtime) = &self.runtime else {
            return Err(Failure::Output(io::Error::other("the client has ended")));
        };
        let (status, body) = runtime.block_on(async {
            let deadline = Instant::now().checked_add(self.patience).unwrap_or_else(Instant::now);
            let reached = timeout_at(deadline, connect(&self.place)).await;
            let stream = match reached {
                Err(_) => return Err(self.unreachable("no answer to the connect")),
                Ok(Err(error)) => return Err(self.unreachable(&reason(&error))),
                Ok(Ok(stream)) => stream,
            };
            match timeout_at(deadline, exchange(stream, request)).await {
                Err(_) => Err(self.silent(is_reading)),
                Ok(Err(broken)) => Err(self.broken(&broken, is_reading)),
                Ok(Ok(answer)) => Ok(answer),
            }
        })?;
        self.judged(status, body)
    }

    fn request(&self, method: Method, path: &str, body: Option<Bytes>) -> Result<Request<Full<Bytes>>, Failure> {
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, self.place.host())
            .header(ACCEPT, "application/json");
        if let Some(authorization) = &self.authorization {
            request = request.header(AUTHORIZATION, authorization);
        }
        if body.is_some() {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        let unusable = |error: hyper::http::Error| Failure::Usage(format!("{path} can't be asked for: {error}"));
        request.body(Full::new(body.unwrap_or_default())).map_err(unusable)
    }

    fn judged(&self, status: StatusCode, body: Bytes) -> Result<Answer, Failure> {
        let place = &self.place;
        let Ok(body) = String::from_utf8(body.into()) else {
            return Err(strange(place, status, "not UTF-8"));
        };
        if status.is_success() {
            let place = place.clone();
            return Ok(Answer { status, body, place });
        }
        let Ok(problem) = serde_json::from_str::<Problem>(&body) else {
            return Err(strange(place, status, "no error of its kind"));
        };
        let message = problem.error.message;
        let needs_token = status == StatusCode::UNAUTHORIZED && self.authorization.is_none();
        let hint = if needs_token {
            "; name a file that holds one with --token-file or LB_TOKEN_FILE"
        } else {
            ""
        };
        let said = format!("{message}{hint}");
        Err(Failure::Refused {
            said,
            details: problem.error.details,
        })
    }

    fn unreachable(&self, why: &str) -> Failure {
        Failure::Unreachable(format!(
            "no lb at {}: {why}; start it, or name the [admin] listen of its lb.toml with --admin or LB_ADMIN",
            self.place
        ))
    }

    fn silent(&self, is_reading: bool) -> Failure {
        let doubt = doubt(is_reading);
        let patience = self.patience.as_secs_f64();
        Failure::Unreachable(format!(
            "{} took the connection, but gave no whole answer within {patience} s{doubt}; is it lb's [admin] listen?",
            self.place
        ))
    }

    fn broken(&self, broken: &Broken, is_reading: bool) -> Failure {
        let doubt = doubt(is_reading);
        let why = match broken {
            Broken::Http(error) => error.to_string(),
            Broken::TooLong => format!("more than {} MiB", ANSWER_BYTES_MAX >> 20),
        };
        Failure::Unreachable(format!(
            "what listens at {} gave no answer as lb does ({why}){doubt}; is it lb's [admin] listen?",
            self.place
        ))
    }
}

impl Drop for Remote {
    fn drop(&mut self) {
        // A name that is still being looked up, on a thread of the runtime, holds up no end.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// Why an exchange came to no end.
enum Broken {
    Http(hyper::Error),
    TooLong,
}

impl From<hyper::Error> for Broken {
    fn from(error: hyper::Error) -> Self {
        Self::Http(error)
    }
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

async fn connect(place: &Place) -> io::Result<Box<dyn Stream>> {
    Ok(match place {
        Place::Tcp(address) => Box::new(TcpStream::connect(address.as_str()).await?),
        Place::Unix(path) => Box::new(UnixStream::connect(path).await?),
    })
}

async fn exchange(stream: Box<dyn Stream>, request: Request<Full<Bytes>>) -> Result<(StatusCode, Bytes), Broken> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let mut talk = pin!(async {
        let answer = sender.send_request(request).await?;
        let status = answer.status();
        let body = Limited::new(answer.into_body(), ANSWER_BYTES_MAX).collect().await;
        body.map(|body| (status, body.to_bytes())).map_err(broken_body)
    });
    // The connection runs beside the talk over it, and is closed with it: as a task of its own it would outlive a deadline.
    // What it fails with, the talk tells.
    let mut connection = pin!(connection);
    let mut is_over = false;
    poll_fn(|context| {
        is_over = is_over || connection.as_mut().poll(context).is_ready();
        talk.as_mut().poll(context)
    })
    .await
}

fn broken_body(error: Box<dyn std::error::Error + Send + Sync>) -> Broken {
    match error.downcast::<hyper::Error>() {
        Ok(error) => Broken::Http(*error),
        // The only other error of a limited body.
        Err(other) => {
            debug_assert!(other.is::<LengthLimitError>());
            Broken::TooLong
        }
    }
}

fn json(body: &impl Serialize) -> Result<Bytes, Failure> {
    let text = serde_json::to_vec(body).map_err(|error| Failure::Output(error.into()))?;
    Ok(text.into())
}

/// Where a change may have been made all the same, it is said.
fn doubt(is_reading: bool) -> &'static str {
    if is_reading {
        ""
    } else {
        ", and may have done it all the same"
    }
}

fn strange(place: &Place, status: StatusCode, why: &str) -> Failure {
    Failure::Unreachable(format!(
        "what listens at {place} answers {status}, but not as this lb's admin API does ({why}); is it lb's [admin] listen, and of this version?"
    ))
}

/// `/a/b?c=d`: each part of the path and each value as RFC 3986 wants it; what has no value is left out.
pub(super) fn path(parts: &[&str], query: &[(&str, Option<&str>)]) -> String {
    let mut path = String::new();
    for part in parts {
        path.push('/');
        encode(part, &mut path);
    }
    let mut mark = '?';
    for (name, value) in query {
        if let Some(value) = value {
            path.push(mark);
            path.push_str(name);
            path.push('=');
            encode(value, &mut path);
            mark = '&';
        }
    }
    path
}

fn encode(text: &str, path: &mut String) {
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => path.push(char::from(byte)),
            _ => path.push_str(&format!("%{byte:02X}")),
        }
    }
}

#[cfg(test)]
mod tests;

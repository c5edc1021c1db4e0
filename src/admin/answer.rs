//! Answers: JSON, text, streams and failures, each with the headers that keep a browser from doing more with it than it should.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::body::{Body, Bytes, Frame, SizeHint};
use hyper::header::{self, HeaderValue};
use hyper::{Response, StatusCode};
use serde::Serialize;

use super::hub::Events;
use super::tokens::Role;
use crate::api;

/// What a page of ours may do: run our own scripts and ask us. Nothing inline, nothing from elsewhere, in nobody's frame.
const CONTENT_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; connect-src 'self'; \
                              frame-ancestors 'none'; base-uri 'none'; form-action 'none'";

/// The body of an answer.
pub(super) enum Content {
    /// What is left of it. It goes piece by piece: hyper asks for the next when most of the one before has been written.
    Whole(Bytes),
    /// As it comes; ends when the sender is dropped.
    Stream(Events),
}

/// The size of a piece.
const PIECE_BYTES: usize = 64 << 10;

impl Content {
    /// Bytes that wait to be taken.
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Whole(rest) => rest.len(),
            Self::Stream(_) => 0,
        }
    }
}

pub(super) type Answer = Response<Content>;

impl Body for Content {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match &mut *self {
            Self::Whole(rest) if rest.is_empty() => Poll::Ready(None),
            Self::Whole(rest) => {
                let piece = rest.split_to(PIECE_BYTES.min(rest.len()));
                Poll::Ready(Some(Ok(Frame::data(piece))))
            }
            Self::Stream(events) => events
                .poll_next(context)
                .map(|bytes| bytes.map(|bytes| Ok(Frame::data(bytes)))),
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Self::Whole(rest) if rest.is_empty())
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(rest) => SizeHint::with_exact(u64::try_from(rest.len()).unwrap_or(u64::MAX)),
            Self::Stream(_) => SizeHint::default(),
        }
    }
}

/// Why a request isn't answered as it wished.
#[derive(Debug)]
pub(super) struct Failure {
    status: StatusCode,
    code: &'static str,
    message: String,
    details: Vec<String>,
    header: Option<Box<(header::HeaderName, HeaderValue)>>,
}

impl Failure {
    pub(super) fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self {
            status,
            code,
            message: message.into(),
            details: Vec::new(),
            header: None,
        }
    }

    pub(super) fn unauthorized(message: impl Into<String>) -> Self {
        let scheme = HeaderValue::from_static("Bearer");
        Self {
            header: Some(Box::new((header::WWW_AUTHENTICATE, scheme))),
            ..Self::new(StatusCode::UNAUTHORIZED, "unauthorized", message)
        }
    }

    pub(super) fn with_details(self, details: Vec<String>) -> Self {
        Self { details, ..self }
    }

    pub(super) fn retry_after(mut self, span: Duration) -> Self {
        self.header = Some(Box::new((header::RETRY_AFTER, span.as_secs().into())));
        self
    }

    pub(super) fn allow(mut self, methods: &str) -> Self {
        self.header = HeaderValue::from_str(methods)
            .ok()
            .map(|methods| Box::new((header::ALLOW, methods)));
        self
    }

    #[cfg(test)]
    pub(super) fn status(&self) -> StatusCode {
        self.status
    }

    pub(super) fn into_answer(self) -> Answer {
        let problem = api::Problem {
            error: api::ProblemDetail {
                code: self.code.to_owned(),
                message: self.message,
                details: self.details,
            },
        };
        let mut answer = json(self.status, &problem);
        if let Some((name, value)) = self.header.map(|header| *header) {
            answer.headers_mut().insert(name, value);
        }
        answer
    }
}

/// Not now.
pub(super) fn busy(message: &str) -> Failure {
    Failure::new(StatusCode::SERVICE_UNAVAILABLE, "busy", message).retry_after(Duration::from_secs(1))
}

/// JSON.
pub(super) fn json<T: Serialize>(status: StatusCode, value: &T) -> Answer {
    match serde_json::to_vec(value) {
        Ok(bytes) => whole(status, "application/json", bytes),
        Err(error) => {
            log::error!("admin: an answer can't be told as JSON: {error}");
            whole(StatusCode::INTERNAL_SERVER_ERROR, "application/json", Bytes::new())
        }
    }
}

/// Bytes of this type.
pub(super) fn whole(status: StatusCode, content_type: &'static str, bytes: impl Into<Bytes>) -> Answer {
    answer(status, content_type, Content::Whole(bytes.into()))
}

/// Server-sent events.
pub(super) fn stream(events: Events) -> Answer {
    answer(StatusCode::OK, "text/event-stream", Content::Stream(events))
}

fn answer(status: StatusCode, content_type: &'static str, content: Content) -> Answer {
    let mut answer = Response::new(content);
    *answer.status_mut() = status;
    for (name, value) in [
        (header::CONTENT_TYPE, content_type),
        (header::CONTENT_SECURITY_POLICY, CONTENT_POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-store"),
        (
            header::HeaderName::from_static("cross-origin-resource-policy"),
            "same-origin",
        ),
        (
            header::HeaderName::from_static("cross-origin-opener-policy"),
            "same-origin",
        ),
    ] {
        answer.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    answer
}

/// Tells the asker what it may do.
pub(super) fn tell_role(answer: &mut Answer, role: Role) {
    let name = header::HeaderName::from_static("lb-role");
    answer
        .headers_mut()
        .insert(name, HeaderValue::from_static(role.as_str()));
}

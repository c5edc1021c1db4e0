//! A list of backends on a page of JSON: asked again and again, told only when it is another (`ETag`, RFC 9110, 8.8.3 and 13.1.2).

use std::convert::Infallible;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{ETAG, HeaderValue, IF_NONE_MATCH, LOCATION};
use hyper::{Response, StatusCode};
use tokio::sync::Semaphore;

use super::follow::{Tell, Word};
use super::{entries, pass, web};
use crate::types::HttpUrl;

/// Several balancers that were started at once don't ask at once for ever.
const JITTER: f64 = 0.1;

/// What to ask, and how.
#[derive(Clone, Copy)]
pub(super) struct Page<'a> {
    pub(super) url: &'a HttpUrl,
    pub(super) interval: Duration,
    pub(super) timeout: Duration,
}

/// Tells what the page says, from the start and at each look.
pub(super) async fn follow(page: Page<'_>, questions: &Semaphore, tell: &Tell) -> Infallible {
    let mut etag = None;
    loop {
        let word = {
            let turn = questions.acquire().await; // never closed
            let word = web::in_time(page.timeout, look(page.url, &mut etag)).await;
            drop(turn);
            word.unwrap_or_else(|reason| {
                Word::Failed(format!("http://{}{}: {reason}", page.url.address, page.url.path))
            })
        };
        drop(tell.send(word).await); // without a follower this ends with it
        pass(page.interval.mul_f64(1.0 - JITTER * fastrand::f64())).await;
    }
}

/// One look; `etag` is of the last answer that was understood.
pub(super) async fn look(url: &HttpUrl, etag: &mut Option<HeaderValue>) -> Result<Word, String> {
    let mut request = web::request("GET", url.address, &url.path);
    if let Some(etag) = etag.as_ref() {
        request = request.header(IF_NONE_MATCH, etag);
    }
    let request = request
        .header(hyper::header::CONNECTION, "close")
        .body(Full::<Bytes>::default())
        .map_err(|error| error.to_string())?;
    let is_asked_for_news = etag.is_some();
    let (word, new) = web::exchange(url.address, request, async |answer: Response<_>| {
        match answer.status() {
            StatusCode::OK => {
                let new = answer.headers().get(ETAG).cloned();
                let bytes = web::body(answer).await?;
                Ok((Word::Answer(entries::of_json(&bytes)?), new))
            }
            StatusCode::NOT_MODIFIED if is_asked_for_news => Ok((Word::Same, None)),
            status if status.is_redirection() && answer.headers().contains_key(LOCATION) => {
                Err(format!("{status}; redirects aren't followed"))
            }
            status => Err(format!("{status}, wanted 200")),
        }
    })
    .await?;
    if matches!(word, Word::Answer(_)) {
        *etag = new;
    }
    Ok(word)
}

//! The dashboard's files. TEMP until they land.

use hyper::{HeaderMap, StatusCode};

use super::answer::{Answer, Failure};

pub(super) fn page() -> Result<Answer, Failure> {
    Err(Failure::new(StatusCode::NOT_FOUND, "unknown_path", "no dashboard yet"))
}

pub(super) fn file(_name: &str, _headers: &HeaderMap) -> Result<Answer, Failure> {
    page()
}

//! The dashboard's files: in the program, so that it runs without them beside it.
//!
//! `handle.rs` asks for them by name. They are plain files in `dashboard/`, as a browser reads them; what each is for stands in its
//! first lines, `main.js` puts them together.
//!
//! May not: put a name, a figure or a token into a page. The page asks for those by the API.

use hyper::header::{self, HeaderValue};
use hyper::{HeaderMap, StatusCode};

use super::answer::{self, Answer, Failure};
use super::charts;

/// Where the page finds the script of its pictures.
const CHARTS: &str = "plotly.js";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const PAGE: &str = include_str!("dashboard/index.html");

macro_rules! files {
    ($($name:literal),* $(,)?) => {
        &[$(($name, include_str!(concat!("dashboard/", $name)))),*]
    };
}

/// What `/assets/` has besides the script of the pictures.
static FILES: &[(&str, &str)] = files![
    "actions.js",
    "api.js",
    "card.js",
    "changes.js",
    "charts.js",
    "colours.js",
    "dom.js",
    "format.js",
    "head.js",
    "live.js",
    "main.js",
    "row.js",
    "scaling-chart.js",
    "scaling.js",
    "series.js",
    "services.js",
    "sse.js",
    "store.js",
    "style.css",
    "table.js",
    "theme.js",
    "token.js",
    "traces.js",
];

/// The page.
pub(super) fn page() -> Answer {
    answer::whole(StatusCode::OK, "text/html; charset=utf-8", PAGE)
}

/// A file that the page asks for. A browser that has it already is told so.
///
/// # Errors
/// There is none of that name.
pub(super) fn file(name: &str, headers: &HeaderMap) -> Result<Answer, Failure> {
    let known = FILES.iter().find(|(known, _)| *known == name).map(|(_, text)| *text);
    let text = known.or_else(|| (name == CHARTS).then(charts::script)).ok_or_else(|| {
        let message = format!("the dashboard has no file {}", name.escape_debug());
        Failure::new(StatusCode::NOT_FOUND, "unknown_path", message)
    })?;
    let tag = format!("\"{:016x}\"", twox_hash::XxHash3_64::oneshot(text.as_bytes()));
    let kind = if name.ends_with(".css") {
        "text/css; charset=utf-8"
    } else {
        SCRIPT
    };
    let is_known = headers
        .get(header::IF_NONE_MATCH)
        .is_some_and(|known| known.as_bytes() == tag.as_bytes());
    let mut answer = match is_known {
        true => answer::whole(StatusCode::NOT_MODIFIED, kind, ""),
        false => answer::whole(StatusCode::OK, kind, text),
    };
    // Kept, and asked for again each time: a new lb may have another.
    answer
        .headers_mut()
        .insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        answer.headers_mut().insert(header::ETAG, tag);
    }
    Ok(answer)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn status(name: &str, headers: &HeaderMap) -> u16 {
        file(name, headers).map_or_else(|failure| failure.status().as_u16(), |answer| answer.status().as_u16())
    }

    #[test]
    fn every_file_of_the_folder_is_served_and_no_other() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/admin/dashboard");
        let names = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let there: BTreeSet<String> = names.filter(|name| name != "index.html").collect();
        let served: BTreeSet<String> = FILES.iter().map(|(name, _)| (*name).to_owned()).collect();
        assert_eq!(served, there);
        for name in served.iter().map(String::as_str).chain([CHARTS]) {
            assert_eq!(status(name, &HeaderMap::new()), 200, "{name}");
        }
        for name in ["", "index.html", "../mod.rs", "main.js/", "MAIN.JS"] {
            assert_eq!(status(name, &HeaderMap::new()), 404, "{name}");
        }
    }

    #[test]
    fn whatever_a_file_refers_to_is_served() {
        let mut references = 0;
        for (name, text) in FILES.iter().chain([&("index.html", PAGE)]) {
            for (mark, end) in [("from \"./", '"'), ("\"/assets/", '"')] {
                for rest in text.split(mark).skip(1) {
                    let (reference, _) = rest.split_once(end).unwrap();
                    assert_eq!(
                        status(reference, &HeaderMap::new()),
                        200,
                        "{name} refers to {reference}"
                    );
                    references += 1;
                }
            }
        }
        assert!(references > 30, "{references} references were found");
    }

    #[test]
    fn no_file_makes_html_of_text_or_needs_more_than_the_content_policy_allows() {
        const BANNED: [&str; 11] = [
            "innerHTML",
            "outerHTML",
            "insertAdjacentHTML",
            "document.write",
            "DOMParser",
            "eval(",
            "new Function",
            "style=\"",
            "<style>",
            "setAttribute(\"style\"",
            " onclick=",
        ];
        for (name, text) in FILES.iter().chain([&("index.html", PAGE)]) {
            for banned in BANNED {
                assert!(!text.contains(banned), "{name}: {banned}");
            }
            assert!(text.lines().count() < 400, "{name} is of more than one idea");
        }
    }

    #[test]
    fn a_browser_that_has_a_file_is_told_so() {
        let first = file("main.js", &HeaderMap::new()).unwrap();
        let tag = first.headers().get(header::ETAG).unwrap().clone();
        let again = HeaderMap::from_iter([(header::IF_NONE_MATCH, tag)]);
        assert_eq!(status("main.js", &again), 304);
        assert_eq!(status("head.js", &again), 200);
    }
}

//! Any answer of a source: no panic, an end, and what is taken is only what may be taken.
//!
//! The first byte of an input says who answers: a page over HTTP, an etcd, a file, or a DNS server; of the first two the whole answer of HTTP, or
//! only its body. What a second connection is told stands behind the first line `---`.
#![no_main]

use lb::config::{self, Backend, Listed};
use lb::elastic::discovery::fuzzing::{dns, etcd, json, page, text, toml};
use libfuzzer_sys::fuzz_target;

const HEAD: &[u8] = b"HTTP/1.1 200 OK\r\netag: \"1\"\r\nconnection: close\r\n\r\n";
const CUT: &[u8] = b"\n---\n";

fuzz_target!(|bytes: &[u8]| {
    let Some((kind, bytes)) = bytes.split_first() else {
        return;
    };
    match kind % 8 {
        0 => check_all(page(cut(bytes, b"").each_ref().map(Vec::as_slice))),
        1 => check_all(page(cut(bytes, HEAD).each_ref().map(Vec::as_slice))),
        2 => check_all(etcd(cut(bytes, b"").each_ref().map(Vec::as_slice))),
        3 => check_all(etcd(cut(bytes, HEAD).each_ref().map(Vec::as_slice))),
        4 => check(toml(bytes)),
        5 => check(json(bytes)),
        6 => check(text(bytes).map(|listed| vec![listed])),
        _ => check_backends(dns(bytes)),
    }
});

/// Two answers, each behind `head`.
fn cut(bytes: &[u8], head: &[u8]) -> [Vec<u8>; 2] {
    let at = bytes.windows(CUT.len()).position(|window| window == CUT);
    let (first, second) = at.map_or((bytes, bytes), |at| (&bytes[..at], &bytes[at + CUT.len()..]));
    [first, second].map(|body| [head, body].concat())
}

fn check_all(answers: impl IntoIterator<Item = Result<Option<Vec<Listed>>, String>>) {
    for answer in answers {
        check(answer.map(Option::unwrap_or_default));
    }
}

fn check(answer: Result<Vec<Listed>, String>) {
    match answer {
        Ok(list) => {
            for listed in list {
                assert!(
                    listed.name.as_ref().is_none_or(|name| config::check_name(name).is_ok()),
                    "{listed:?}"
                );
                assert!(listed.address.port() != 0, "{listed:?}");
                assert!(listed.weight <= config::WEIGHT_MAX, "{listed:?}");
            }
        }
        Err(reason) => check_reason(&reason),
    }
}

fn check_backends(answer: Result<Vec<Backend>, String>) {
    match answer {
        Ok(backends) => {
            let mut names: Vec<&str> = backends.iter().map(|backend| backend.name.as_str()).collect();
            names.sort_unstable();
            names.dedup();
            assert_eq!(names.len(), backends.len(), "each name once: {backends:?}");
            assert!(!backends.is_empty(), "nothing isn't an answer");
            for backend in &backends {
                assert!(config::check_name(&backend.name).is_ok(), "{backend:?}");
                assert!(
                    backend.address.port() != 0 && !backend.address.ip().is_unspecified(),
                    "{backend:?}"
                );
                assert!((1..=config::WEIGHT_MAX).contains(&backend.weight), "{backend:?}");
            }
        }
        Err(reason) => check_reason(&reason),
    }
}

fn check_reason(reason: &str) {
    assert!(!reason.is_empty(), "a reason");
    assert!(!reason.contains("no answer within"), "it hangs: {reason}");
    assert!(!reason.chars().any(char::is_control), "one line of text: {reason:?}");
}

//! Any bytes to the admin port: every connection is answered in HTTP and ended, and nothing is changed by who has no token, or by who
//! thinks to speak to another host.
//!
//! The first byte of an input: whether tokens are asked for. The second: what becomes of commands.
#![no_main]

use std::sync::LazyLock;

use lb::admin::fuzzing::Door;
use libfuzzer_sys::fuzz_target;

/// Of a token that nobody has: the digest of 32 bytes of /dev/urandom, which were thrown away.
const TOKENS: &str = "operate:sha256:6f3c0d3b9a5e4e0f8b1d2c7a4f5968e0c1b2a3948576d0e1f2a3b4c5d6e7f809";
/// What a listener on 127.0.0.1:8000 is known as.
const HOSTS: [&str; 3] = ["localhost:8000", "127.0.0.1:8000", "[::1]:8000"];

thread_local! {
    static DOOR: LazyLock<Door> = LazyLock::new(|| Door::open().expect("a balancer"));
}

fuzz_target!(|bytes: &[u8]| {
    let [flags, refusal, request @ ..] = bytes else { return };
    let has_tokens = flags & 1 == 1;
    let said = DOOR.with(|door| door.ask(request, has_tokens.then_some(TOKENS), *refusal));
    let said = said.expect("an end");
    if said.orders > 0 {
        assert!(!has_tokens, "changed without a token");
        let text = String::from_utf8_lossy(request).to_ascii_lowercase();
        assert!(
            HOSTS.iter().any(|host| text.contains(host)),
            "changed by who asked another host"
        );
    }
    if said.answer.is_empty() {
        return; // what isn't HTTP, or no whole request, may be hung up on
    }
    let text = String::from_utf8_lossy(&said.answer);
    let status = text.strip_prefix("HTTP/1.").and_then(|rest| rest.get(2..5));
    let status = status.unwrap_or_else(|| panic!("no answer of HTTP: {text}"));
    assert!(status != "500", "{text}");
    // hyper's own refusals have no body; ours have the headers that keep a browser from doing more with it.
    let head = text.split("\r\n\r\n").next().unwrap_or("");
    let is_hypers = matches!(status, "400" | "414" | "431") && head.contains("content-length: 0");
    assert!(
        is_hypers || status == "100" || head.contains("x-content-type-options: nosniff"),
        "{head}"
    );
});

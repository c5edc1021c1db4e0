//! Any bytes as a header of the PROXY protocol: the same answer however they are cut into segments, never past the header's own end,
//! and what is sent for two addresses is read as these two.
#![no_main]

use lb::proxy_protocol::{Header, Parsed, V1_BYTES_MAX, V2_BYTES_MAX, Version, encode, parse};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let whole = parse(bytes);
    let mut before = Ok(Parsed::Incomplete);
    for end in 0..=bytes.len() {
        let part = parse(&bytes[..end]);
        // An answer that is given stays.
        assert!(
            before == Ok(Parsed::Incomplete) || part == before,
            "{before:?}, then {part:?} at {end}"
        );
        before = part;
    }
    assert_eq!(before, whole);
    match whole {
        Ok(Parsed::Incomplete) => assert!(bytes.len() < V2_BYTES_MAX, "it waits for ever"),
        Ok(Parsed::Complete(header, length)) => {
            assert!(length <= bytes.len(), "{length} of {}", bytes.len());
            let longest = if bytes.starts_with(b"PROXY") {
                V1_BYTES_MAX
            } else {
                V2_BYTES_MAX
            };
            assert!(length <= longest, "{length}");
            if let Header::Proxied(endpoints) = header {
                for version in [Version::V1, Version::V2] {
                    let mut sent = encode(version, Some(endpoints));
                    let sent_bytes = sent.len();
                    sent.extend(bytes);
                    let read = parse(&sent);
                    assert_eq!(read, Ok(Parsed::Complete(Header::Proxied(endpoints), sent_bytes)));
                }
            }
        }
        Err(malformed) => {
            let said = malformed.to_string();
            assert!(!said.is_empty() && !said.chars().any(char::is_control), "{said:?}");
        }
    }
});

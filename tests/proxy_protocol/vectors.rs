//! The same bytes to lb and to HAProxy: who takes them for a header. Where they differ, it is written here why.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};

use lb::proxy_protocol::{Version, encode};

use super::super::common::{Backend, Balancer, PATIENCE};
use super::peers::{free_address, haproxy, has_haproxy};
use super::{CLIENT, DESTINATION, TRUSTING, config, endpoints};

/// Sent behind each header; who takes the header sends it back.
const PAYLOAD: &[u8] = b"the client's own bytes";

/// A version 2 header.
fn binary(version_and_command: u8, family: u8, block: &[u8]) -> Vec<u8> {
    let mut header = b"\r\n\r\n\0\r\nQUIT\n".to_vec();
    header.extend([version_and_command, family]);
    header.extend(u16::try_from(block.len()).unwrap().to_be_bytes());
    header.extend(block);
    header
}

fn over_tcp4(tlvs: &[u8]) -> Vec<u8> {
    binary(
        0x21,
        0x11,
        &[&[203, 0, 113, 7, 203, 0, 113, 80, 18, 103, 1, 187], tlvs].concat(),
    )
}

fn flipped(mut header: Vec<u8>, place: usize) -> Vec<u8> {
    header[place] ^= 1;
    header
}

/// What is sent, and whether a receiver by the letter of the specification takes it.
fn vectors() -> Vec<(&'static str, Vec<u8>, bool)> {
    let v2 = encode(Version::V2, Some(endpoints(CLIENT, DESTINATION)));
    let v2_over_ipv6 = encode(Version::V2, Some(endpoints("[2001:db8::7]:1", "[2001:db8::8]:2")));
    let line = |text: &str| format!("{text}\r\n").into_bytes();
    let longest = "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff";
    vec![
        ("v1 TCP4", line("PROXY TCP4 192.168.0.1 192.168.0.11 56324 443"), true),
        (
            "v1 TCP4, the longest",
            line("PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535"),
            true,
        ),
        ("v1 TCP6", line("PROXY TCP6 2001:db8::7 ::1 1 65535"), true),
        (
            "v1 TCP6, the longest",
            line(&format!("PROXY TCP6 {longest} {longest} 65535 65535")),
            true,
        ),
        ("v1 UNKNOWN", line("PROXY UNKNOWN"), true),
        (
            "v1 UNKNOWN with addresses",
            line("PROXY UNKNOWN ffff::1 ffff::2 1 2"),
            true,
        ),
        ("v1 port 65536", line("PROXY TCP4 1.1.1.1 2.2.2.2 65536 2"), false),
        (
            "v1 port with a zero in front",
            line("PROXY TCP4 1.1.1.1 2.2.2.2 01 2"),
            false,
        ),
        ("v1 port with a sign", line("PROXY TCP4 1.1.1.1 2.2.2.2 +1 2"), false),
        ("v1 without a port", line("PROXY TCP4 1.1.1.1 2.2.2.2 1"), false),
        ("v1 with a fifth field", line("PROXY TCP4 1.1.1.1 2.2.2.2 1 2 3"), false),
        ("v1 with two spaces", line("PROXY TCP4 1.1.1.1  2.2.2.2 1 2"), false),
        ("v1 octet 256", line("PROXY TCP4 1.1.1.256 2.2.2.2 1 2"), false),
        (
            "v1 octet with a zero in front",
            line("PROXY TCP4 1.1.1.01 2.2.2.2 1 2"),
            false,
        ),
        ("v1 three octets", line("PROXY TCP4 1.1.1 2.2.2.2 1 2"), false),
        ("v1 TCP4 with addresses of IPv6", line("PROXY TCP4 ::1 ::2 1 2"), false),
        (
            "v1 TCP6 with addresses of IPv4",
            line("PROXY TCP6 1.1.1.1 2.2.2.2 1 2"),
            false,
        ),
        ("v1 TCP6 with two ::", line("PROXY TCP6 ::1::2 ::2 1 2"), false),
        ("v1 UDP4", line("PROXY UDP4 1.1.1.1 2.2.2.2 1 2"), false),
        ("v1 in small letters", line("proxy tcp4 1.1.1.1 2.2.2.2 1 2"), false),
        ("v1 ended by LF", b"PROXY TCP4 1.1.1.1 2.2.2.2 1 2\n".to_vec(), false),
        ("v1 ended by CR", b"PROXY TCP4 1.1.1.1 2.2.2.2 1 2\r".to_vec(), false),
        (
            "v1 without an end",
            [b"PROXY UNKNOWN ".to_vec(), vec![b'x'; 200]].concat(),
            false,
        ),
        ("another protocol", line("GET / HTTP/1.1"), false),
        ("v2 TCP4 with a checksum", v2.clone(), true),
        ("v2 TCP6 with a checksum", v2_over_ipv6, true),
        ("v2 TCP4", over_tcp4(&[]), true),
        ("v2 wrong checksum", flipped(v2.clone(), v2.len() - 1), false),
        ("v2 other address than summed", flipped(v2.clone(), 17), false),
        ("v2 LOCAL", binary(0x20, 0, &[]), true),
        ("v2 LOCAL with NOOP", binary(0x20, 0, &[4, 0, 1, 0]), true),
        ("v2 LOCAL with a block of anything", binary(0x20, 0, &[0xff; 36]), true),
        ("v2 LOCAL with a family", binary(0x20, 0x11, &[0; 12]), true),
        ("v2 PROXY UNSPEC", binary(0x21, 0, &[]), true),
        ("v2 PROXY UDP4", binary(0x21, 0x12, &[1; 12]), true),
        ("v2 PROXY UNIX", binary(0x21, 0x31, &[0; 216]), true),
        ("v2 unknown family", binary(0x21, 0x41, &[0; 12]), false),
        ("v2 unknown transport", binary(0x21, 0x13, &[0; 12]), false),
        ("v2 TCP4 too short", binary(0x21, 0x11, &[0; 11]), false),
        ("v2 TCP6 too short", binary(0x21, 0x21, &[0; 12]), false),
        ("v2 UNIX too short", binary(0x21, 0x31, &[0; 12]), false),
        ("v2 command 2", binary(0x22, 0x11, &[0; 12]), false),
        ("v2 version 1", binary(0x11, 0x11, &[0; 12]), false),
        ("v2 version 3", binary(0x31, 0x11, &[0; 12]), false),
        ("v2 TLV of no length", over_tcp4(&[4]), false),
        ("v2 TLV past the end", over_tcp4(&[4, 0, 1]), false),
        ("v2 TLV far past the end", over_tcp4(&[4, 255, 255]), false),
        ("v2 checksum of 3 bytes", over_tcp4(&[3, 0, 3, 0, 0, 0]), false),
        ("v2 SSL too short", over_tcp4(&[0x20, 0, 1, 0]), false),
        (
            "v2 SSL with a TLV past its end",
            over_tcp4(&[0x20, 0, 8, 1, 0, 0, 0, 0, 0x21, 0, 9]),
            false,
        ),
        (
            "v2 unique id of 128 bytes",
            over_tcp4(&[&[5, 0, 128], &[7; 128][..]].concat()),
            true,
        ),
        (
            "v2 unique id of 129 bytes",
            over_tcp4(&[&[5, 0, 129], &[7; 129][..]].concat()),
            false,
        ),
        ("v2 unknown TLV", over_tcp4(&[0xee, 0, 2, 1, 2]), true),
    ]
}

/// Where HAProxy 2.6.12 decides otherwise than the table, and how.
const HAPROXYS_OWN: [(&str, &str); 11] = [
    (
        "v1 UNKNOWN with addresses",
        "wants nothing behind UNKNOWN; \"the receiver must ignore anything presented before the CRLF\"",
    ),
    ("v1 port 65536", "takes the lower 16 bits"),
    (
        "v1 port with a zero in front",
        "reads over zeroes; \"heading zeroes are not permitted\"",
    ),
    ("v1 octet 256", "takes the lower 8 bits"),
    ("v1 octet with a zero in front", "reads over zeroes"),
    ("v1 three octets", "takes what is missing for 0; \"exactly 4 integers\""),
    (
        "v2 PROXY UNSPEC",
        "looks for TLVs from the signature on where the family isn't one it uses",
    ),
    ("v2 PROXY UDP4", "the same; a receiver is free to refuse these"),
    ("v2 PROXY UNIX", "the same"),
    ("v2 SSL too short", "doesn't look into an SSL TLV"),
    ("v2 SSL with a TLV past its end", "doesn't look into an SSL TLV"),
];

/// Whether what was sent behind the header comes back.
fn is_taken(address: SocketAddr, header: &[u8]) -> bool {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(&[header, PAYLOAD].concat()).unwrap();
    // Who is refused may be reset by now.
    let finished = stream.shutdown(Shutdown::Write);
    drop(finished);
    let mut got = Vec::new();
    match stream.read_to_end(&mut got) {
        Ok(_) if got == PAYLOAD => true,
        Ok(0) => false,
        Err(error) if error.kind() == ErrorKind::ConnectionReset && got.is_empty() => false,
        outcome => panic!("{outcome:?}, {:?} came back", got.escape_ascii().to_string()),
    }
}

#[test]
fn lb_takes_what_the_specification_says() {
    let backend = Backend::echo();
    let lb = Balancer::start(&config(backend.address(), TRUSTING));
    for (name, header, is_right) in vectors() {
        assert_eq!(is_taken(lb.address(), &header), is_right, "{name}");
    }
}

#[test]
fn haproxy_takes_the_same_but_for_what_is_explained() {
    if !has_haproxy("the same headers to HAProxy") {
        return;
    }
    let (folder, address, backend) = (tempfile::tempdir().unwrap(), free_address(), Backend::echo());
    let sections = format!(
        "listen l\n  mode tcp\n  bind {address} accept-proxy\n  server echo {}\n",
        backend.address()
    );
    let _haproxy = haproxy(folder.path(), address, &sections);
    let differing: Vec<&str> = vectors()
        .into_iter()
        .filter(|(_, header, is_right)| is_taken(address, header) != *is_right)
        .map(|(name, ..)| name)
        .collect();
    let explained: Vec<&str> = HAPROXYS_OWN.iter().map(|(name, _)| *name).collect();
    assert_eq!(differing, explained);
}

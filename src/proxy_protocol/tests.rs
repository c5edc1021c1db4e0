//! Headers by the letter of the specification, and properties of all bytes.

use std::net::Ipv6Addr;

use proptest::prelude::*;

use super::v2::SIGNATURE;
use super::*;

fn endpoints(source: &str, destination: &str) -> Endpoints {
    Endpoints::new(source.parse().unwrap(), destination.parse().unwrap())
}

fn proxied(source: &str, destination: &str) -> Header {
    Header::Proxied(endpoints(source, destination))
}

/// A version 2 header of these bytes.
fn binary(version_and_command: u8, family: u8, block: &[u8]) -> Vec<u8> {
    let mut header = SIGNATURE.to_vec();
    header.extend([version_and_command, family]);
    header.extend(u16::try_from(block.len()).unwrap().to_be_bytes());
    header.extend(block);
    header
}

fn tlv(kind: u8, value: &[u8]) -> Vec<u8> {
    let mut tlv = vec![kind];
    tlv.extend(u16::try_from(value.len()).unwrap().to_be_bytes());
    tlv.extend(value);
    tlv
}

/// From 192.0.2.1:258 to 192.0.2.2:443.
const TCP4: [u8; 12] = [192, 0, 2, 1, 192, 0, 2, 2, 1, 2, 1, 187];

fn over_tcp4(tlvs: &[Vec<u8>]) -> Vec<u8> {
    binary(0x21, 0x11, &[TCP4.to_vec(), tlvs.concat()].concat())
}

/// The same with a right checksum at `place` among the TLVs.
fn with_checksum(mut tlvs: Vec<Vec<u8>>, place: usize) -> Vec<u8> {
    let at = 16 + 12 + 3 + tlvs[..place].concat().len();
    tlvs.insert(place, tlv(3, &[0; 4]));
    let mut header = over_tcp4(&tlvs);
    let checksum = crc32c::crc32c(&header).to_be_bytes();
    header[at..at + 4].copy_from_slice(&checksum);
    header
}

fn assert_complete(bytes: &[u8], header: Header) {
    let what = bytes.escape_ascii();
    assert_eq!(parse(bytes), Ok(Parsed::Complete(header, bytes.len())), "{what}");
    // Cut anywhere, the first part waits for the rest; what follows isn't looked at.
    for end in 0..bytes.len() {
        assert_eq!(parse(&bytes[..end]), Ok(Parsed::Incomplete), "{end} bytes of {what}");
    }
    let more = [bytes, b"\r\nPROXY \0"].concat();
    assert_eq!(parse(&more), Ok(Parsed::Complete(header, bytes.len())), "{what}");
}

fn assert_malformed(bytes: &[u8], fault: Malformed) {
    let what = bytes.escape_ascii();
    assert_eq!(parse(bytes), Err(fault), "{what}");
    let first = (0..=bytes.len()).find(|end| parse(&bytes[..*end]).is_err()).unwrap();
    for end in 0..=bytes.len() {
        let said = parse(&bytes[..end]);
        assert_eq!(
            said,
            if end < first {
                Ok(Parsed::Incomplete)
            } else {
                Err(fault)
            },
            "{end} bytes of {what}"
        );
    }
}

#[test]
fn lines_of_version_1_are_read() {
    let own = Header::Own;
    let longest = "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff";
    for (line, header) in [
        (
            "PROXY TCP4 192.168.0.1 192.168.0.11 56324 443".to_owned(), // the specification's example
            proxied("192.168.0.1:56324", "192.168.0.11:443"),
        ),
        (
            "PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535".to_owned(),
            proxied("255.255.255.255:65535", "255.255.255.255:65535"),
        ),
        (
            "PROXY TCP4 0.0.0.0 0.0.0.0 0 0".to_owned(),
            proxied("0.0.0.0:0", "0.0.0.0:0"),
        ),
        (
            "PROXY TCP6 2001:DB8::1 ::1 1 2".to_owned(),
            proxied("[2001:db8::1]:1", "[::1]:2"),
        ),
        (
            format!("PROXY TCP6 {longest} {longest} 65535 65535"),
            proxied(&format!("[{longest}]:65535"), &format!("[{longest}]:65535")),
        ),
        (
            "PROXY TCP6 ::ffff:192.0.2.1 ::ffff:c000:202 1 2".to_owned(),
            proxied("192.0.2.1:1", "192.0.2.2:2"),
        ),
        ("PROXY UNKNOWN".to_owned(), own),
        ("PROXY UNKNOWN ".to_owned(), own),
        (format!("PROXY UNKNOWN {longest} {longest} 65535 65535"), own),
        ("PROXY UNKNOWN \r \n \0\u{ff} TCP4".to_owned(), own),
    ] {
        assert!(line.len() <= 105, "{line}");
        assert_complete(format!("{line}\r\n").as_bytes(), header);
    }
    let whole = format!("PROXY UNKNOWN {}\r\n", "x".repeat(91));
    assert_eq!(whole.len(), V1_BYTES_MAX);
    assert_complete(whole.as_bytes(), own);
}

#[test]
fn lines_that_are_no_version_1_are_refused() {
    for (line, fault) in [
        ("GET / HTTP/1.1\r\n", Malformed::Signature),
        ("proxy TCP4 1.1.1.1 2.2.2.2 1 2\r\n", Malformed::Signature),
        (" PROXY TCP4 1.1.1.1 2.2.2.2 1 2\r\n", Malformed::Signature),
        ("PROXY\r\n", Malformed::Signature),
        ("PROXY\tTCP4 1.1.1.1 2.2.2.2 1 2\r\n", Malformed::Signature),
        ("PROXY  TCP4 1.1.1.1 2.2.2.2 1 2\r\n", Malformed::Protocol),
        ("PROXY TCP5 1.1.1.1 2.2.2.2 1 2\r\n", Malformed::Protocol),
        ("PROXY UDP4 1.1.1.1 2.2.2.2 1 2\r\n", Malformed::Protocol),
        ("PROXY tcp4 1.1.1.1 2.2.2.2 1 2\r\n", Malformed::Protocol),
        ("PROXY TCP4\r\n", Malformed::Protocol),
        ("PROXY UNKNOWNS\r\n", Malformed::Protocol),
        ("PROXY UNKNOWN\n\r\n", Malformed::Protocol),
        ("PROXY TCP4 1.1.1.1 2.2.2.2 1 2\n", Malformed::LineEnd),
        ("PROXY TCP4 1.1.1.1 2.2.2.2 1 2\r \n", Malformed::LineEnd),
        ("PROXY TCP4 1.1.1.1 2.2.2.2 1 2\r\r\n", Malformed::LineEnd),
        ("PROXY TCP4 \r\n", Malformed::Addresses),
        ("PROXY TCP4 1.1.1.1 2.2.2.2 1\r\n", Malformed::Addresses),
        ("PROXY TCP4 1.1.1.1 2.2.2.2 1 2 \r\n", Malformed::Addresses),
        ("PROXY TCP4 1.1.1.1 2.2.2.2 1 2 3\r\n", Malformed::Addresses),
        ("PROXY TCP4 1.1.1.1  2.2.2.2 1 2\r\n", Malformed::Addresses),
        ("PROXY TCP4 1.1.1 2.2.2.2 1 2\r\n", Malformed::Addresses),
        ("PROXY TCP4 1.1.1.01 2.2.2.2 1 2\r\n", Malformed::Addresses),
        ("PROXY TCP4 1.1.1.256 2.2.2.2 1 2\r\n", Malformed::Addresses),
        ("PROXY TCP4 ::1 ::2 1 2\r\n", Malformed::Addresses),
        ("PROXY TCP4 localhost 2.2.2.2 1 2\r\n", Malformed::Addresses),
        ("PROXY TCP6 1.1.1.1 2.2.2.2 1 2\r\n", Malformed::Addresses),
        ("PROXY TCP6 ::1%lo ::2 1 2\r\n", Malformed::Addresses),
        ("PROXY TCP6 ::1::2 ::2 1 2\r\n", Malformed::Addresses),
        ("PROXY TCP6 [::1] ::2 1 2\r\n", Malformed::Addresses),
        ("PROXY TCP4 1.1.1.1 2.2.2.2 65536 2\r\n", Malformed::Addresses),
        ("PROXY TCP4 1.1.1.1 2.2.2.2 01 2\r\n", Malformed::Addresses),
        ("PROXY TCP4 1.1.1.1 2.2.2.2 +1 2\r\n", Malformed::Addresses),
        ("PROXY TCP4 1.1.1.1 2.2.2.2 -1 2\r\n", Malformed::Addresses),
        ("PROXY TCP4 1.1.1.1 2.2.2.2 0x1 2\r\n", Malformed::Addresses),
        ("PROXY TCP4 1.1.1.1 2.2.2.2 1\0 2\r\n", Malformed::Addresses),
    ] {
        assert_malformed(line.as_bytes(), fault);
    }
    for word in ["TCP4", "TCP6", "UNKNOWN"] {
        let endless = format!("PROXY {word} {}\r\n", "1".repeat(108));
        assert_malformed(endless.as_bytes(), Malformed::LineTooLong);
        // Its CRLF ends with the 108th byte.
        let line = format!("PROXY {word} {}\r\n", "1".repeat(V1_BYTES_MAX - 8 - word.len()));
        assert_eq!(line.len(), V1_BYTES_MAX + 1, "{line}");
        assert_malformed(line.as_bytes(), Malformed::LineTooLong);
    }
    assert_malformed(b"PROXY TCP4 \xff.1.1.1 2.2.2.2 1 2\r\n", Malformed::Addresses);
}

#[test]
fn headers_of_version_2_are_read() {
    let of_tcp4 = proxied("192.0.2.1:258", "192.0.2.2:443");
    assert_complete(&over_tcp4(&[]), of_tcp4);
    let tcp6 = [Ipv6Addr::LOCALHOST.octets(), [0xab; 16]].concat();
    let tcp6 = binary(0x21, 0x21, &[tcp6, vec![0, 1, 255, 255]].concat());
    assert_complete(
        &tcp6,
        proxied("[::1]:1", "[abab:abab:abab:abab:abab:abab:abab:abab]:65535"),
    );
    let mapped = "::ffff:192.0.2.1".parse::<Ipv6Addr>().unwrap().octets();
    let mapped = binary(
        0x21,
        0x21,
        &[mapped.to_vec(), [0xab; 16].to_vec(), vec![1, 2, 0, 0]].concat(),
    );
    assert_complete(
        &mapped,
        proxied("192.0.2.1:258", "[abab:abab:abab:abab:abab:abab:abab:abab]:0"),
    );
    // What isn't TCP over IP says nothing of a client that we could use.
    for (command, family, bytes) in [
        (0x20, 0x00, 0),
        (0x20, 0x00, 216),
        (0x20, 0x11, 0), // LOCAL: even the family is ignored
        (0x20, 0xff, 7),
        (0x21, 0x00, 0),
        (0x21, 0x00, 5),
        (0x21, 0x01, 12),
        (0x21, 0x02, 1),
        (0x21, 0x10, 0),
        (0x21, 0x20, 3),
        (0x21, 0x30, 0),
        (0x21, 0x12, 12),
        (0x21, 0x22, 36),
        (0x21, 0x31, 216),
        (0x21, 0x32, 216),
    ] {
        assert_complete(&binary(command, family, &vec![0xa5; bytes]), Header::Own);
    }
    for bytes in [0, 1, 535, 536, 65_535] {
        let longest = binary(0x20, 0x00, &vec![0xff; bytes]);
        assert_eq!(parse(&longest), Ok(Parsed::Complete(Header::Own, 16 + bytes)));
    }
}

#[test]
fn tlvs_are_skipped_if_they_are_whole_and_the_checksum_is_right() {
    let of_tcp4 = proxied("192.0.2.1:258", "192.0.2.2:443");
    let within = [tlv(0x21, b"TLSv1.3"), tlv(0x20, &[0xff; 4]), tlv(0x22, b"")].concat();
    let ssl = tlv(0x20, &[vec![7, 0, 0, 0, 0], within].concat());
    let all = [
        tlv(1, b"h2"),
        tlv(2, b"example.org"),
        tlv(4, b""),
        tlv(5, &[7; 128]),
        ssl,
        tlv(0xea, b"x"),
    ];
    assert_complete(&over_tcp4(&all), of_tcp4);
    for place in 0..=all.len() {
        assert_complete(&with_checksum(all.to_vec(), place), of_tcp4);
    }
    let long = tlv(0xe0, &vec![1; 65_535 - 12 - 3]);
    assert_eq!(
        parse(&over_tcp4(std::slice::from_ref(&long))),
        Ok(Parsed::Complete(of_tcp4, V2_BYTES_MAX))
    );
    assert_complete(&binary(0x21, 0x31, &[vec![1; 216], tlv(4, b"")].concat()), Header::Own);
}

#[test]
fn every_flipped_bit_of_a_header_with_a_checksum_is_found_but_in_local() {
    let header = with_checksum(vec![tlv(4, b"abc")], 1);
    for bit in 0..header.len() * 8 {
        let mut flipped = header.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        let said = parse(&flipped);
        let wants_more = matches!(said, Ok(Parsed::Incomplete)) && (14..16).contains(&(bit / 8));
        let is_own = matches!(said, Ok(Parsed::Complete(Header::Own, _))) && (12..14).contains(&(bit / 8));
        let is_no_checksum_any_more = bit / 8 == 34 || (bit / 8 == 28);
        assert!(
            said.is_err() || wants_more || is_own || is_no_checksum_any_more,
            "bit {bit}: {said:?}"
        );
    }
}

#[test]
fn headers_that_are_no_version_2_are_refused() {
    for (header, fault) in [
        (b"\r\n\r\n\0\r\nQUIX".to_vec(), Malformed::Signature),
        (binary(0x11, 0x11, &TCP4), Malformed::Version(1)),
        (binary(0x31, 0x11, &TCP4), Malformed::Version(3)),
        (binary(0x22, 0x11, &TCP4), Malformed::Command(2)),
        (binary(0x2f, 0x11, &TCP4), Malformed::Command(15)),
        (binary(0x21, 0x41, &TCP4), Malformed::Family(0x41)),
        (binary(0x21, 0xf1, &TCP4), Malformed::Family(0xf1)),
        (binary(0x21, 0x13, &TCP4), Malformed::Family(0x13)),
        (binary(0x21, 0x03, &TCP4), Malformed::Family(0x03)),
        (binary(0x21, 0x11, &TCP4[..11]), Malformed::Length(11)),
        (binary(0x21, 0x21, &[0; 35]), Malformed::Length(35)),
        (binary(0x21, 0x22, &[0; 35]), Malformed::Length(35)),
        (binary(0x21, 0x12, &[]), Malformed::Length(0)),
        (binary(0x21, 0x31, &[0; 215]), Malformed::Length(215)),
        (over_tcp4(&[vec![4]]), Malformed::TlvLength),
        (over_tcp4(&[vec![4, 0]]), Malformed::TlvLength),
        (over_tcp4(&[vec![4, 0, 1]]), Malformed::TlvLength),
        (over_tcp4(&[vec![4, 255, 255, 0]]), Malformed::TlvLength),
        (over_tcp4(&[tlv(4, b"x"), vec![3, 0, 4, 0, 0, 0]]), Malformed::TlvLength),
        (over_tcp4(&[tlv(0x20, &[0; 4])]), Malformed::TlvValue(0x20)),
        (
            over_tcp4(&[tlv(0x20, &[1, 0, 0, 0, 0, 0x21, 0, 1])]),
            Malformed::TlvLength,
        ),
        (
            over_tcp4(&[tlv(0x20, &[1, 0, 0, 0, 0, 0x21, 0]), tlv(4, b"")]),
            Malformed::TlvLength,
        ),
        (over_tcp4(&[tlv(5, &[0; 129])]), Malformed::TlvValue(5)),
        (over_tcp4(&[tlv(3, &[0; 3])]), Malformed::TlvValue(3)),
        (over_tcp4(&[tlv(3, &[0; 5])]), Malformed::TlvValue(3)),
        (over_tcp4(&[tlv(3, &[0; 4])]), Malformed::Checksum),
        (with_checksum(vec![tlv(3, &[0; 4])], 0), Malformed::Checksum),
        (
            binary(0x21, 0x31, &[vec![1; 216], vec![4, 1]].concat()),
            Malformed::TlvLength,
        ),
    ] {
        assert_malformed(&header, fault);
    }
}

#[test]
fn a_stack_of_nested_tlvs_is_only_looked_into_once() {
    // 13,000 of them, each in the one before: a parser that goes down with each would need a stack for them.
    let mut value = Vec::new();
    while value.len() < 65_000 {
        value = [vec![7, 0, 0, 0, 0], tlv(0x20, &value)].concat();
    }
    let header = over_tcp4(&[tlv(0x20, &value)]);
    assert!(matches!(parse(&header), Ok(Parsed::Complete(Header::Proxied(_), _))));
}

#[test]
fn what_is_sent_is_by_the_letter() {
    let v4 = endpoints("192.0.2.1:258", "192.0.2.2:443");
    let v6 = endpoints("[2001:db8::1]:1", "[2001:db8::2]:2");
    let mixed = endpoints("192.0.2.1:1", "[2001:db8::2]:2");
    let mapped = endpoints("[::ffff:192.0.2.1]:258", "[::ffff:192.0.2.2]:443");
    for (endpoints, line) in [
        (Some(v4), "PROXY TCP4 192.0.2.1 192.0.2.2 258 443\r\n"),
        (Some(mapped), "PROXY TCP4 192.0.2.1 192.0.2.2 258 443\r\n"),
        (Some(v6), "PROXY TCP6 2001:db8::1 2001:db8::2 1 2\r\n"),
        (Some(mixed), "PROXY TCP6 ::ffff:192.0.2.1 2001:db8::2 1 2\r\n"),
        (None, "PROXY UNKNOWN\r\n"),
    ] {
        assert_eq!(String::from_utf8(encode(Version::V1, endpoints)).unwrap(), line);
    }
    assert_eq!(encode(Version::V2, Some(v4)), with_checksum(Vec::new(), 0));
    assert_eq!(probe(Version::V1), b"PROXY UNKNOWN\r\n");
    assert_eq!(probe(Version::V2), binary(0x20, 0, &[]));
    // RFC 3720, B.4: 32 bytes of zeroes. The checksum is that one, not another CRC.
    assert_eq!(crc32c::crc32c(&[0; 32]), 0x8a91_36aa);
}

#[test]
fn what_is_wrong_is_told_in_a_line_with_what_was_found() {
    for (wrong, found) in [
        (Malformed::Signature, "no header"),
        (Malformed::LineTooLong, "107"),
        (Malformed::LineEnd, "CRLF"),
        (Malformed::Protocol, "UNKNOWN"),
        (Malformed::Addresses, "two addresses"),
        (Malformed::Version(3), "version 3"),
        (Malformed::Command(5), "command 5"),
        (Malformed::Family(0x4f), "0x4f"),
        (Malformed::Length(11), "11 bytes"),
        (Malformed::TlvLength, "longer"),
        (Malformed::TlvValue(5), "0x05"),
        (Malformed::Checksum, "CRC32C"),
    ] {
        let said = wrong.to_string();
        assert!(said.contains(found) && !said.contains('\n'), "{said}");
    }
}

fn any_address() -> impl Strategy<Value = SocketAddr> {
    prop_oneof![
        any::<([u8; 4], u16)>().prop_map(SocketAddr::from),
        any::<([u8; 16], u16)>().prop_map(SocketAddr::from),
        any::<([u8; 4], u16)>().prop_map(|(ip, port)| (std::net::Ipv4Addr::from(ip).to_ipv6_mapped(), port).into()),
    ]
}

/// Bytes that are nearly headers.
fn nearly_a_header() -> impl Strategy<Value = Vec<u8>> {
    let start = prop_oneof![
        Just(SIGNATURE.to_vec()),
        Just([&SIGNATURE[..], &[0x21, 0x11, 0]].concat()),
        Just([&SIGNATURE[..], &[0x21, 0x21, 0]].concat()),
        Just(b"PROXY TCP4 1.1.1.1 ".to_vec()),
        Just(b"PROXY TCP6 ::".to_vec()),
        Just(b"PROXY UNKNOWN".to_vec()),
        Just(Vec::new()),
    ];
    let rest = prop_oneof![
        prop::collection::vec(any::<u8>(), 0..300),
        prop::collection::vec(prop::sample::select(b"0123456789abf:. \r\nT\0".to_vec()), 0..130),
        // A block of TLVs, whole or nearly.
        (
            prop::collection::vec((0_u8..40, prop::collection::vec(any::<u8>(), 0..12)), 0..9),
            0_u8..4
        )
            .prop_map(|(tlvs, cut)| {
                let mut block: Vec<u8> = TCP4.to_vec();
                block.extend(tlvs.iter().flat_map(|(kind, value)| tlv(*kind, value)));
                block.truncate(block.len() - usize::from(cut));
                [vec![u8::try_from(block.len()).unwrap_or(255)], block].concat()
            }),
    ];
    (start, rest).prop_map(|(start, rest)| [start, rest].concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn what_is_sent_is_read(source in any_address(), destination in any_address(), payload: Vec<u8>) {
        let endpoints = Endpoints::new(source, destination);
        for version in [Version::V1, Version::V2] {
            let header = encode(version, Some(endpoints));
            prop_assert!(header.len() <= V1_BYTES_MAX);
            let bytes = [&header[..], &payload].concat();
            prop_assert_eq!(parse(&bytes), Ok(Parsed::Complete(Header::Proxied(endpoints), header.len())));
        }
    }

    #[test]
    fn any_bytes_get_the_same_answer_however_they_are_cut(bytes in nearly_a_header()) {
        let whole = parse(&bytes);
        let mut before = Ok(Parsed::Incomplete);
        for end in 0..=bytes.len() {
            let part = parse(&bytes[..end]);
            if let Ok(Parsed::Complete(_, length)) = part {
                prop_assert!(length <= end);
            }
            // An answer that is given stays.
            prop_assert!(before == Ok(Parsed::Incomplete) || part == before, "{:?}, then {:?}", before, part);
            before = part;
        }
        prop_assert_eq!(before, whole);
    }

    #[test]
    fn random_bytes_never_panic(bytes: Vec<u8>) {
        let longest = matches!(parse(&bytes), Ok(Parsed::Incomplete)) && bytes.len() > V2_BYTES_MAX;
        prop_assert!(!longest);
    }
}

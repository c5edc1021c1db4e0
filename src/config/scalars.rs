//! Single values: durations, addresses, names, words. Each reads a [`Field`] and finds what is wrong with it.
//!
//! May not: look a host name up, or know in which section it is.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use bytesize::ByteSize;

use super::NAME_BYTES_MAX;
use super::problems::{Findings, quoted};
use super::reader::{Field, Table, nearest};

/// What an address is for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Use {
    /// Bound: port 0 = the kernel chooses one.
    Listen,
    /// Connected to.
    Backend,
}

impl Use {
    /// What a message wants.
    pub(super) fn wanted(self) -> &'static str {
        match self {
            Self::Listen => "an IP address and a port, like \"127.0.0.1:9000\"",
            Self::Backend => "an IP address and a port, like \"127.0.0.1:9001\"",
        }
    }
}

/// A path; "" is none.
pub(super) fn path(field: &Field, wanted: &str, findings: &mut Findings) -> Option<PathBuf> {
    match field.string(wanted, findings)? {
        "" => None,
        text if text.contains('\0') => {
            field.refuse(wanted, "a path holds no NUL", findings);
            None
        }
        text => Some(PathBuf::from(text)),
    }
}

/// A size of the range, as a string with a unit or as bytes.
pub(super) fn size(field: &Field, range: &RangeInclusive<u64>, example: &str, findings: &mut Findings) -> Option<u64> {
    let (least, most) = (ByteSize(*range.start()), ByteSize(*range.end()));
    let wanted = format!(
        "a size from {} to {}, like \"{example}\"",
        least.display().iec(),
        most.display().iec()
    );
    let found = match field.as_number() {
        Some(number) => number.parse().ok(),
        None => field
            .string(&wanted, findings)?
            .parse::<ByteSize>()
            .ok()
            .map(|size| size.0),
    };
    let allowed = found.filter(|bytes| range.contains(bytes));
    if allowed.is_none() {
        field.refuse(&wanted, "", findings);
    }
    allowed
}

/// A duration of the range, or the default: a humantime string, also the example in messages.
pub(super) fn duration(
    table: &Table,
    key: &str,
    range: &RangeInclusive<Duration>,
    default: &str,
    findings: &mut Findings,
) -> Duration {
    let fallback = humantime::parse_duration(default).unwrap_or_default();
    table
        .get(key)
        .and_then(|field| field_duration(&field, range, &format!(", like \"{default}\""), findings))
        .unwrap_or(fallback)
}

/// The same, or "off"; with the default, which may be "off" too, and an example.
pub(super) fn duration_or_off(
    table: &Table,
    key: &str,
    range: &RangeInclusive<Duration>,
    (default, example): (&str, &str),
    findings: &mut Findings,
) -> Option<Duration> {
    let fallback = humantime::parse_duration(default).ok();
    match table.get(key) {
        Some(field) if field.as_str() == Some("off") => None,
        Some(field) => {
            field_duration(&field, range, &format!(", like \"{example}\", or \"off\""), findings).or(fallback)
        }
        None => fallback,
    }
}

fn field_duration(
    field: &Field,
    range: &RangeInclusive<Duration>,
    example: &str,
    findings: &mut Findings,
) -> Option<Duration> {
    let (least, most) = (shortest(*range.start()), shortest(*range.end()));
    let wanted = format!("a duration from {least} to {most}{example}");
    let in_seconds = |number: &str| {
        let value = humantime::parse_duration(&format!("{number}s")).ok();
        value
            .filter(|value| range.contains(value))
            .map(|_| format!("write a unit: \"{number}s\"?"))
    };
    let Some(text) = field.as_str() else {
        let hint = field.as_number().and_then(in_seconds).unwrap_or_default();
        field.refuse_type(&wanted, &hint, findings);
        return None;
    };
    // humantime takes "0"; here every duration has its unit.
    let is_bare = text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    let hint = match humantime::parse_duration(text) {
        Ok(value) if range.contains(&value) && !is_bare => return Some(value),
        _ if is_bare => in_seconds(text).unwrap_or_default(),
        Err(humantime::DurationError::UnknownUnit { .. }) => "units are ms, s, m, h and d".to_owned(),
        Ok(_) | Err(_) => String::new(),
    };
    field.refuse(&wanted, &hint, findings);
    None
}

/// A duration in the largest unit that divides it.
fn shortest(duration: Duration) -> String {
    let (seconds, milliseconds) = (duration.as_secs(), duration.as_millis());
    match seconds {
        _ if seconds > 86_400 && seconds.is_multiple_of(86_400) => format!("{}d", seconds / 86_400),
        0 if milliseconds > 0 => format!("{milliseconds}ms"),
        _ if seconds > 0 && seconds.is_multiple_of(3600) => format!("{}h", seconds / 3600),
        _ if seconds > 0 && seconds.is_multiple_of(60) => format!("{}m", seconds / 60),
        _ => format!("{seconds}s"),
    }
}

/// An address with its port.
pub(super) fn address(field: &Field, purpose: Use, findings: &mut Findings) -> Option<SocketAddr> {
    let wanted = purpose.wanted();
    let text = field.string(wanted, findings)?;
    parse_address(text, purpose)
        .inspect_err(|hint| field.refuse(wanted, hint, findings))
        .ok()
}

/// The same of a bare text; what is likely wrong with it, if anything can be said.
pub(super) fn parse_address(text: &str, purpose: Use) -> Result<SocketAddr, String> {
    match text.parse::<SocketAddr>() {
        Ok(address) => refused(address, purpose).map_or(Ok(address), |hint| Err(hint.to_owned())),
        Err(_) => Err(not_an_address(text, purpose)),
    }
}

fn refused(address: SocketAddr, purpose: Use) -> Option<&'static str> {
    let ip = address.ip();
    if ip.is_multicast() || matches!(ip, IpAddr::V4(ip) if ip.is_broadcast()) {
        return Some("tcp has no multicast or broadcast");
    }
    match purpose {
        Use::Listen => None,
        Use::Backend if ip.is_unspecified() => Some("that address is for listening only"),
        Use::Backend if address.port() == 0 => Some("a backend has a port from 1 to 65535"),
        Use::Backend => None,
    }
}

/// The likeliest reason why a text is no address.
fn not_an_address(text: &str, purpose: Use) -> String {
    if let Some((host, port)) = text.rsplit_once(':') {
        // "::1:9000" is an IPv6 address too, but hardly meant as one.
        if host.parse::<Ipv6Addr>().is_ok() && port.parse::<u16>().is_ok() {
            return format!("an IPv6 address stands in brackets: \"[{host}]:{port}\"?");
        }
    }
    if let Ok(ip) = text.parse::<IpAddr>() {
        let port = if purpose == Use::Listen { 9000 } else { 9001 };
        return format!(
            "the port is missing: {}?",
            quoted(&SocketAddr::new(ip, port).to_string())
        );
    }
    if let Some((_, rest)) = text.split_once("://") {
        return if rest.parse::<SocketAddr>().is_ok() {
            format!("write {}", quoted(rest))
        } else {
            "a URL is no address".to_owned()
        };
    }
    let Some((host, port)) = text.rsplit_once(':') else {
        let is_port = text.parse::<u16>().is_ok();
        return if is_port {
            format!("the IP address is missing: \"127.0.0.1:{text}\"?")
        } else {
            String::new()
        };
    };
    if host.is_empty() {
        let all = if purpose == Use::Listen {
            "; \"0.0.0.0\" stands for all"
        } else {
            ""
        };
        return format!("the IP address is missing{all}");
    }
    if port.parse::<u16>().is_err() {
        return "a port is a number up to 65535".to_owned();
    }
    if host == "localhost" {
        return format!("write \"127.0.0.1:{port}\"");
    }
    let has_letters = host.bytes().any(|byte| byte.is_ascii_alphabetic()) && !host.contains(':');
    if has_letters {
        "host names aren't looked up".to_owned()
    } else {
        "the IP address isn't valid".to_owned()
    }
}

/// What a name may be.
pub(super) fn name_wanted() -> String {
    format!("a name of 1 to {NAME_BYTES_MAX} characters out of A-Z a-z 0-9 . _ -")
}

/// Whether a text is that.
pub(super) fn is_name(text: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    // "." and ".." would vanish from the path of a URL.
    (1..=NAME_BYTES_MAX).contains(&text.len()) && text.bytes().all(is_allowed) && !matches!(text, "." | "..")
}

/// A name of a service or backend, as `[A-Za-z0-9._-]{1,64}`.
pub(super) fn name<'d>(table: &Table<'d, '_>, findings: &mut Findings) -> Option<&'d str> {
    let wanted = name_wanted();
    let Some(field) = table.get("name") else {
        table.missing("name", &wanted, findings);
        return None;
    };
    let text = field.string(&wanted, findings)?;
    if !is_name(text) {
        let length = text.chars().count();
        let hint = if length > NAME_BYTES_MAX {
            format!("it has {length}")
        } else if matches!(text, "." | "..") {
            "in the path of a URL it would vanish".to_owned()
        } else {
            String::new()
        };
        field.refuse(&wanted, &hint, findings);
        return None;
    }
    Some(text)
}

/// One of some words; the default where the key isn't there.
pub(super) fn word<T: Copy>(
    table: &Table,
    key: &str,
    words: &[(&str, T)],
    default: T,
    findings: &mut Findings,
) -> Option<T> {
    let Some(field) = table.get(key) else {
        return Some(default);
    };
    let names: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
    let wanted = either(&names);
    let text = field.string(&wanted, findings)?;
    let found = words.iter().find(|(word, _)| *word == text).map(|(_, value)| *value);
    if found.is_none() {
        let hint = nearest(text, &names).map_or_else(String::new, |near| format!("did you mean {}?", quoted(near)));
        field.refuse(&wanted, &hint, findings);
    }
    found
}

/// `"a", "b" or "c"`.
fn either(words: &[&str]) -> String {
    let quoted: Vec<String> = words.iter().map(|word| quoted(word)).collect();
    match quoted.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, others)) => format!("{} or {last}", others.join(", ")),
        None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_shown_in_one_unit() {
        let shown = |text: &str| shortest(humantime::parse_duration(text).expect("a duration"));
        assert_eq!(
            ["0s", "1ms", "90s", "10m", "24h", "7d"].map(shown),
            ["0s", "1ms", "90s", "10m", "24h", "7d"]
        );
    }

    #[test]
    fn each_kind_of_bad_address_has_its_hint() {
        let hint = |text: &str| not_an_address(text, Use::Backend);
        assert_eq!(hint("10.0.0.1"), "the port is missing: \"10.0.0.1:9001\"?");
        assert_eq!(hint("9001"), "the IP address is missing: \"127.0.0.1:9001\"?");
        assert_eq!(hint(":9001"), "the IP address is missing");
        assert_eq!(hint("10.0.0.1:70000"), "a port is a number up to 65535");
        assert_eq!(hint("localhost:9001"), "write \"127.0.0.1:9001\"");
        assert_eq!(hint("db.example:5432"), "host names aren't looked up");
        assert_eq!(hint("::1:9001"), "an IPv6 address stands in brackets: \"[::1]:9001\"?");
        assert_eq!(hint("fe80::1"), "the port is missing: \"[fe80::1]:9001\"?");
        assert_eq!(hint("fe80::1:9001x"), "a port is a number up to 65535");
        assert_eq!(hint("1.2.3.400:80"), "the IP address isn't valid");
        assert_eq!(hint("tcp://1.2.3.4:80"), "write \"1.2.3.4:80\"");
    }
}

//! Figures as people read them.

/// What isn't known.
pub(super) const UNKNOWN: &str = "-";

/// `1234567` as `1,234,567`.
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && digits.len().saturating_sub(at).checked_rem(3) == Some(0) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `1 backend`, `1,200 backends`.
pub(super) fn counted(number: u64, what: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{} {what}{plural}", grouped(number))
}

/// `999 B`, `1.5 KiB`, `20 MiB`: three digits at most.
pub(super) fn bytes(number: u64) -> String {
    let mut value = number as f64;
    if number < 1000 {
        return format!("{number} B");
    }
    for unit in ["KiB", "MiB", "GiB", "TiB"] {
        value /= 1024.0;
        if value < 9.95 {
            return format!("{value:.1} {unit}");
        }
        // 1,000 MiB are shown as 1.0 GiB: one digit less.
        if value < 999.5 {
            return format!("{value:.0} {unit}");
        }
    }
    format!("{:.0} PiB", value / 1024.0)
}

/// `3.4 MiB/s`.
pub(super) fn bytes_rate(per_second: Option<f64>) -> String {
    per_second.map_or_else(|| UNKNOWN.into(), |rate| format!("{}/s", bytes(rate.round() as u64)))
}

/// `0.5/s`, `1,234/s`.
pub(super) fn rate(per_second: Option<f64>) -> String {
    match per_second {
        None => UNKNOWN.into(),
        Some(rate) if rate < 0.05 => "0/s".into(),
        Some(rate) if rate < 9.95 => format!("{rate:.1}/s"),
        Some(rate) => format!("{}/s", grouped(rate.round() as u64)),
    }
}

/// How long something took: `84 µs`, `1.2 ms`, `2.5 s`.
pub(super) fn latency(seconds: Option<f64>) -> String {
    match seconds {
        None => UNKNOWN.into(),
        // What rounds up to a thousand has the next unit.
        Some(seconds) if seconds < 0.999_5e-3 => format!("{:.0} µs", seconds * 1e6),
        Some(seconds) if seconds < 0.009_95 => format!("{:.1} ms", seconds * 1e3),
        Some(seconds) if seconds < 0.999_5 => format!("{:.0} ms", seconds * 1e3),
        Some(seconds) => format!("{seconds:.1} s"),
    }
}

/// How long something lasts already, in its two greatest units: `0s`, `59s`, `3m 12s`, `4h 5m`, `12d 3h`.
pub(super) fn age(seconds: f64) -> String {
    // A conversion to an integer saturates, and what is no number is 0.
    let seconds = seconds as u64;
    let of = |unit: u64| seconds.checked_div(unit).unwrap_or(0);
    let rest = |unit: u64, within: u64| of(unit).checked_rem(within).unwrap_or(0);
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m {}s", of(60), rest(1, 60)),
        3600..86_400 => format!("{}h {}m", of(3600), rest(60, 60)),
        _ => format!("{}d {}h", of(86_400), rest(3600, 24)),
    }
}

/// `part` of `whole`: `33.3%`.
pub(super) fn share(part: u64, whole: u64) -> String {
    if whole == 0 {
        return UNKNOWN.into();
    }
    format!("{:.1}%", part as f64 * 100.0 / whole as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_the_unit_that_a_person_reads() {
        assert_eq!(grouped(1_234_567), "1,234,567");
        assert_eq!(
            [0, 999, 1000, 1536, 10 << 20].map(bytes),
            ["0 B", "999 B", "1.0 KiB", "1.5 KiB", "10 MiB"]
        );
        assert_eq!(bytes(1000 << 20), "1.0 GiB");
        assert_eq!(bytes(u64::MAX), "16384 PiB");
        assert_eq!(
            [None, Some(0.0), Some(2.54), Some(1234.5)].map(rate),
            ["-", "0/s", "2.5/s", "1,235/s"]
        );
        assert_eq!([None, Some(2048.0)].map(bytes_rate), ["-", "2.0 KiB/s"]);
    }

    #[test]
    fn times_are_short() {
        let latencies = [None, Some(0.000_084), Some(0.000_999_9), Some(0.012_4), Some(2.0)].map(latency);
        assert_eq!(latencies, ["-", "84 µs", "1.0 ms", "12 ms", "2.0 s"]);
        let ages = [0.9, 59.9, 192.0, 14_700.0, 1_047_600.0, f64::NAN, -1.0].map(age);
        assert_eq!(ages, ["0s", "59s", "3m 12s", "4h 5m", "12d 3h", "0s", "0s"]);
    }

    #[test]
    fn a_share_of_nothing_is_unknown() {
        assert_eq!(share(1, 3), "33.3%");
        assert_eq!(share(0, 0), "-");
    }

    #[test]
    fn one_is_singular() {
        assert_eq!(counted(1, "service"), "1 service");
        assert_eq!(counted(3000, "backend"), "3,000 backends");
    }
}

//! Figures as people read them. Used by the table and by the page.

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

/// For columns: a number a second.
pub(super) fn human_rate(per_second: f64) -> String {
    match per_second {
        few if few < 100.0 => format!("{few:.2}"),
        many => grouped(many.round() as u64),
    }
}

pub(super) fn human_bytes(bytes: f64) -> String {
    let mut value = bytes;
    for unit in ["B", "KiB", "MiB"] {
        if value < 1024.0 {
            return format!("{value:.1} {unit}");
        }
        value /= 1024.0;
    }
    format!("{value:.2} GiB")
}

/// For columns: as many places behind the point for all of a unit.
pub(super) fn human_seconds(seconds: f64) -> String {
    match seconds {
        micros if micros < 1e-3 => format!("{:.0} µs", micros * 1e6),
        millis if millis < 1.0 => format!("{:.2} ms", millis * 1e3),
        _ => format!("{seconds:.2} s"),
    }
}

/// For sentences and axes: three digits that count, no zeros behind them, and no line's end before the unit.
pub(super) fn short_seconds(seconds: f64) -> String {
    match seconds {
        // What rounds up to a thousand has the next unit.
        micros if micros < 0.999_5e-3 => format!("{}\u{a0}µs", significant(micros * 1e6)),
        millis if millis < 0.999_5 => format!("{}\u{a0}ms", significant(millis * 1e3)),
        _ => format!("{}\u{a0}s", significant(seconds)),
    }
}

/// For sentences: a number a second with three digits at least, and no zeros behind the point.
pub(super) fn short_rate(per_second: f64) -> String {
    match per_second {
        few if few < 99.95 => significant(few),
        many => grouped(many.round() as u64),
    }
}

fn significant(value: f64) -> String {
    let places = match value {
        value if value < 9.995 => 2,
        value if value < 99.95 => 1,
        _ => 0,
    };
    let text = format!("{value:.places$}");
    match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_in_human_units() {
        assert_eq!(grouped(1_234_567), "1,234,567");
        assert_eq!(grouped(123), "123");
        assert_eq!(human_bytes(1536.0), "1.5 KiB");
        assert_eq!(human_seconds(0.000_021), "21 µs");
        assert_eq!(human_seconds(0.25), "250.00 ms");
        assert_eq!(human_rate(2.0), "2.00");
        assert_eq!(human_rate(12_345.6), "12,346");
    }

    #[test]
    fn in_sentences_rates_have_no_idle_digit() {
        let rates = [0.0, 0.5, 12.345, 99.96, 1234.5].map(short_rate);
        assert_eq!(rates, ["0", "0.5", "12.3", "100", "1,235"]);
    }

    #[test]
    fn in_sentences_times_have_no_idle_digit() {
        for (seconds, text) in [
            (0.0, "0 µs"),
            (0.000_021, "21 µs"),
            (0.000_999_9, "1 ms"),
            (0.001_5, "1.5 ms"),
            (0.012_345, "12.3 ms"),
            (0.1, "100 ms"),
            (0.999_9, "1 s"),
            (1.0, "1 s"),
            (8.2, "8.2 s"),
            (99.96, "100 s"),
            (3600.0, "3600 s"),
        ] {
            assert_eq!(short_seconds(seconds).replace('\u{a0}', " "), text);
        }
    }
}

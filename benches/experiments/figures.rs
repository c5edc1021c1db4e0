//! The sums: means, spreads, Pearson's chi-square, percentiles; and figures as people read them.

/// The mean; 0 of nothing.
pub(crate) fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len().max(1) as f64
}

/// The standard deviation of all of them, not of a sample.
pub(crate) fn deviation(values: &[f64]) -> f64 {
    let mean = mean(values);
    let squares: Vec<f64> = values.iter().map(|value| (value - mean).powi(2)).collect();
    self::mean(&squares).sqrt()
}

pub(crate) fn least(values: &[f64]) -> f64 {
    values.iter().copied().fold(f64::INFINITY, f64::min)
}

pub(crate) fn most(values: &[f64]) -> f64 {
    values.iter().copied().fold(f64::NEG_INFINITY, f64::max)
}

/// How far the one farthest from the mean is away from it, in per cent of the mean.
pub(crate) fn farthest_percent(values: &[f64]) -> f64 {
    let mean = mean(values);
    let distances: Vec<f64> = values.iter().map(|value| (value - mean).abs()).collect();
    100.0 * most(&distances) / mean
}

/// Pearson's chi-square against an even spread.
pub(crate) fn chi_square(values: &[f64]) -> f64 {
    let mean = mean(values);
    values.iter().map(|value| (value - mean).powi(2) / mean).sum()
}

/// How likely it is that chance alone gives such a chi-square or more, of three values: with two degrees of freedom its
/// distribution is the exponential one, so p = e^(-x/2).
pub(crate) fn p_of_three(chi_square: f64) -> f64 {
    (-chi_square / 2.0).exp()
}

/// The value that this share of them doesn't exceed.
pub(crate) fn percentile(values: &mut [f64], share: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let place = (share * values.len() as f64).ceil() as usize;
    values.get(place.saturating_sub(1)).copied().unwrap_or(f64::NAN)
}

/// `12345` as `12,345`.
pub(crate) fn grouped(count: f64) -> String {
    let digits = format!("{count:.0}");
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && digits.len().saturating_sub(at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Two digits that count, no more than two behind the point.
pub(crate) fn percent(value: f64) -> String {
    match value.abs() {
        much if much >= 10.0 => format!("{value:.0} %"),
        some if some >= 1.0 => format!("{value:.1} %"),
        _ => format!("{value:.2} %"),
    }
}

pub(crate) fn millis(seconds: f64) -> String {
    match seconds * 1000.0 {
        long if long >= 100.0 => format!("{long:.0} ms"),
        middle if middle >= 10.0 => format!("{middle:.1} ms"),
        short => format!("{short:.2} ms"),
    }
}

/// From the least to the most of these, in the words of `figure`; once if both are the same.
pub(crate) fn span(values: &[f64], figure: impl Fn(f64) -> String) -> String {
    let (from, until) = (figure(least(values)), figure(most(values)));
    if from == until {
        from
    } else {
        format!("{from} to {until}")
    }
}

/// So many of them: `1 connection`, `2 connections`.
pub(crate) fn counted(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

/// A probability, or less than what anyone can picture.
pub(crate) fn probability(p: f64) -> String {
    match p {
        p if p < 1e-4 => "< 0.0001".to_owned(),
        p if p > 0.9999 => "> 0.9999".to_owned(),
        p => format!("{p:.4}"),
    }
}

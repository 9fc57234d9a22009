//! Numbers as Prometheus writes them, which is as Go writes them: clients and its acceptance suite compare the texts.
//!
//! Of two shortest texts that are equally near to a number, Go takes the one that ends in an even digit
//! (`171461489572718.625` is `…62`), and so does `zmij`; the standard library rounds up (`…63`). Only numbers with a
//! fraction and sixteen digits have two, which are those between [`FRACTIONS`].

use std::{borrow::Cow, ops::Range};

/// Magnitudes that `zmij` writes without an exponent, and that may have a fraction.
const FRACTIONS: Range<f64> = 1e-5..1e16;

/// As few digits as tell the number apart, and never an exponent: values in answers of the query API, and in labels of
/// `count_values`.
pub fn plain(value: f64, buffer: &mut zmij::Buffer) -> Cow<'_, str> {
    match special(value) {
        Some(text) => Cow::Borrowed(text),
        None if value.fract() != 0.0 && FRACTIONS.contains(&value.abs()) => Cow::Borrowed(buffer.format_finite(value)),
        None => Cow::Owned(value.to_string()),
    }
}

/// As Go's `%g`: as few digits as tell the number apart, with an exponent below 1e-4 and from 1e6 on.
pub fn shortest(value: f64) -> String {
    if value == 0.0 || !value.is_finite() || (1e-4..1e6).contains(&value.abs()) {
        return plain(value, &mut zmij::Buffer::new()).into_owned();
    }
    general(&scientific(value), 6)
}

/// `1.5e3` with as few digits as tell the number apart.
fn scientific(value: f64) -> String {
    if value.fract() == 0.0 || value.abs() < 1.0 {
        return format!("{value:e}");
    }
    let mut buffer = zmij::Buffer::new();
    let text = plain(value, &mut buffer);
    let (sign, magnitude) = text.strip_prefix('-').map_or(("", &*text), |magnitude| ("-", magnitude));
    let (whole, fraction) = magnitude.split_once('.').unwrap_or((magnitude, ""));
    let (first, others) = whole.split_at_checked(1).unwrap_or((whole, ""));
    format!("{sign}{first}.{others}{fraction}e{}", others.len())
}

/// As Go's `%.2g` for two digits: rounded to so many digits, with an exponent where those do not reach the point.
pub fn rounded(value: f64, digits: usize) -> String {
    if let Some(text) = special(value) {
        return text.to_owned();
    }
    let scientific = format!("{value:.*e}", digits.saturating_sub(1));
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let short = if mantissa.contains('.') { mantissa.trim_end_matches('0').trim_end_matches('.') } else { mantissa };
    general(&format!("{short}e{exponent}"), digits as i32)
}

/// As OpenMetrics writes values of `le` and `quantile`, so that one bound has one spelling: as [`shortest`], but a whole
/// number without exponent gets `.0`, and there is one zero. Source: OpenMetrics 1.0, "Canonical numbers".
pub fn open_metrics(value: f64) -> String {
    let mut text = shortest(if value == 0.0 { 0.0 } else { value });
    if special(value).is_none() && !text.contains(['e', '.']) {
        text.push_str(".0");
    }
    text
}

fn special(value: f64) -> Option<&'static str> {
    match value {
        _ if value.is_nan() => Some("NaN"),
        f64::INFINITY => Some("+Inf"),
        f64::NEG_INFINITY => Some("-Inf"),
        _ => None,
    }
}

/// Writes `1.5e3` with an exponent of two digits or more when it is below -4 or not below `digits`, otherwise without.
fn general(scientific: &str, digits: i32) -> String {
    let Some((mantissa, Ok(exponent))) = scientific.split_once('e').map(|(m, e)| (m, e.parse::<i32>())) else {
        return scientific.to_owned();
    };
    if !(-4..digits).contains(&exponent) {
        let sign = if exponent < 0 { '-' } else { '+' };
        return format!("{mantissa}e{sign}{:02}", exponent.unsigned_abs());
    }
    // Exact: a number read from its digits is printed with them again.
    scientific.parse::<f64>().map_or_else(|_| scientific.to_owned(), |value| value.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::excessive_precision, reason = "the digits that are cut are what is tested")]
    fn numbers_have_as_few_digits_as_tell_them_apart() {
        let cases = [
            (1.5, "1.5"),
            (-0.1, "-0.1"),
            (0.0, "0"),
            (-0.0, "-0"),
            (100_000.0, "100000"),
            (1e6, "1e+06"),
            (123_456_789.0, "1.23456789e+08"),
            (0.0001, "0.0001"),
            (0.000_01, "1e-05"),
            (1e100, "1e+100"),
            (171_461_489_572_718.625, "1.7146148957271862e+14"),
            (-1_300_000_000_000_000.25, "-1.3000000000000002e+15"),
            (2_000_000.5, "2.0000005e+06"),
            (f64::NAN, "NaN"),
            (f64::INFINITY, "+Inf"),
            (f64::NEG_INFINITY, "-Inf"),
        ];
        for (value, expected) in cases {
            assert_eq!(shortest(value), expected);
        }
    }

    #[test]
    #[expect(clippy::excessive_precision, reason = "the digits that are cut are what is tested")]
    fn of_two_that_are_equally_near_the_even_one_is_taken() {
        let cases = [
            (171_461_489_572_718.625, "171461489572718.62"),
            (1_300_000_000_000_000.75, "1300000000000000.8"),
            (-0.0, "-0"),
            (1e22, "10000000000000000000000"),
            (f64::NEG_INFINITY, "-Inf"),
        ];
        for (value, expected) in cases {
            assert_eq!(plain(value, &mut zmij::Buffer::new()), expected);
        }
    }

    #[test]
    fn rounded_numbers_lose_their_zeros() {
        let cases = [
            (5.0, "5"),
            (10.0, "10"),
            (99.6, "1e+02"),
            (1234.0, "1.2e+03"),
            (0.055, "0.055"),
            (2e-9, "2e-09"),
            (5.55, "5.5"),
        ];
        for (value, expected) in cases {
            assert_eq!(rounded(value, 2), expected);
        }
    }

    #[test]
    fn open_metrics_marks_whole_numbers() {
        let cases = [
            (0.0, "0.0"),
            (-0.0, "0.0"),
            (1.0, "1.0"),
            (-1.0, "-1.0"),
            (0.1, "0.1"),
            (0.99, "0.99"),
            (123_456.0, "123456.0"),
            (1e6, "1e+06"),
            (1_234_567.5, "1.2345675e+06"),
            (0.0001, "0.0001"),
            (0.000_01, "1e-05"),
            (2.5e-10, "2.5e-10"),
            (f64::NEG_INFINITY, "-Inf"),
            (f64::NAN, "NaN"),
        ];
        for (value, expected) in cases {
            assert_eq!(open_metrics(value), expected);
        }
    }
}

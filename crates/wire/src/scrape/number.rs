//! Numbers of the text formats, in and out.

use std::fmt::Write as _;

/// Digits that fit a `f64` exactly: 10^15 < 2^53.
const EXACT_DIGITS: usize = 15;

/// Reads a number; `Inf` and `NaN` in any case and with a sign, as Go reads them. No `NaN` is the stale marker.
pub(super) fn parse_float(text: &str) -> Option<f64> {
    let bytes = text.as_bytes();
    // Most values are short whole numbers.
    if bytes.len() <= EXACT_DIGITS && !bytes.is_empty() && bytes.iter().all(u8::is_ascii_digit) {
        return Some(bytes.iter().fold(0_u64, |number, digit| number * 10 + u64::from(digit - b'0')) as f64);
    }
    text.parse().ok()
}

/// Reads seconds since 1970 with a fraction as whole milliseconds.
pub(super) fn parse_seconds(text: &str) -> Option<i64> {
    millis_of(parse_float(text)?)
}

/// Whole milliseconds of seconds; `None` for what is no time.
pub(super) fn millis_of(seconds: f64) -> Option<i64> {
    seconds.is_finite().then(|| (seconds * 1000.0).round() as i64)
}

/// A number as `le` and `quantile` labels have it, so that one bound has one spelling whatever the format: the shortest
/// digits that come back, an exponent beyond six digits or four zeros, and a fraction also for whole numbers.
/// Source: OpenMetrics 1.0, "Canonical numbers"; Go's `strconv.FormatFloat(f, 'g', -1, 64)`.
pub fn format_float(value: f64) -> String {
    if value.is_nan() {
        return "NaN".to_owned();
    }
    if value.is_infinite() {
        return if value < 0.0 { "-Inf" } else { "+Inf" }.to_owned();
    }
    let scientific = format!("{value:e}");
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let mut out = String::new();
    // Writing to a `String` cannot fail.
    if (-4..6).contains(&exponent) {
        let _ = write!(out, "{value}");
        if !out.contains('.') {
            out.push_str(".0");
        }
    } else {
        let sign = if exponent < 0 { '-' } else { '+' };
        let _ = write!(out, "{digits}e{sign}{:02}", exponent.abs());
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn numbers_have_one_spelling() {
        for (value, text) in [
            (0.0, "0.0"),
            (-0.0, "-0.0"),
            (1.0, "1.0"),
            (-1.0, "-1.0"),
            (0.1, "0.1"),
            (123_456.0, "123456.0"),
            (1e6, "1e+06"),
            (1_234_567.5, "1.2345675e+06"),
            (0.0001, "0.0001"),
            (0.000_01, "1e-05"),
            (2.5e-10, "2.5e-10"),
            (1e100, "1e+100"),
            (f64::INFINITY, "+Inf"),
            (f64::NEG_INFINITY, "-Inf"),
            (f64::NAN, "NaN"),
        ] {
            assert_eq!(format_float(value), text);
        }
    }

    #[test]
    fn numbers_are_read_as_go_writes_them() {
        for (text, value) in [
            ("17", Some(17.0)),
            ("1.5e+06", Some(1.5e6)),
            ("+Inf", Some(f64::INFINITY)),
            ("-inf", Some(f64::NEG_INFINITY)),
            ("Infinity", Some(f64::INFINITY)),
            (".5", Some(0.5)),
            ("", None),
            ("1_000", None),
            ("0x1p3", None),
            ("1 2", None),
        ] {
            assert_eq!(parse_float(text), value, "{text}");
        }
        assert!(parse_float("NaN").is_some_and(f64::is_nan));
        assert_eq!(parse_seconds("1520879607.789"), Some(1_520_879_607_789));
        assert_eq!((parse_seconds("-1"), parse_seconds("NaN"), parse_seconds("+Inf")), (Some(-1000), None, None));
    }

    proptest! {
        #[test]
        fn numbers_come_back(value: f64) {
            let read = parse_float(&format_float(value));
            prop_assert!(read == Some(value) || value.is_nan() && read.is_some_and(f64::is_nan));
        }

        #[test]
        fn short_whole_numbers_are_exact(value in 0_u64..10_000_000_000_000_000) {
            prop_assert_eq!(parse_float(&value.to_string()), Some(value as f64));
        }
    }
}

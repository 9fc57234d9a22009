//! Numbers of the text formats as they are read.

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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

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
            let read = parse_float(&homeostat_model::number_text::open_metrics(value));
            prop_assert!(read == Some(value) || value.is_nan() && read.is_some_and(f64::is_nan));
        }

        #[test]
        fn short_whole_numbers_are_exact(value in 0_u64..10_000_000_000_000_000) {
            prop_assert_eq!(parse_float(&value.to_string()), Some(value as f64));
        }
    }
}

//! What numbers and durations are worth, and how durations are written.
//!
//! Source: Go's `strconv.ParseInt` and `strconv.ParseFloat`, which Prometheus applies one after the other, and
//! `model.ParseDuration` of `prometheus/common`.

use crate::quote::quote;

/// Units of a duration in the order in which they must be written, with their milliseconds.
const UNITS: [(&str, i64); 7] = [
    ("y", 31_536_000_000),
    ("w", 604_800_000),
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1000),
    ("ms", 1),
];
/// Longest duration in milliseconds: what 64 bits of nanoseconds hold, 292 years.
const DURATION_MS_MAX: i64 = i64::MAX / 1_000_000;

/// Reads a number as it may stand in a query: decimal, octal with a leading 0, hexadecimal, `Inf` and `NaN`.
pub(crate) fn number(text: &str) -> Result<f64, String> {
    let digits: String = text.chars().filter(|c| *c != '_').collect();
    let integer = match digits.get(..2) {
        Some("0x" | "0X") => i64::from_str_radix(digits.get(2..).unwrap_or_default(), 16).ok(),
        _ if digits.starts_with('0') => i64::from_str_radix(&digits, 8).ok(),
        _ => digits.parse().ok(),
    };
    if let Some(integer) = integer {
        return Ok(integer as f64);
    }
    let bad = |reason: &str| format!("error parsing number: strconv.ParseFloat: parsing {}: {reason}", quote(text));
    match digits.parse::<f64>() {
        Ok(float) if float.is_infinite() && !digits.eq_ignore_ascii_case("inf") => Err(bad("value out of range")),
        Ok(float) => Ok(float),
        Err(_) => Err(bad("invalid syntax")),
    }
}

/// Reads a duration such as `1h30m` as milliseconds. Units are written at most once, large ones first.
///
/// It is also the form of durations in Prometheus' configuration and API. `0` needs no unit.
pub fn duration_ms(text: &str) -> Result<i64, String> {
    let bad = || format!("not a valid duration string: {}", quote(text));
    match text {
        "" => return Err("empty duration string".to_owned()),
        "0" => return Ok(0),
        _ => {}
    }
    let (mut rest, mut units, mut sum) = (text, UNITS.as_slice(), Some(0_i64));
    while !rest.is_empty() {
        let (count, after) = split_at_end_of(rest, |c| c.is_ascii_digit());
        let (unit, after) = split_at_end_of(after, |c| c.is_ascii_alphabetic());
        let at = units.iter().position(|(name, _)| *name == unit).filter(|_| !count.is_empty()).ok_or_else(bad)?;
        let (_, millis) = units.get(at).ok_or_else(bad)?;
        // A count that is too long for 64 bits is a duration that is too long.
        let part = count.parse::<i64>().ok().and_then(|count| count.checked_mul(*millis));
        sum = sum.zip(part).and_then(|(sum, part)| sum.checked_add(part));
        (rest, units) = (after, units.get(at + 1..).unwrap_or_default());
    }
    sum.filter(|sum| *sum <= DURATION_MS_MAX).ok_or_else(|| "duration out of range".to_owned())
}

fn split_at_end_of(text: &str, belongs: fn(char) -> bool) -> (&str, &str) {
    text.split_at(text.find(|c| !belongs(c)).unwrap_or(text.len()))
}

/// Writes milliseconds as a duration; negative ones with a leading minus. Years and weeks only where they are exact.
pub fn format_duration_ms(millis: i64) -> String {
    if millis == 0 {
        return "0s".to_owned();
    }
    let mut text = String::from(if millis < 0 { "-" } else { "" });
    let mut rest = millis.unsigned_abs();
    for (name, unit) in UNITS.map(|(name, unit)| (name, unit.unsigned_abs())) {
        let exact_only = matches!(name, "y" | "w");
        if rest < unit || (exact_only && !rest.is_multiple_of(unit)) {
            continue;
        }
        text.push_str(&(rest / unit).to_string());
        text.push_str(name);
        rest %= unit;
    }
    text
}

/// Seconds as whole milliseconds; what is left below a millisecond is cut off, but not what binary fractions lose.
pub(crate) fn seconds_to_ms(seconds: f64) -> i64 {
    ((seconds * 1e6).round() as i64) / 1000
}

/// Returns true when so many seconds fit a duration.
pub(crate) fn is_duration_seconds(seconds: f64) -> bool {
    seconds.abs() <= (1_u64 << 63) as f64 / 1e9
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_as_go_does() {
        for (text, expected) in [
            ("0", 0.0),
            ("0x1F", 31.0),
            ("0x_1f", 31.0),
            ("017", 15.0),
            ("08", 8.0),
            ("1_000", 1000.0),
            (".123_456", 0.123_456),
            ("1e3", 1000.0),
            ("iNf", f64::INFINITY),
            ("18446744073709551616", 18_446_744_073_709_551_616.0),
        ] {
            assert_eq!(number(text), Ok(expected), "{text}");
        }
        assert!(number("NaN").unwrap().is_nan());
        for (text, reason) in [("1e999", "value out of range"), ("0xfffffffffffffffff", "invalid syntax")] {
            let message = format!("error parsing number: strconv.ParseFloat: parsing \"{text}\": {reason}");
            assert_eq!(number(text), Err(message));
        }
    }

    #[test]
    fn seconds_become_milliseconds() {
        for (seconds, millis) in
            [(8_541_441.779, 8_541_441_779), (-0.5, -500), (0.0019, 1), (0.3, 300), (2.5e9, 2_500_000_000_000)]
        {
            assert_eq!(seconds_to_ms(seconds), millis);
        }
    }

    #[test]
    fn durations_are_read_and_written() {
        for (text, millis, written) in [
            ("1h30m", 5_400_000, "1h30m"),
            ("90m", 5_400_000, "1h30m"),
            ("1y2w3d4h5m6s7ms", 33_019_506_007, "382d4h5m6s7ms"),
            ("7d", 604_800_000, "1w"),
            ("8d", 691_200_000, "8d"),
            ("25h", 90_000_000, "1d1h"),
            ("0", 0, "0s"),
            ("1500ms", 1500, "1s500ms"),
        ] {
            assert_eq!(duration_ms(text), Ok(millis), "{text}");
            assert_eq!(format_duration_ms(millis), written);
        }
        assert_eq!(format_duration_ms(-60_000), "-1m");
        for text in ["5", "m", "1m1h", "1m1m", "1.5m", "1hs", "-5m"] {
            assert_eq!(duration_ms(text), Err(format!("not a valid duration string: \"{text}\"")));
        }
        for text in ["300y", "99999999999999999999s"] {
            assert_eq!(duration_ms(text), Err("duration out of range".to_owned()), "{text}");
        }
    }
}

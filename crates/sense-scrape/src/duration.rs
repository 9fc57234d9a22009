//! Durations as Prometheus' configuration writes them: `1h30m`, `15s`, `100ms`.

use std::{fmt::Write as _, time::Duration};

/// Units in milliseconds, the largest first.
const UNITS: [(&str, u64); 7] = [
    ("y", 365 * 86_400_000),
    ("w", 7 * 86_400_000),
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1_000),
    ("ms", 1),
];

/// Reads a duration: numbers with units, each unit once and the larger first; `0` needs none. `None` for anything else.
pub fn parse(text: &str) -> Option<Duration> {
    if text == "0" {
        return Some(Duration::ZERO);
    }
    let (mut rest, mut units, mut total_ms) = (text, UNITS.iter(), 0_u64);
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (number, behind) = rest.split_at_checked(digits)?;
        let letters = behind.bytes().take_while(u8::is_ascii_alphabetic).count();
        let (unit, behind) = behind.split_at_checked(letters)?;
        let (_, unit_ms) = units.find(|(name, _)| *name == unit)?;
        total_ms = total_ms.checked_add(number.parse::<u64>().ok()?.checked_mul(*unit_ms)?)?;
        rest = behind;
    }
    Some(Duration::from_millis(total_ms))
}

/// Writes a duration so that [`parse`] reads it back, without weeks and years in it. Below a millisecond is cut.
pub fn show(duration: Duration) -> String {
    let mut left_ms = duration.as_millis() as u64;
    if left_ms == 0 {
        return "0s".to_owned();
    }
    let mut text = String::new();
    for (unit, unit_ms) in UNITS.iter().skip(2) {
        let count = left_ms / unit_ms;
        left_ms %= unit_ms;
        if count > 0 {
            let _ = write!(text, "{count}{unit}"); // Writing to a text cannot fail.
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_and_written() {
        for (text, ms) in [("15s", 15_000), ("1h30m", 5_400_000), ("100ms", 100), ("1d", 86_400_000), ("0s", 0)] {
            assert_eq!(parse(text), Some(Duration::from_millis(ms)), "{text}");
            assert_eq!(show(Duration::from_millis(ms)), text);
        }
        for bad in ["", "5", "s", "1s1m", "1s1s", "-1s", "1.5s", "1x", "99999999999999999999s"] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }
}

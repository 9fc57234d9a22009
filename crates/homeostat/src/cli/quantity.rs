//! Quantities on the command line: times (`90s`, `1h30m`, `30d`), sizes (`64MiB`, `2GB`) and counts.

use std::{fmt, time::Duration};

use homeostat_promql::literal::{duration_ms, format_duration_ms};

/// A length of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Time(pub(super) Duration);

impl Time {
    /// In whole milliseconds.
    pub(super) fn millis(self) -> i64 {
        i64::try_from(self.0.as_millis()).unwrap_or(i64::MAX)
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&format_duration_ms(self.millis()))
    }
}

/// Reads a time in the form of Prometheus' durations.
pub(super) fn parse_time(text: &str) -> Result<Time, String> {
    let ms = duration_ms(text).map_err(|_| "write numbers with units, large ones first: 500ms, 90s, 1h30m, 30d")?;
    Ok(Time(Duration::from_millis(ms.unsigned_abs())))
}

/// A number of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Bytes(pub(super) u64);

/// Units of bytes; of those that end alike the longer ones first.
const UNITS: [(&str, u64); 9] = [
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("TB", 1_000_000_000_000),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("KB", 1_000),
    ("B", 1),
];

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whole = UNITS.iter().filter(|(_, unit)| *unit <= self.0 && self.0.is_multiple_of(*unit));
        // Two terabytes are also a whole number of kibibytes: the shortest form is the one that was meant.
        let unit = whole.max_by_key(|(_, unit)| *unit);
        let (name, unit) = unit.unwrap_or(&("B", 1));
        write!(f, "{}{name}", self.0 / unit)
    }
}

/// Reads a size.
pub(super) fn parse_bytes(text: &str) -> Result<Bytes, String> {
    let found = UNITS.iter().find_map(|(name, unit)| Some((text.strip_suffix(name)?, *unit)));
    let bytes = found.and_then(|(number, unit)| number.trim().parse::<u64>().ok()?.checked_mul(unit));
    bytes
        .filter(|bytes| *bytes > 0)
        .map(Bytes)
        .ok_or_else(|| "write a whole number and a unit: 512KiB, 64MiB, 10GiB, 2TB".to_owned())
}

/// Reads a count that is not zero; `_` may separate digits.
pub(super) fn parse_count(text: &str) -> Result<u64, String> {
    let digits = text.replace('_', "");
    let count = digits.parse::<u64>().ok().filter(|count| *count > 0 && digits.bytes().all(|b| b.is_ascii_digit()));
    count.ok_or_else(|| "write a whole number above zero: 20, 50000000, 50_000_000".to_owned())
}

/// A count as the machine counts.
pub(super) fn count(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_read_back_as_they_are_shown() {
        for text in ["500ms", "90s", "1h30m", "30d", "0s"] {
            let time = parse_time(text).unwrap();
            assert_eq!(parse_time(&time.to_string()), Ok(time), "{text}");
        }
        for (text, bytes) in [("512KiB", 512 << 10), ("64MiB", 64 << 20), ("2TB", 2_000_000_000_000), ("7B", 7)] {
            assert_eq!(parse_bytes(text), Ok(Bytes(bytes)));
            assert_eq!(Bytes(bytes).to_string(), text);
        }
        assert_eq!(parse_count("50_000_000"), Ok(50_000_000));
    }

    #[test]
    fn slips_are_told_with_examples() {
        for bad in ["", "5", "-5m", "1.5h", "5 m", "h"] {
            assert!(parse_time(bad).is_err(), "{bad}");
        }
        for bad in ["", "64", "0MiB", "-1MiB", "1.5GiB", "64mib", "99999999999TiB", "MiB"] {
            assert!(parse_bytes(bad).is_err(), "{bad}");
        }
        for bad in ["", "0", "-1", "+1", "1.5", "many", "99999999999999999999"] {
            assert!(parse_count(bad).is_err(), "{bad}");
        }
    }
}

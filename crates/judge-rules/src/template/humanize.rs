//! Numbers for people. Source: `prometheus/common`, `helpers/templates`.

use homeostat_model::number_text::{rounded, shortest};

/// Digits that are shown.
const DIGITS: usize = 4;
const LARGE: [&str; 8] = ["k", "M", "G", "T", "P", "E", "Z", "Y"];
const BINARY: [&str; 8] = ["ki", "Mi", "Gi", "Ti", "Pi", "Ei", "Zi", "Yi"];
const SMALL: [&str; 8] = ["m", "u", "n", "p", "f", "a", "z", "y"];

fn is_special(value: f64) -> bool {
    value.is_nan() || value.is_infinite()
}

/// `1.234k`: powers of 1000.
pub(super) fn number(value: f64) -> String {
    if value == 0.0 || is_special(value) {
        return rounded(value, DIGITS);
    }
    let (value, prefix) = if value.abs() >= 1.0 { divided(value, 1000.0, &LARGE) } else { multiplied(value) };
    format!("{}{prefix}", rounded(value, DIGITS))
}

/// `1.234ki`: powers of 1024.
pub(super) fn binary(value: f64) -> String {
    if value.abs() <= 1.0 || is_special(value) {
        return rounded(value, DIGITS);
    }
    let (value, prefix) = divided(value, 1024.0, &BINARY);
    format!("{}{prefix}", rounded(value, DIGITS))
}

fn divided(mut value: f64, by: f64, prefixes: &[&'static str]) -> (f64, &'static str) {
    let mut prefix = "";
    for next in prefixes {
        if value.abs() < by {
            break;
        }
        (value, prefix) = (value / by, next);
    }
    (value, prefix)
}

fn multiplied(mut value: f64) -> (f64, &'static str) {
    let mut prefix = "";
    for next in SMALL {
        if value.abs() >= 1.0 {
            break;
        }
        (value, prefix) = (value * 1000.0, next);
    }
    (value, prefix)
}

/// `1d 2h 3m 4s`.
pub(super) fn duration(seconds: f64) -> String {
    if is_special(seconds) {
        return rounded(seconds, DIGITS);
    }
    if seconds == 0.0 {
        return format!("{}s", rounded(seconds, DIGITS));
    }
    if seconds.abs() < 1.0 {
        let (value, prefix) = multiplied(seconds);
        return format!("{}{prefix}s", rounded(value, DIGITS));
    }
    let sign = if seconds < 0.0 { "-" } else { "" };
    let whole = seconds.abs() as u64;
    let (days, hours, minutes, rest) = (whole / 86_400, whole / 3600 % 24, whole / 60 % 60, whole % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{sign}{}s", rounded(seconds.abs(), DIGITS)),
        (0, 0, _) => format!("{sign}{minutes}m {rest}s"),
        (0, ..) => format!("{sign}{hours}h {minutes}m {rest}s"),
        _ => format!("{sign}{days}d {hours}h {minutes}m {rest}s"),
    }
}

/// `12.34%`.
pub(super) fn percentage(share: f64) -> String {
    format!("{}%", rounded(share * 100.0, DIGITS))
}

/// `2015-10-13 12:34:56.789 +0000 UTC`; seconds since 1970 that no date has stay numbers.
pub(super) fn timestamp(seconds: f64) -> String {
    if is_special(seconds) {
        return rounded(seconds, DIGITS);
    }
    let at = jiff::Timestamp::from_nanosecond((seconds * 1e9).round() as i128);
    at.map_or_else(|_| shortest(seconds), |at| at.strftime("%Y-%m-%d %H:%M:%S%.f +0000 UTC").to_string())
}

/// `1h2m3.5s`, as Go writes a length of time.
pub(super) fn go_duration(seconds: f64) -> String {
    if seconds == 0.0 || is_special(seconds) {
        return "0s".to_owned();
    }
    let sign = if seconds < 0.0 { "-" } else { "" };
    let seconds = seconds.abs();
    if seconds < 1.0 {
        for (unit, factor) in [("ms", 1e3), ("µs", 1e6)] {
            if seconds * factor >= 1.0 {
                return format!("{sign}{}{unit}", (seconds * 1e9).round() / (1e9 / factor));
            }
        }
        return format!("{sign}{}ns", (seconds * 1e9).round());
    }
    let whole = seconds as u64;
    let (hours, minutes) = (whole / 3600, whole / 60 % 60);
    let rest = ((seconds - (whole / 60 * 60) as f64) * 1e9).round() / 1e9;
    match (hours, minutes) {
        (0, 0) => format!("{sign}{rest}s"),
        (0, _) => format!("{sign}{minutes}m{rest}s"),
        _ => format!("{sign}{hours}h{minutes}m{rest}s"),
    }
}

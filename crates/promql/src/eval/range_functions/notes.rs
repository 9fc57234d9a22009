//! What functions over ranges tell beside their values, word for word as Prometheus tells it.
//!
//! Source of the texts: `util/annotations/annotations.go` of Prometheus; clients and its acceptance suite compare them.

use crate::{
    eval::window::{Place, Window},
    note::Notes,
};

/// Warns of a window with both kinds of samples, to which the function has no answer.
pub(super) fn mixed_kinds(place: &Place<'_>, notes: &mut Notes) {
    let text = format!("encountered a mix of histograms and floats for metric name {:?}", place.metric);
    notes.warn(place.arg(0), text);
}

/// Tells, when there are both kinds of samples, that only the numbers are looked at.
pub(super) fn ignored_histograms(window: &Window<'_>, place: &Place<'_>, notes: &mut Notes) {
    if !window.floats.is_empty() && !window.histograms.is_empty() {
        let what = "ignored histograms in a range containing both floats and histograms for metric name";
        notes.info(place.arg(0), format!("{what} {:?}", place.metric));
    }
}

/// Warns of a quantile outside of 0 to 1.
pub(super) fn invalid_quantile(q: f64, place: &Place<'_>, notes: &mut Notes) {
    if !(0.0..=1.0).contains(&q) {
        notes.warn(place.arg(0), format!("quantile value should be between 0 and 1, got {}", shortest(q)));
    }
}

/// The number as Go's `%g` prints it: as few digits as tell it apart, with an exponent below 1e-4 and from
/// 1e6 on.
pub(crate) fn shortest(value: f64) -> String {
    if value.is_nan() || value.is_infinite() {
        return if value.is_nan() {
            "NaN"
        } else if value > 0.0 {
            "+Inf"
        } else {
            "-Inf"
        }
        .to_owned();
    }
    let scientific = format!("{value:e}");
    let Some((digits, exponent)) = scientific.split_once('e') else { return scientific };
    match exponent.parse::<i32>() {
        Ok(exponent) if !(-4..6).contains(&exponent) && value != 0.0 => {
            let sign = if exponent < 0 { '-' } else { '+' };
            format!("{digits}e{sign}{:02}", exponent.unsigned_abs())
        }
        _ => format!("{value}"),
    }
}

#[cfg(test)]
mod tests {
    use super::shortest;

    #[test]
    fn numbers_are_printed_as_go_prints_them() {
        let cases = [
            (1.5, "1.5"),
            (-0.1, "-0.1"),
            (2.0, "2"),
            (-0.0, "-0"),
            (100_000.0, "100000"),
            (1e6, "1e+06"),
            (123_456_789.0, "1.23456789e+08"),
            (0.0001, "0.0001"),
            (0.000_01, "1e-05"),
            (1e100, "1e+100"),
            (f64::NAN, "NaN"),
            (f64::INFINITY, "+Inf"),
            (f64::NEG_INFINITY, "-Inf"),
        ];
        for (value, expected) in cases {
            assert_eq!(shortest(value), expected);
        }
    }
}

//! Numbers as Prometheus' answers have them.
//!
//! Values are texts, because JSON knows no infinity: the shortest digits that read back as the same number, without an
//! exponent for magnitudes from 1e-6 to 1e21 (`util/jsonutil`). Times are JSON numbers in seconds with as many decimals
//! as needed.

use std::io::Write as _;

use homeostat_model::number_text;

/// Appends a value without quotes: `1.5`, `1e-07`, `+Inf`.
pub(crate) fn push_value(out: &mut Vec<u8>, value: f64) {
    let magnitude = value.abs();
    if value.is_nan() {
        out.extend_from_slice(b"NaN");
    } else if value.is_infinite() {
        out.extend_from_slice(if value > 0.0 { b"+Inf" } else { b"-Inf" });
    } else if magnitude != 0.0 && !(1e-6..1e21).contains(&magnitude) {
        push_exponent(out, value);
    } else {
        push_decimal(out, value);
    }
}

/// Appends a value without quotes and never with an exponent, as scalars and literals are told.
pub(crate) fn push_plain(out: &mut Vec<u8>, value: f64) {
    if value.is_finite() { push_decimal(out, value) } else { push_value(out, value) }
}

/// Whole numbers, most of all values, take the short road.
fn push_decimal(out: &mut Vec<u8>, value: f64) {
    const WHOLE_MAX: f64 = 9_007_199_254_740_992.0;
    if value.fract() == 0.0 && value.abs() < WHOLE_MAX && value.to_bits() != (-0.0_f64).to_bits() {
        push_integer(out, value as i64);
    } else {
        out.extend_from_slice(number_text::plain(value, &mut zmij::Buffer::new()).as_bytes());
    }
}

/// The exponent has a sign and at least two digits.
fn push_exponent(out: &mut Vec<u8>, value: f64) {
    let text = format!("{value:e}");
    let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let (sign, exponent) = exponent.strip_prefix('-').map_or(("+", exponent), |exponent| ("-", exponent));
    drop(write!(out, "{digits}e{sign}{exponent:0>2}"));
}

/// Appends a whole number.
pub(crate) fn push_integer(out: &mut Vec<u8>, value: i64) {
    let mut buffer = itoa::Buffer::new();
    out.extend_from_slice(buffer.format(value).as_bytes());
}

/// Appends a time in seconds: `1435781451.781`, `-0.001`.
pub(crate) fn push_time(out: &mut Vec<u8>, t_ms: i64) {
    if t_ms < 0 {
        out.push(b'-');
    }
    let magnitude = t_ms.unsigned_abs();
    let mut buffer = itoa::Buffer::new();
    out.extend_from_slice(buffer.format(magnitude / 1000).as_bytes());
    let millis = magnitude % 1000;
    if millis != 0 {
        drop(write!(out, ".{millis:03}"));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shown(push: impl Fn(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        push(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn values_look_like_those_of_go() {
        for (value, expected) in [
            (0.0, "0"),
            (-0.0, "-0"),
            (1.0, "1"),
            (-12.0, "-12"),
            (0.1, "0.1"),
            (1.0 / 3.0, "0.3333333333333333"),
            (1e20, "100000000000000000000"),
            (1e21, "1e+21"),
            (1.5e300, "1.5e+300"),
            (0.000_001, "0.000001"),
            (9.99e-7, "9.99e-07"),
            (5e-324, "5e-324"),
            (9_007_199_254_740_993.0, "9007199254740992"),
            (f64::from_bits(0x42e3_7e2f_a5b7_6dd4), "171461489572718.62"),
            (f64::NAN, "NaN"),
            (f64::INFINITY, "+Inf"),
            (f64::NEG_INFINITY, "-Inf"),
        ] {
            assert_eq!(shown(|out| push_value(out, value)), expected);
        }
        assert_eq!(shown(|out| push_plain(out, 1e22)), "10000000000000000000000");
        assert_eq!(shown(|out| push_plain(out, f64::NAN)), "NaN");
    }

    proptest! {
        #[test]
        fn every_number_reads_back_and_is_as_short_as_can_be(bits: u64, small in -1e6..1e6, halves in 1_i64 << 44..1 << 53, shift in 1_i32..8) {
            // The last has few binary digits behind the point: among such are those with two shortest texts.
            for value in [f64::from_bits(bits), small, halves as f64 * 0.5_f64.powi(shift)] {
                let (text, plain) = (shown(|out| push_value(out, value)), shown(|out| push_plain(out, value)));
                if value.is_finite() {
                    prop_assert_eq!(text.parse::<f64>().unwrap().to_bits(), value.to_bits());
                    prop_assert_eq!(plain.parse::<f64>().unwrap().to_bits(), value.to_bits());
                    prop_assert_eq!(plain.len(), value.to_string().len(), "{} for {}", plain, value);
                    prop_assert!(!plain.contains('e'));
                }
            }
        }
    }

    #[test]
    fn times_have_the_decimals_that_they_need() {
        for (t_ms, expected) in [
            (0, "0"),
            (1_435_781_451_781, "1435781451.781"),
            (1_050, "1.050"),
            (-1, "-0.001"),
            (-60_000, "-60"),
            (i64::MIN, "-9223372036854775.808"),
        ] {
            assert_eq!(shown(|out| push_time(out, t_ms)), expected);
        }
    }
}

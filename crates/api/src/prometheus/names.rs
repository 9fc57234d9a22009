//! Names that travel in a path: `U__` escapes of names that are no identifiers, as Prometheus 3 has them.
//!
//! `U__` begins an escaped name; in it `__` is an underscore and `_1F600_` the character with that code in hexadecimal.
//! Source: `prometheus/common` `model/metric.go`, value encoding.

/// What begins an escaped name.
const PREFIX: &str = "U__";
/// Digits of the largest character's code.
const DIGITS_MAX: usize = 6;

/// The name that was meant. What is no valid escape is the name itself.
pub(crate) fn unescape(name: &str) -> String {
    name.strip_prefix(PREFIX).and_then(decode).unwrap_or_else(|| name.to_owned())
}

fn decode(escaped: &str) -> Option<String> {
    let mut name = String::with_capacity(escaped.len());
    let mut rest = escaped;
    while let Some(at) = rest.find('_') {
        name.push_str(rest.get(..at)?);
        rest = rest.get(at + 1..)?;
        let end = rest.find('_')?;
        let digits = rest.get(..end)?;
        name.push(if digits.is_empty() { '_' } else { character(digits)? });
        rest = rest.get(end + 1..)?;
    }
    name.push_str(rest);
    Some(name)
}

fn character(digits: &str) -> Option<char> {
    if digits.len() > DIGITS_MAX || !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return None;
    }
    char::from_u32(u32::from_str_radix(digits, 16).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_are_undone_and_other_names_stay() {
        for (name, expected) in [
            ("job", "job"),
            ("U__http_2e_status", "http.status"),
            ("U__a__b", "a_b"),
            ("U___1F600_", "😀"),
            ("U__", ""),
            ("U__bad_zz_", "U__bad_zz_"),
            ("U__open_2e", "U__open_2e"),
            ("U__big_1234567_", "U__big_1234567_"),
            ("U__surrogate_d800_", "U__surrogate_d800_"),
        ] {
            assert_eq!(unescape(name), expected, "{name}");
        }
    }
}

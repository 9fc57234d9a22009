//! Where a number or duration ends. Its value is taken elsewhere.

/// What stands at the beginning of a text, and how many bytes of it.
#[derive(Debug, PartialEq)]
pub(super) enum Scanned {
    Number(usize),
    Duration(usize),
    /// Neither; so many bytes show it.
    Bad(usize),
}

/// Reads a number or duration. The text begins with a digit, or with a point and a digit.
pub(super) fn scan(text: &str) -> Scanned {
    let bytes = text.as_bytes();
    let (len, complete) = number_len(bytes);
    if complete && !bytes.get(len).is_some_and(|byte| is_word(*byte)) {
        return Scanned::Number(len);
    }
    duration(bytes, len)
}

/// Length of the longest beginning that looks like a number, and whether it may end there.
fn number_len(bytes: &[u8]) -> (usize, bool) {
    if let [b'0', b'x' | b'X', ..] = bytes {
        let from = 2 + usize::from(bytes.get(2) == Some(&b'_'));
        let (len, complete) = digits_len(bytes, from, u8::is_ascii_hexdigit);
        return (len, complete && from < len);
    }
    let (mut len, mut complete) = digits_len(bytes, 0, u8::is_ascii_digit);
    if bytes.get(len) == Some(&b'.') && complete {
        (len, complete) = digits_len(bytes, len + 1, u8::is_ascii_digit);
        complete &= !matches!(bytes.get(len), Some(b'.'));
    }
    if let Some(b'e' | b'E') = bytes.get(len) {
        let sign = usize::from(matches!(bytes.get(len + 1), Some(b'+' | b'-')));
        let from = len + 1 + sign;
        let exponent;
        (exponent, complete) = digits_len(bytes, from, u8::is_ascii_digit);
        complete &= from < exponent;
        len = exponent;
    }
    (len, complete)
}

/// Digits with single underscores between them: the end, and whether it is not behind an underscore.
fn digits_len(bytes: &[u8], from: usize, is_digit: fn(&u8) -> bool) -> (usize, bool) {
    let mut at = from;
    while let Some(byte) = bytes.get(at) {
        let between = *byte == b'_' && from < at && bytes.get(at - 1) != Some(&b'_');
        if !is_digit(byte) && !between {
            break;
        }
        at += 1;
    }
    (at, at == from || bytes.get(at - 1) != Some(&b'_'))
}

/// Goes on behind the first number of a duration: a unit, then pairs of number and unit.
fn duration(bytes: &[u8], from: usize) -> Scanned {
    let mut at = from;
    loop {
        if !bytes.get(at).is_some_and(|byte| b"smhdwy".contains(byte)) {
            // What spoils the number is shown with it.
            let spoils = at == from && bytes.get(at).is_some_and(|byte| b"._eE".contains(byte));
            return Scanned::Bad(at + usize::from(spoils));
        }
        at += 1 + usize::from(bytes.get(at + 1) == Some(&b's'));
        let (number_end, _) = digits_len(bytes, at, u8::is_ascii_digit);
        if number_end == at {
            break;
        }
        at = number_end;
    }
    match bytes.get(at) {
        Some(byte) if is_word(*byte) => Scanned::Bad(at + 1),
        _ => Scanned::Duration(at),
    }
}

fn is_word(byte: u8) -> bool {
    byte == b'_' || byte.is_ascii_alphanumeric()
}

#[cfg(test)]
mod tests {
    use super::{Scanned::*, *};

    #[test]
    fn numbers_and_durations_end_where_they_should() {
        for (text, expected) in [
            ("1", Number(1)),
            ("1+2", Number(1)),
            ("1.", Number(2)),
            (".5e3)", Number(4)),
            ("1e-5]", Number(4)),
            ("0x_1F", Number(5)),
            ("0xee", Number(4)),
            ("1_000.25", Number(8)),
            ("5m", Duration(2)),
            ("1h30m5s10ms]", Duration(11)),
            ("1.5m", Duration(4)),
            ("1__0", Bad(3)),
            ("1_", Bad(2)),
            ("0x", Bad(2)),
            ("1e", Bad(2)),
            ("1foo", Bad(1)),
            ("5mm", Bad(3)),
            ("1.2.3", Bad(4)),
            ("5m3", Bad(3)),
        ] {
            assert_eq!(scan(text), expected, "{text}");
        }
    }
}

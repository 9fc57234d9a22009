//! What a backslash makes of the characters behind it, outside and inside of classes.

use super::BadGoRegex;

/// ASCII digits, blanks and word characters, as the inside of a class.
const DIGITS: &str = "0-9";
const BLANKS: &str = r"\t\n\x0C\r ";
const WORDS: &str = "0-9A-Za-z_";

/// What an escape stands for.
pub(super) enum Escape {
    /// One character.
    Char(char),
    /// A set, as the inside of a class of the `regex` crate.
    Class(String),
    /// A place between characters, as the crate writes it.
    Place(&'static str),
}

/// Reads the escape at the beginning of a text; returns it and its bytes.
pub(super) fn read(text: &str) -> Result<(Escape, usize), BadGoRegex> {
    let mut chars = text.chars();
    chars.next();
    let Some(c) = chars.next() else {
        return Err(BadGoRegex::new("trailing backslash at end of expression", ""));
    };
    let class = |inner: &str| Escape::Class(inner.to_owned());
    let none_of = |inner: &str| Escape::Class(format!("^{inner}"));
    let escape = match c {
        'd' => class(DIGITS),
        'D' => none_of(DIGITS),
        's' => class(BLANKS),
        'S' => none_of(BLANKS),
        'w' => class(WORDS),
        'W' => none_of(WORDS),
        'b' => Escape::Place(r"(?-u:\b)"),
        // The ASCII form of this one may split a character, which the crate refuses.
        'B' => Escape::Place(r"\B"),
        'A' => Escape::Place(r"\A"),
        'z' => Escape::Place(r"\z"),
        'p' | 'P' => return category(text, c == 'P'),
        _ => return character(text).map(|(c, len)| (Escape::Char(c), len)),
    };
    Ok((escape, 2))
}

/// Reads an escape that stands for one character; returns it and its bytes.
pub(super) fn character(text: &str) -> Result<(char, usize), BadGoRegex> {
    let mut chars = text.chars();
    chars.next();
    let Some(c) = chars.next() else {
        return Err(BadGoRegex::new("trailing backslash at end of expression", ""));
    };
    let plain = match c {
        'a' => '\u{7}',
        'f' => '\u{c}',
        'n' => '\n',
        'r' => '\r',
        't' => '\t',
        'v' => '\u{b}',
        '0'..='7' => return octal(text),
        'x' => return hexadecimal(text),
        _ if c.is_ascii() && !c.is_ascii_alphanumeric() => c,
        _ => return Err(BadGoRegex::new("invalid escape sequence", text.get(..1 + c.len_utf8()).unwrap_or(text))),
    };
    Ok((plain, 2))
}

/// `\012`: a 0 with up to two digits more, or two or three digits. A single other digit would be a back reference.
fn octal(text: &str) -> Result<(char, usize), BadGoRegex> {
    let digits = text.bytes().skip(1).take(3).take_while(|byte| (b'0'..=b'7').contains(byte)).count();
    let part = text.get(..=digits).unwrap_or(text);
    let code = part.get(1..).and_then(|digits| u32::from_str_radix(digits, 8).ok());
    match code.and_then(char::from_u32) {
        Some(c) if 1 < digits || c == '\0' => Ok((c, part.len())),
        _ => Err(BadGoRegex::new("invalid escape sequence", part)),
    }
}

/// `\x41` or `\x{1F600}`.
fn hexadecimal(text: &str) -> Result<(char, usize), BadGoRegex> {
    let braced = text.get(2..).and_then(|rest| rest.strip_prefix('{')).and_then(|rest| rest.split_once('}'));
    let (digits, len) = match braced {
        Some((digits, _)) => (Some(digits), digits.len() + 4),
        None => (text.get(2..4), 4),
    };
    let is_number = |digits: &&str| !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    let code = digits.filter(is_number).and_then(|digits| u32::from_str_radix(digits, 16).ok());
    match code.and_then(char::from_u32) {
        Some(c) => Ok((c, len)),
        None => Err(BadGoRegex::new("invalid escape sequence", text.get(..len).unwrap_or(text))),
    }
}

/// `\pN`, `\p{Greek}` and their opposites.
fn category(text: &str, negated: bool) -> Result<(Escape, usize), BadGoRegex> {
    let rest = text.get(2..).unwrap_or_default();
    let (name, len) = if let Some(braced) = rest.strip_prefix('{') {
        let Some((name, _)) = braced.split_once('}') else {
            return Err(BadGoRegex::new("invalid character class range", text));
        };
        (name, name.len() + 4)
    } else {
        let len = rest.chars().next().map_or(0, char::len_utf8);
        (rest.get(..len).unwrap_or_default(), 2 + len)
    };
    let (name, caret) = name.strip_prefix('^').map_or((name, false), |name| (name, true));
    if name.is_empty() || !name.chars().all(|c| c == '_' || c.is_ascii_alphanumeric()) {
        return Err(BadGoRegex::new("invalid character class range", text.get(..len).unwrap_or(text)));
    }
    let letter = if negated == caret { 'p' } else { 'P' };
    Ok((Escape::Class(format!("\\{letter}{{{name}}}")), len))
}

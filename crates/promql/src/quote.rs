//! Quoted texts as Go writes and reads them, because queries and messages of Prometheus hold them.
//!
//! Source: the Go language's string literals and `strconv.Quote`.

use std::str::Chars;

/// Writes a text in double quotes; what cannot be printed is escaped.
pub fn quote(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for c in text.chars() {
        push_escaped(&mut quoted, c, '"');
    }
    quoted.push('"');
    quoted
}

/// Writes a character in single quotes.
pub(crate) fn quote_char(c: char) -> String {
    let mut quoted = String::from("'");
    push_escaped(&mut quoted, c, '\'');
    quoted.push('\'');
    quoted
}

fn push_escaped(out: &mut String, c: char, mark: char) {
    match c {
        '\\' => out.push_str("\\\\"),
        '\u{7}' => out.push_str("\\a"),
        '\u{8}' => out.push_str("\\b"),
        '\u{c}' => out.push_str("\\f"),
        '\n' => out.push_str("\\n"),
        '\r' => out.push_str("\\r"),
        '\t' => out.push_str("\\t"),
        '\u{b}' => out.push_str("\\v"),
        _ if c == mark => out.extend(['\\', c]),
        _ if is_printable(c) => out.push(c),
        _ => out.push_str(&numbered(u32::from(c))),
    }
}

fn numbered(code: u32) -> String {
    match code {
        ..0x80 => format!("\\x{code:02x}"),
        0x80..0x1_0000 => format!("\\u{code:04x}"),
        _ => format!("\\U{code:08x}"),
    }
}

/// Letters, marks, numbers, punctuation, symbols and the ASCII space, but not what cannot be written as itself.
fn is_printable(c: char) -> bool {
    if c == ' ' || c.is_ascii_graphic() {
        return true;
    }
    // The standard library escapes what cannot be printed and, at the beginning only, marks that would join the quote.
    let kept = String::from_iter(['x', c]).escape_debug().nth(1) == Some(c);
    kept && !c.is_whitespace() && c != char::REPLACEMENT_CHARACTER
}

/// Why a quoted text has no end or no value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BadQuoted {
    /// The line or the text ends before the quote.
    #[error("unterminated quoted string")]
    Unterminated,
    /// The text ends before the backquote.
    #[error("unterminated raw string")]
    UnterminatedRaw,
    /// The text ends within an escape.
    #[error("escape sequence not terminated")]
    UnterminatedEscape,
    /// A backslash before a character that needs none.
    #[error("unknown escape sequence {}", unicode_name(*.0))]
    UnknownEscape(char),
    /// A character that is no digit of the escape's number.
    #[error("illegal character {} in escape sequence", unicode_name(*.0))]
    IllegalDigit(char),
    /// A number that is no character.
    #[error("escape sequence is an invalid Unicode code point")]
    NoCharacter,
    /// What stands for bytes that are no text, written as itself.
    #[error("invalid UTF-8 rune")]
    Replacement,
}

fn unicode_name(c: char) -> String {
    format!("U+{:04X} '{c}'", u32::from(c))
}

/// What a text means at one place within quotes.
enum Piece {
    /// The quote that ends it.
    End,
    Char(char),
    /// A byte, which need not be a character.
    Byte(u8),
}

/// Bytes of the quoted text at the beginning of a text, both quotes included. The first character is the quote.
pub(crate) fn quoted_len(text: &str) -> Result<usize, BadQuoted> {
    let mut chars = text.chars();
    let open = chars.next().unwrap_or('"');
    while !matches!(piece(&mut chars, open)?, Piece::End) {}
    Ok(text.len() - chars.as_str().len())
}

/// Takes the value of a quoted text with its quotes. Escapes are read in `"` and `'`, not in backquotes.
///
/// Escaped bytes that are no text become U+FFFD. It cannot be written as itself, so that only they look like this.
pub(crate) fn unquote(quoted: &str) -> Result<String, BadQuoted> {
    let mut chars = quoted.chars();
    let open = chars.next().unwrap_or('"');
    let mut bytes = Vec::with_capacity(quoted.len());
    loop {
        match piece(&mut chars, open)? {
            Piece::End => return Ok(String::from_utf8_lossy(&bytes).into_owned()),
            Piece::Char(c) => bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
            Piece::Byte(byte) => bytes.push(byte),
        }
    }
}

fn piece(chars: &mut Chars<'_>, open: char) -> Result<Piece, BadQuoted> {
    match (open, chars.next()) {
        ('`', None) => Err(BadQuoted::UnterminatedRaw),
        (_, Some(c)) if c == open => Ok(Piece::End),
        (_, Some(char::REPLACEMENT_CHARACTER)) => Err(BadQuoted::Replacement),
        ('`', Some(c)) => Ok(Piece::Char(c)),
        (_, None | Some('\n')) => Err(BadQuoted::Unterminated),
        (_, Some('\\')) => escape(chars, open),
        (_, Some(c)) => Ok(Piece::Char(c)),
    }
}

/// Reads what follows a backslash.
fn escape(chars: &mut Chars<'_>, open: char) -> Result<Piece, BadQuoted> {
    let c = chars.next().ok_or(BadQuoted::UnterminatedEscape)?;
    let byte = match c {
        'a' => 7,
        'b' => 8,
        'f' => 0xc,
        'n' => b'\n',
        'r' => b'\r',
        't' => b'\t',
        'v' => 0xb,
        '\\' => b'\\',
        'x' => code(chars, 0, 2, 16)? as u8,
        '0'..='7' => {
            u8::try_from(code(chars, c.to_digit(8).unwrap_or(0), 2, 8)?).map_err(|_| BadQuoted::NoCharacter)?
        }
        'u' | 'U' => {
            let digits = if c == 'u' { 4 } else { 8 };
            let c = char::from_u32(code(chars, 0, digits, 16)?).ok_or(BadQuoted::NoCharacter)?;
            return Ok(Piece::Char(c));
        }
        _ if c == open => open as u8,
        _ => return Err(BadQuoted::UnknownEscape(c)),
    };
    Ok(Piece::Byte(byte))
}

/// Reads so many digits behind a first value.
fn code(chars: &mut Chars<'_>, first: u32, digits: usize, base: u32) -> Result<u32, BadQuoted> {
    let mut code = first;
    for _ in 0..digits {
        let c = chars.next().ok_or(BadQuoted::UnterminatedEscape)?;
        let digit = c.to_digit(base).ok_or(BadQuoted::IllegalDigit(c))?;
        code = code.wrapping_mul(base) | digit;
    }
    Ok(code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_quoted_as_go_does() {
        for (text, expected) in [
            ("a\"b\\c'", r#""a\"b\\c'""#),
            ("\u{7}\u{8}\u{c}\n\r\t\u{b}\0\u{7f}", r#""\a\b\f\n\r\t\v\x00\x7f""#),
            ("héllo 世界 \u{301}", "\"héllo 世界 \u{301}\""),
            ("\u{fffd}", r#""\ufffd""#),
            ("\u{a0}\u{200b}\u{e000}\u{10ffff}", r#""\u00a0\u200b\ue000\U0010ffff""#),
        ] {
            assert_eq!(quote(text), expected);
        }
    }

    #[test]
    fn texts_are_read_as_go_does() {
        for (quoted, expected) in [
            (r#""a\"b'\n\x41\101\u00e9\U0001F600""#, Ok("a\"b'\nAAé😀".to_owned())),
            (r"'it\'s'", Ok("it's".to_owned())),
            (r"`raw \n`", Ok(r"raw \n".to_owned())),
            (r#""\xc3\xa9""#, Ok("é".to_owned())),
            (r#""a\xffb""#, Ok("a\u{fffd}b".to_owned())),
            ("\"\u{fffd}\"", Err(BadQuoted::Replacement)),
            (r#""\q""#, Err(BadQuoted::UnknownEscape('q'))),
            (r#""\'""#, Err(BadQuoted::UnknownEscape('\''))),
            (r#""\xg0""#, Err(BadQuoted::IllegalDigit('g'))),
            (r#""\u12""#, Err(BadQuoted::IllegalDigit('"'))),
            (r#""\u12"#, Err(BadQuoted::UnterminatedEscape)),
            (r#""\"#, Err(BadQuoted::UnterminatedEscape)),
            ("\"a\n\"", Err(BadQuoted::Unterminated)),
            ("`a", Err(BadQuoted::UnterminatedRaw)),
            (r#""\ud800""#, Err(BadQuoted::NoCharacter)),
            (r#""\777""#, Err(BadQuoted::NoCharacter)),
        ] {
            assert_eq!(unquote(quoted), expected, "{quoted}");
        }
    }

    #[test]
    fn a_quoted_text_ends_at_its_own_quote() {
        for (text, len) in [(r#""a"b"#, 3), (r#""a\"b"c"#, 6), ("'a\"'b'", 4), ("`a\\`b", 4), ("\"é\"", 4), ("``", 2)]
        {
            assert_eq!(quoted_len(text), Ok(len), "{text}");
        }
    }

    #[test]
    fn an_error_names_the_character() {
        assert_eq!(BadQuoted::UnknownEscape('q').to_string(), "unknown escape sequence U+0071 'q'");
    }
}

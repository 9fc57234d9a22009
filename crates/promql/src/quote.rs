//! Quoted texts as Go writes and reads them, because queries and messages of Prometheus hold them.
//!
//! Source: the Go language's string literals and `strconv.Quote`.

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

/// Letters, marks, numbers, punctuation, symbols and the ASCII space.
fn is_printable(c: char) -> bool {
    // The standard library escapes what cannot be printed and, at the beginning only, marks that would join the quote.
    c == ' '
        || c.is_ascii_graphic()
        || (!c.is_whitespace() && String::from_iter(['x', c]).escape_debug().nth(1) == Some(c))
}

/// Why a quoted text has no value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BadQuoted {
    /// A backslash before a character that needs none.
    #[error("unknown escape sequence {}", unicode_name(*.0))]
    UnknownEscape(char),
    /// A character that is no digit of the escape's number.
    #[error("illegal character {} in escape sequence", unicode_name(*.0))]
    IllegalDigit(char),
    /// The text ends within an escape.
    #[error("escape sequence not terminated")]
    Unterminated,
    /// A number that is no character.
    #[error("escape sequence is an invalid Unicode code point")]
    NoCharacter,
    /// Bytes that are no text.
    #[error("text is not valid UTF-8")]
    NoText,
}

fn unicode_name(c: char) -> String {
    format!("U+{:04X} '{c}'", u32::from(c))
}

/// Takes the value of a quoted text with its quotes. Escapes are read in `"` and `'`, not in backquotes.
pub(crate) fn unquote(quoted: &str) -> Result<String, BadQuoted> {
    let mut chars = quoted.chars();
    let open = chars.next().unwrap_or('"');
    chars.next_back();
    let body = chars.as_str();
    if open == '`' || !body.contains('\\') {
        return Ok(body.to_owned());
    }
    let mut bytes = Vec::with_capacity(body.len());
    let mut chars = body.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => unescape(&mut chars, open, &mut bytes)?,
            _ => push_char(&mut bytes, c),
        }
    }
    String::from_utf8(bytes).map_err(|_| BadQuoted::NoText)
}

fn push_char(bytes: &mut Vec<u8>, c: char) {
    bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
}

/// Reads what follows a backslash.
fn unescape(chars: &mut std::str::Chars<'_>, open: char, bytes: &mut Vec<u8>) -> Result<(), BadQuoted> {
    let c = chars.next().ok_or(BadQuoted::Unterminated)?;
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
            push_char(bytes, char::from_u32(code(chars, 0, digits, 16)?).ok_or(BadQuoted::NoCharacter)?);
            return Ok(());
        }
        _ if c == open => open as u8,
        _ => return Err(BadQuoted::UnknownEscape(c)),
    };
    bytes.push(byte);
    Ok(())
}

/// Reads so many digits behind a first value.
fn code(chars: &mut std::str::Chars<'_>, first: u32, digits: usize, base: u32) -> Result<u32, BadQuoted> {
    let mut code = first;
    for _ in 0..digits {
        let c = chars.next().ok_or(BadQuoted::Unterminated)?;
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
            (r#""\xff""#, Err(BadQuoted::NoText)),
            (r#""\q""#, Err(BadQuoted::UnknownEscape('q'))),
            (r#""\'""#, Err(BadQuoted::UnknownEscape('\''))),
            (r#""\xg0""#, Err(BadQuoted::IllegalDigit('g'))),
            (r#""\u12""#, Err(BadQuoted::Unterminated)),
            (r#""\ud800""#, Err(BadQuoted::NoCharacter)),
            (r#""\777""#, Err(BadQuoted::NoCharacter)),
        ] {
            assert_eq!(unquote(quoted), expected, "{quoted}");
        }
    }

    #[test]
    fn an_error_names_the_character() {
        assert_eq!(BadQuoted::UnknownEscape('q').to_string(), "unknown escape sequence U+0071 'q'");
    }
}

//! `[a-z]`: characters, ranges and named sets between brackets.

use super::{
    BadGoRegex,
    escape::{self, Escape},
};

/// Names that may stand in `[:…:]`; they are sets of ASCII in both dialects.
const NAMED: [&str; 14] = [
    "alnum", "alpha", "ascii", "blank", "cntrl", "digit", "graph", "lower", "print", "punct", "space", "upper", "word",
    "xdigit",
];

/// Translates the class at the beginning of a text; returns its bytes.
pub(super) fn translate(text: &str, out: &mut String) -> Result<usize, BadGoRegex> {
    let mut rest = text.get(1..).unwrap_or_default();
    out.push('[');
    if let Some(behind) = rest.strip_prefix('^') {
        out.push('^');
        rest = behind;
    }
    let mut first = true;
    loop {
        match rest.chars().next() {
            None => return Err(BadGoRegex::new("missing closing ]", text)),
            Some(']') if !first => break,
            Some(_) => rest = item(text, rest, out)?,
        }
        first = false;
    }
    out.push(']');
    Ok(text.len() - rest.len() + 1)
}

/// Translates one character, range or set; returns what is behind it.
fn item<'a>(class: &str, rest: &'a str, out: &mut String) -> Result<&'a str, BadGoRegex> {
    if let Some((name, behind)) = rest.strip_prefix("[:").and_then(|named| named.split_once(":]")) {
        let part = rest.get(..rest.len() - behind.len()).unwrap_or(rest);
        if !NAMED.contains(&name.strip_prefix('^').unwrap_or(name)) {
            return Err(BadGoRegex::new("invalid character class range", part));
        }
        out.push_str(part);
        return Ok(behind);
    }
    if let Some((set, behind)) = set(rest)? {
        let nested = set.starts_with('^');
        out.push_str(if nested { "[" } else { "" });
        out.push_str(&set);
        out.push_str(if nested { "]" } else { "" });
        return Ok(behind);
    }
    let (low, behind) = character(class, rest)?;
    let range = behind.strip_prefix('-').filter(|to| !to.starts_with(']') && !to.is_empty());
    let Some(to) = range else {
        push(out, low);
        return Ok(behind);
    };
    let (high, behind) = character(class, to)?;
    if high < low {
        let part = rest.get(..rest.len() - behind.len()).unwrap_or(rest);
        return Err(BadGoRegex::new("invalid character class range", part));
    }
    push(out, low);
    out.push('-');
    push(out, high);
    Ok(behind)
}

/// The set of an escape that is one, and what is behind it.
fn set(rest: &str) -> Result<Option<(String, &str)>, BadGoRegex> {
    if !rest.starts_with('\\')
        || !rest.get(1..).is_some_and(|rest| rest.starts_with(['d', 'D', 's', 'S', 'w', 'W', 'p', 'P']))
    {
        return Ok(None);
    }
    match escape::read(rest)? {
        (Escape::Class(set), len) => Ok(Some((set, rest.get(len..).unwrap_or_default()))),
        _ => Ok(None),
    }
}

/// One character, escaped or not, and what is behind it.
fn character<'a>(class: &str, rest: &'a str) -> Result<(char, &'a str), BadGoRegex> {
    let mut chars = rest.chars();
    match chars.next() {
        None => Err(BadGoRegex::new("missing closing ]", class)),
        Some('\\') => escape::character(rest).map(|(c, len)| (c, rest.get(len..).unwrap_or_default())),
        Some(c) => Ok((c, chars.as_str())),
    }
}

/// Writes a character so that it is nothing but itself.
fn push(out: &mut String, c: char) {
    if c.is_alphanumeric() {
        return out.push(c);
    }
    out.extend(c.escape_unicode());
}

//! Forms of several parts, as far as uploads of profiles need them.
//!
//! Source: RFC 7578, RFC 2046.

use std::collections::BTreeMap;

/// Parts of a form; clients send three.
const PARTS_MAX: usize = 16;
/// Longest boundary, by RFC 2046.
const BOUNDARY_MAX: usize = 70;

/// Bytes that are no such form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("byte {offset}: {what}")]
pub struct BadMultipart {
    /// Where.
    pub offset: usize,
    /// What is wrong there.
    pub what: &'static str,
}

/// Contents of parts by their names; of two with one name the first.
pub type Parts<'a> = BTreeMap<String, &'a [u8]>;

/// The boundary that a `Content-Type` names; `None` when it is another type.
pub fn boundary(content_type: &str) -> Option<String> {
    let (media, parameters) = content_type.split_once(';')?;
    if !media.trim().eq_ignore_ascii_case("multipart/form-data") {
        return None;
    }
    let value = parameters.split(';').find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        name.trim().eq_ignore_ascii_case("boundary").then(|| value.trim().trim_matches('"').to_owned())
    })?;
    (1..=BOUNDARY_MAX).contains(&value.len()).then_some(value)
}

/// Divides a body into its parts.
pub fn parts<'a>(body: &'a [u8], boundary: &str) -> Result<Parts<'a>, BadMultipart> {
    let mark = format!("--{boundary}");
    let find = memchr::memmem::Finder::new(mark.as_bytes());
    let bad = |offset, what| BadMultipart { offset, what };
    let at = |from: usize| body.get(from..).and_then(|rest| find.find(rest)).map(|found| from + found);
    let mut mark_at = at(0).ok_or(bad(0, "the form does not begin with its boundary"))?;
    let mut parts = Parts::new();
    loop {
        let from = mark_at + mark.len();
        let rest = body.get(from..).unwrap_or_default();
        if rest.starts_with(b"--") {
            return Ok(parts);
        }
        if parts.len() == PARTS_MAX {
            return Err(bad(from, "the form has more parts than are taken"));
        }
        let rest = rest.strip_prefix(b"\r\n").ok_or(bad(from, "a boundary is not followed by a line's end"))?;
        let from = body.len() - rest.len();
        let head = memchr::memmem::find(rest, b"\r\n\r\n").ok_or(bad(from, "a part has no end of its head"))?;
        let content_from = from + head + 4;
        mark_at = at(content_from).ok_or(bad(content_from, "a part is cut short"))?;
        let content = body.get(content_from..mark_at).unwrap_or_default();
        let content = content.strip_suffix(b"\r\n").ok_or(bad(mark_at, "a part does not end with its line"))?;
        let name = name_of(rest.get(..head).unwrap_or_default()).ok_or(bad(from, "a part has no name"))?;
        parts.entry(name).or_insert(content);
    }
}

fn name_of(head: &[u8]) -> Option<String> {
    let head = String::from_utf8_lossy(head);
    let (_, disposition) = head
        .lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.trim().eq_ignore_ascii_case("content-disposition"))?;
    let parameter = |parameter: &str| {
        let (name, value) = parameter.split_once('=')?;
        (name.trim() == "name").then(|| value.trim().trim_matches('"').to_owned())
    };
    disposition.split(';').find_map(parameter)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_is_divided() {
        let body = b"--b1\r\nContent-Disposition: form-data; name=\"profile\"; filename=\"p\"\r\nContent-Type: x\r\n\r\na\r\n--b\r\n\r\n--b1\r\ncontent-disposition: form-data; name=empty\r\n\r\n\r\n--b1--\r\n";
        let found = parts(body, "b1").unwrap();
        assert_eq!(found.get("profile"), Some(&&b"a\r\n--b\r\n"[..]));
        assert_eq!(found.get("empty"), Some(&&b""[..]));
        for cut in 0..body.len() - 4 {
            assert!(parts(&body[..cut], "b1").is_err(), "{cut}");
        }
        assert!(parts(b"--b1\r\n\r\n\r\n\r\n--b1--", "b1").is_err(), "without a name");
        assert_eq!(boundary("multipart/form-data; charset=x; boundary=\"b1\"").as_deref(), Some("b1"));
        assert_eq!((boundary("text/plain; boundary=b"), boundary("multipart/form-data")), (None, None));
    }
}

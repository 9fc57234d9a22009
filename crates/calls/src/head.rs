//! The few things that are read of a head of HTTP/1: method and path, status, and where the message ends.
//!
//! Values of all other fields are stepped over.
//! Source: RFC 9112, sections 3 (request line), 4 (status line), 6.3 (message body length).

use crate::{OTHER, Path, call::is_status};

/// Bytes of a head that are looked at: as many as are taken of a message.
pub(crate) const HEAD_BYTES_MAX: usize = 512;

/// How long what follows a head is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Body {
    /// So many bytes.
    Bytes(u64),
    /// Until it says so itself, or the connection ends; or the head is longer than what is looked at.
    Unknown,
}

/// The first line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Start {
    Request { method: &'static str, path: Path },
    Answer { status: u16 },
}

/// A head, as far as it is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) start: Start,
    /// Bytes of the whole head with its empty line; `None` when its end is not there.
    pub(crate) length: Option<usize>,
    pub(crate) body: Body,
}

/// What bytes are that may be a head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Parsed {
    Head(Head),
    /// It may become one; there are too few bytes.
    Part,
    No,
}

const METHODS: [&str; 9] = ["GET", "POST", "PUT", "DELETE", "HEAD", "PATCH", "OPTIONS", "CONNECT", "TRACE"];

/// Looks whether bytes begin with a head; what lies behind it does not matter.
pub(crate) fn parse(bytes: &[u8]) -> Parsed {
    let bytes = bytes.get(..HEAD_BYTES_MAX).unwrap_or(bytes);
    let Some((line, rest)) = line_of(bytes) else { return part_of(bytes) };
    let Some(start) = status_line(line).or_else(|| request_line(line)) else { return Parsed::No };
    let (fields, length) = fields(rest);
    let is_bare = matches!(start, Start::Answer { status: 100..200 | 204 | 304 });
    let body = match fields.length {
        _ if is_bare => Body::Bytes(0),
        _ if fields.is_coded => Body::Unknown,
        Some(length) => Body::Bytes(length),
        // What says where it ends may stand in what is not there.
        None if length.is_some() && matches!(start, Start::Request { .. }) => Body::Bytes(0),
        None => Body::Unknown,
    };
    Parsed::Head(Head { start, length: length.map(|rest| line.len() + 2 + rest), body })
}

/// Whether bytes without the end of a line may begin a head: a path that is longer than what is looked at is told as such.
fn part_of(bytes: &[u8]) -> Parsed {
    let method = bytes.split(|byte| *byte == b' ').next().unwrap_or_default();
    let is_whole = method.len() < bytes.len();
    let is_method =
        |name: &&&str| if is_whole { name.as_bytes() == method } else { name.as_bytes().starts_with(method) };
    let Some(known) = METHODS.iter().find(is_method).filter(|_| !method.is_empty()) else {
        return if b"HTTP/1.1 ".starts_with(bytes) || is_status_part(bytes) { Parsed::Part } else { Parsed::No };
    };
    if bytes.len() < HEAD_BYTES_MAX {
        return Parsed::Part;
    }
    let start = Start::Request { method: known, path: Path::too_long() };
    Parsed::Head(Head { start, length: None, body: Body::Unknown })
}

/// A status line that is not whole.
fn is_status_part(bytes: &[u8]) -> bool {
    bytes.len() < HEAD_BYTES_MAX && bytes.starts_with(b"HTTP/1.")
}

/// The bytes before the first CR LF, and those behind it.
fn line_of(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = bytes.windows(2).position(|two| two == b"\r\n")?;
    Some((bytes.get(..at)?, bytes.get(at + 2..)?))
}

/// `HTTP/1.1 503 Service Unavailable`.
fn status_line(line: &[u8]) -> Option<Start> {
    let rest = line.strip_prefix(b"HTTP/1.1 ").or_else(|| line.strip_prefix(b"HTTP/1.0 "))?;
    let (digits, reason) = rest.split_at_checked(3)?;
    let status: u16 = str::from_utf8(digits).ok()?.parse().ok()?;
    let ends = reason.first().is_none_or(|byte| *byte == b' ');
    (is_status(status) && ends).then_some(Start::Answer { status })
}

/// `GET /path?query HTTP/1.1`.
fn request_line(line: &[u8]) -> Option<Start> {
    let mut words = line.split(|byte| *byte == b' ');
    let (method, target, version) = (words.next()?, words.next()?, words.next()?);
    if words.next().is_some() || (version != b"HTTP/1.1" && version != b"HTTP/1.0") || target.is_empty() {
        return None;
    }
    let is_token = !method.is_empty() && method.iter().all(|byte| byte.is_ascii_uppercase() || *byte == b'-');
    is_token.then(|| Start::Request { method: method_of(method), path: Path::of_target(target) })
}

/// A known method, else [`OTHER`].
pub(crate) fn method_of(text: &[u8]) -> &'static str {
    METHODS.iter().find(|name| name.as_bytes() == text).copied().unwrap_or(OTHER)
}

#[derive(Clone, Copy, Debug, Default)]
struct Fields {
    length: Option<u64>,
    is_coded: bool,
}

/// What fields say about the body, and the bytes up to behind the empty line when that is there.
fn fields(mut rest: &[u8]) -> (Fields, Option<usize>) {
    let (mut fields, whole) = (Fields::default(), rest.len());
    while let Some((line, behind)) = line_of(rest) {
        rest = behind;
        if line.is_empty() {
            return (fields, Some(whole - rest.len()));
        }
        if let Some(value) = value_of(line, b"content-length") {
            // Two lengths that differ, or none: whoever reads on would guess.
            let length = str::from_utf8(value).ok().and_then(|text| text.parse().ok());
            fields.is_coded |= length.is_none() || fields.length.is_some_and(|other| Some(other) != length);
            fields.length = length;
        }
        fields.is_coded |= value_of(line, b"transfer-encoding").is_some();
    }
    (fields, None)
}

/// The value of a field, when it has this name.
fn value_of<'a>(line: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let (found, value) = line.split_at_checked(name.len())?;
    let value = value.strip_prefix(b":")?;
    found.eq_ignore_ascii_case(name).then(|| value.trim_ascii())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(text: &str) -> Head {
        match parse(text.as_bytes()) {
            Parsed::Head(head) => head,
            other => panic!("{other:?} of {text:?}"),
        }
    }

    fn request(text: &str) -> (&'static str, String) {
        match head(text).start {
            Start::Request { method, path } => (method, path.as_str().to_owned()),
            Start::Answer { .. } => panic!("no request: {text:?}"),
        }
    }

    #[test]
    fn of_a_request_method_and_path_are_read_and_nothing_else() {
        let text = "GET /orders?token=secret HTTP/1.1\r\nHost: shop\r\nAuthorization: Bearer secret\r\nCookie: a=secret\r\n\r\nrest";
        let got = head(text);
        assert!(!format!("{got:?}").contains("secret"), "{got:?}");
        assert_eq!(request(text), ("GET", "/orders".to_owned()));
        assert_eq!((got.length, got.body), (Some(text.len() - 4), Body::Bytes(0)));
        assert_eq!(request("BREW /pot HTTP/1.1\r\n\r\n"), (OTHER, "/pot".to_owned()));
        assert_eq!(request("GET http://shop.example/a/b?c HTTP/1.1\r\n\r\n").1, "/a/b");
    }

    #[test]
    fn where_a_message_ends_is_read() {
        assert_eq!(head("POST /a HTTP/1.1\r\ncontent-LENGTH: 12 \r\n\r\n").body, Body::Bytes(12));
        assert_eq!(
            head("POST /a HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n").body,
            Body::Unknown
        );
        assert_eq!(head("HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\n").body, Body::Unknown);
        assert_eq!(head("HTTP/1.1 200 OK\r\nContent-Length: -3\r\n\r\n").body, Body::Unknown);
        assert_eq!(head("HTTP/1.1 200 OK\r\n\r\n").body, Body::Unknown);
        assert_eq!(head("HTTP/1.1 304 X\r\nContent-Length: 9\r\n\r\n").body, Body::Bytes(0));
        // The end of the head is not there, so a length may still come.
        assert_eq!(head("HTTP/1.1 200 OK\r\nServer: x\r\n").body, Body::Unknown);
        assert_eq!(head("HTTP/1.0 503 No\r\nContent-Length: 3\r\nX: ").body, Body::Bytes(3));
    }

    #[test]
    fn what_is_no_head_is_not_taken_for_one() {
        for text in [
            "HTTP/1.1 099 x\r\n\r\n",
            "HTTP/1.1 2000\r\n\r\n",
            "HTTP/2 200\r\n\r\n",
            "GET /a\r\n\r\n",
            "GET /a HTTP/1.1 x\r\n\r\n",
            "get /a HTTP/1.1\r\n\r\n",
            "GETTING somewhere",
            "{\"a\":1}",
            "",
        ] {
            let parsed = parse(text.as_bytes());
            assert!(parsed == Parsed::No || text.is_empty(), "{text:?}: {parsed:?}");
        }
        for text in ["G", "GET", "GET /a", "HTTP", "HTTP/1.1 20"] {
            assert_eq!(parse(text.as_bytes()), Parsed::Part, "{text:?}");
        }
    }

    #[test]
    fn a_path_that_does_not_end_is_told_as_such() {
        let text = format!("GET /{} HTTP/1.1\r\n\r\n", "a".repeat(HEAD_BYTES_MAX));
        assert_eq!(request(&text), ("GET", Path::too_long().as_str().to_owned()));
    }
}

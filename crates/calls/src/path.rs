//! Which resource a request is about, so that requests of one kind have one name.
//!
//! Segments that look like somebody's or something's own name (numbers, long hexadecimal words, addresses of mail) become
//! `{id}`; queries are cut. What a segment means nobody knows here: a name in words stays, and who counts bounds how many
//! paths there are.

/// Stands for everything that is too much to tell apart.
pub const OTHER: &str = "__other__";

/// Bytes of a path that are kept.
const PATH_BYTES_MAX: usize = 128;
/// Segments that are kept.
const SEGMENTS_MAX: usize = 8;

/// A path without what is particular to one request: visible ASCII, at most 128 bytes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Path(String);

impl Path {
    /// Of a request's target: a path with a query, or a whole address.
    pub fn of_target(target: &[u8]) -> Self {
        let Ok(text) = str::from_utf8(target) else { return Self::unreadable() };
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Self::unreadable();
        }
        let text = match text.split_once("://") {
            Some((_, rest)) => rest.find('/').map_or("/", |at| rest.get(at..).unwrap_or("/")),
            None => text,
        };
        let path = text.split(['?', '#']).next().unwrap_or(text);
        if !path.starts_with('/') {
            // `*` of OPTIONS, and the host that CONNECT wants.
            return Self(if path == "*" { path.to_owned() } else { OTHER.to_owned() });
        }
        Self::of_path(path)
    }

    fn of_path(path: &str) -> Self {
        let mut kept = String::with_capacity(path.len());
        for (at, segment) in path.split('/').skip(1).enumerate() {
            kept.push('/');
            if at == SEGMENTS_MAX {
                kept.push_str("...");
                break;
            }
            kept.push_str(if is_own(segment) { "{id}" } else { segment });
        }
        if PATH_BYTES_MAX < kept.len() { Self::too_long() } else { Self(kept) }
    }

    /// Longer than what is looked at or kept.
    pub fn too_long() -> Self {
        Self("__long__".to_owned())
    }

    /// It was told before anybody looked, and is only referred to.
    pub(crate) fn unseen() -> Self {
        Self("<pre-attach>".to_owned())
    }

    /// Not text.
    fn unreadable() -> Self {
        Self("__unreadable__".to_owned())
    }

    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for Path {
    fn default() -> Self {
        Self(OTHER.to_owned())
    }
}

/// Whether a segment is the name of one thing rather than of a kind.
fn is_own(segment: &str) -> bool {
    let digits = segment.bytes().filter(u8::is_ascii_digit).count();
    let is_number = 0 < digits && digits == segment.len();
    let is_hex = |byte: u8| byte.is_ascii_hexdigit() || byte == b'-';
    let is_word_of_digits = 8 <= segment.len() && 0 < digits && segment.bytes().all(is_hex);
    // Encoded bytes are words that people typed; tokens are long and have digits.
    let is_token = 24 <= segment.len() && 0 < digits;
    is_number || is_word_of_digits || is_token || segment.contains(['@', '%', '='])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(target: &str) -> String {
        Path::of_target(target.as_bytes()).as_str().to_owned()
    }

    #[test]
    fn what_is_particular_to_one_request_is_left_out() {
        assert_eq!(path("/orders/4711/items?user=7#x"), "/orders/{id}/items");
        assert_eq!(path("/u/6f1c2d5e-0b8a-4d53-9c1d-1f2e3d4c5b6a"), "/u/{id}");
        assert_eq!(path("/mail/jane@example.com/%6Aane"), "/mail/{id}/{id}");
        assert_eq!(path("/v1/facade/deadbeef"), "/v1/facade/deadbeef", "words without digits are words");
        assert_eq!(path("/a/eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9"), "/a/{id}");
    }

    #[test]
    fn paths_are_bounded_and_visible() {
        assert_eq!(path("/1/2/a/b/c/d/e/f/g/h"), "/{id}/{id}/a/b/c/d/e/f/...");
        assert_eq!(path(&format!("/{}", "a".repeat(200))), "__long__");
        assert_eq!(Path::of_target(b"/\xff"), Path::unreadable());
        assert_eq!(Path::of_target(b"/a\x1b[31m"), Path::unreadable());
        assert_eq!(
            (path("*"), path("example.com:443"), path("")),
            ("*".to_owned(), OTHER.to_owned(), OTHER.to_owned())
        );
        assert_eq!(path("http://example.com"), "/");
    }
}

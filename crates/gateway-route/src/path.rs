//! Paths as text: which ones a route may be declared for, and which ones the gateway should refuse to forward.
//!
//! Routes match the path *as it was sent*: percent-escapes are not decoded, `//` is an empty segment, and `.` and `..`
//! are ordinary segments. That keeps the decision a function of the very bytes that the upstream gets. The price: a path
//! which an upstream would resolve to somewhere else must not be forwarded at all, or `/public/../admin` would use the
//! rules of `/public`. [`check_request`] finds those; the proxy answers 400.

use crate::spec::PathMatch;

/// Longest path pattern. A URL beyond 2,000 characters does not survive browsers and logs; half of that is generous.
pub const PATTERN_BYTES_MAX: usize = 1_024;

/// What is wrong with a path or a path pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PathFault {
    /// Does not begin with `/`.
    #[error("it must begin with `/`")]
    NoSlash,
    /// Longer than [`PATTERN_BYTES_MAX`]; patterns only.
    #[error("a pattern has at most {PATTERN_BYTES_MAX} characters, this one has {len}")]
    TooLong {
        /// Its length.
        len: usize,
    },
    /// A byte that paths do not have: control, space, not ASCII, `?`, `#`, and the backslash, which some servers take
    /// for a slash.
    #[error("`{}` is not possible in a path; write it as a percent-escape (the query never takes part)", found.escape_debug())]
    Character {
        /// The first such character.
        found: char,
    },
    /// `%` without two hexadecimal digits, or `%00`.
    #[error("`%` must be followed by two hexadecimal digits other than 00")]
    Escape,
    /// A segment that a server may resolve: `.` or `..`, also percent-encoded, with path parameters (`..;x`), or
    /// behind an encoded slash.
    #[error("it has a `.` or `..` segment; write the path that it stands for")]
    DotSegment,
}

/// Checks a request's path, without query. `Ok` means: what the routes see is what every upstream will see.
pub fn check_request(path: &str) -> Result<(), PathFault> {
    if !path.starts_with('/') {
        return Err(PathFault::NoSlash);
    }
    if let Some(found) = path.chars().find(|c| !c.is_ascii_graphic() || matches!(c, '?' | '#' | '\\')) {
        return Err(PathFault::Character { found });
    }
    check_escapes(path.as_bytes())?;
    if has_dot_segment(path.as_bytes()) { Err(PathFault::DotSegment) } else { Ok(()) }
}

/// Whether [`check_request`] has nothing to object to.
pub fn is_normal(path: &str) -> bool {
    check_request(path).is_ok()
}

/// Checks a pattern: a path that may be requested, of bounded length.
pub(crate) fn check_pattern(pattern: &PathMatch) -> Result<(), PathFault> {
    let (PathMatch::Exact(path) | PathMatch::Prefix(path)) = pattern;
    if PATTERN_BYTES_MAX < path.len() {
        return Err(PathFault::TooLong { len: path.len() });
    }
    check_request(path)
}

fn check_escapes(path: &[u8]) -> Result<(), PathFault> {
    let mut rest = path;
    while let Some(percent) = rest.iter().position(|byte| *byte == b'%') {
        rest = rest.get(percent..).unwrap_or_default();
        match rest {
            [_, b'0', b'0', ..] => return Err(PathFault::Escape),
            [_, high, low, tail @ ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => rest = tail,
            _ => return Err(PathFault::Escape),
        }
    }
    Ok(())
}

/// Walks once over the path and classifies each segment: only dots so far, and how many.
fn has_dot_segment(path: &[u8]) -> bool {
    let (mut rest, mut dots, mut only_dots) = (path, 0, true);
    loop {
        let (byte, tail) = match rest {
            [] => return only_dots && matches!(dots, 1 | 2),
            [b'%', high, low, tail @ ..] => (hex(*high) << 4 | hex(*low), tail),
            [byte, tail @ ..] => (*byte, tail),
        };
        rest = tail;
        match byte {
            b'/' | b'\\' => {
                if only_dots && matches!(dots, 1 | 2) {
                    return true;
                }
                (dots, only_dots) = (0, true);
            }
            b'.' => dots += 1,
            // Path parameters are cut off by some servers before they resolve the dots.
            b';' if only_dots && matches!(dots, 1 | 2) => return true,
            _ => only_dots = false,
        }
    }
}

fn hex(digit: u8) -> u8 {
    char::from(digit).to_digit(16).unwrap_or(0) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ordinary_paths_pass() {
        for path in
            ["/", "/a/b", "/a//b", "/a.b/..c/...", "/a%20b/%e4", "/a;v=1/b", "/.well-known/x", "/a/b..", "/a/%2f"]
        {
            assert_eq!(check_request(path), Ok(()), "{path}");
        }
    }

    #[test]
    fn paths_that_a_server_could_resolve_elsewhere_do_not() {
        for path in [
            "/..",
            "/.",
            "/a/../b",
            "/a/./b",
            "/a/..",
            "/a/%2e%2E/b",
            "/a/.%2e",
            "/a%2f..%2fb",
            "/a%5c../b",
            "/..;/b",
            "/a/..;x=1/b",
            "/%2e",
            "/a/%2e%2e%2f",
        ] {
            assert_eq!(check_request(path), Err(PathFault::DotSegment), "{path}");
        }
        for (path, fault) in [
            ("", PathFault::NoSlash),
            ("*", PathFault::NoSlash),
            ("a/b", PathFault::NoSlash),
            ("/a\\b", PathFault::Character { found: '\\' }),
            ("/a b", PathFault::Character { found: ' ' }),
            ("/a?b", PathFault::Character { found: '?' }),
            ("/ä", PathFault::Character { found: 'ä' }),
            ("/a\u{0}", PathFault::Character { found: '\u{0}' }),
            ("/%", PathFault::Escape),
            ("/%g0", PathFault::Escape),
            ("/a%00", PathFault::Escape),
            ("/%2", PathFault::Escape),
        ] {
            assert_eq!(check_request(path), Err(fault), "{path}");
        }
    }

    #[test]
    fn patterns_are_bounded() {
        let long = format!("/{}", "a".repeat(PATTERN_BYTES_MAX));
        assert_eq!(check_pattern(&PathMatch::Exact(long)), Err(PathFault::TooLong { len: PATTERN_BYTES_MAX + 1 }));
        assert_eq!(check_pattern(&PathMatch::Prefix("/a/".to_owned())), Ok(()));
    }
}

//! What a request head must look like before anything is done with it, as pure functions.
//!
//! hyper's parser is strict about *framing* (two lengths, bad chunks, obsolete folding). It has no opinion about *policy*:
//! a request without `Host`, with two of them, or with `CONNECT` passes it. A proxy that forwards what the next
//! server reads differently is how requests are smuggled and routes are bypassed, so whatever has two readings is refused.
//!
//! Not here: rewriting of headers (`hop`), answers to refused requests (`answer`).
//! Invariant: for every head, `check` returns; an accepted head has exactly one authority, an origin-form path without dot
//! segments however they are written, and at most one way to find the end of its body.
//! Source: RFC 9110 §7, RFC 9112 §§2, 3, 6, RFC 9113 §8.3.

use homeostat_gateway_route::path;
use http::{HeaderMap, HeaderName, Method, StatusCode, Uri, Version, header};

/// Longest accepted authority: 253 characters of a DNS name, a colon and a port.
pub const AUTHORITY_BYTES_MAX: usize = 259;

/// A head that passed [`check`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Accepted<'a> {
    /// Host and port as the client wrote them, from the request target, `:authority` or `Host`.
    pub authority: &'a str,
    /// Path, beginning with `/`, without the query.
    pub path: &'a str,
    /// Whether the client asked to switch to WebSocket, in a form that may be forwarded.
    pub upgrade: Upgrade,
}

/// A protocol switch that the client asked for. Others than WebSocket are not forwarded: `Upgrade: h2c` in particular
/// would let a client speak past every rule of this module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Upgrade {
    /// None, or one that is ignored.
    None,
    /// WebSocket over HTTP/1.1.
    WebSocket,
}

/// Why a request was refused before it was routed. The discriminant indexes the counters of refusals.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Rejection {
    /// `CONNECT`, plain or extended: this is a gateway, not a forward proxy.
    Connect = 0,
    /// Neither `Host` nor an authority in the target.
    HostMissing = 1,
    /// More than one `Host`.
    HostRepeated = 2,
    /// `Host` or authority is not `name[:port]` or `address[:port]`; user information included.
    HostInvalid = 3,
    /// The authority of the target and `Host` differ.
    HostMismatch = 4,
    /// The target is neither a path nor an absolute `http`/`https` URI.
    Target = 5,
    /// The path has a `.` or `..` segment, a backslash or a control character, plain or percent-encoded, or is not ASCII.
    Path = 6,
    /// `Content-Length` together with `Transfer-Encoding`, several lengths, or a coding other than `chunked`.
    Framing = 7,
    /// An `Expect` other than `100-continue`.
    Expectation = 8,
    /// More header fields than allowed.
    HeadersMany = 9,
    /// Header names and values together are larger than allowed.
    HeadersLarge = 10,
    /// No route matches.
    NoRoute = 11,
    /// The declared length of the body is above the limit.
    BodyLarge = 12,
}

impl Rejection {
    /// Number of reasons; the discriminants are `0..COUNT`.
    pub const COUNT: usize = 13;
    /// All reasons in the order of their discriminants.
    pub const ALL: [Self; Self::COUNT] = [
        Self::Connect,
        Self::HostMissing,
        Self::HostRepeated,
        Self::HostInvalid,
        Self::HostMismatch,
        Self::Target,
        Self::Path,
        Self::Framing,
        Self::Expectation,
        Self::HeadersMany,
        Self::HeadersLarge,
        Self::NoRoute,
        Self::BodyLarge,
    ];

    /// The label value used in metrics.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::HostMissing => "host_missing",
            Self::HostRepeated => "host_repeated",
            Self::HostInvalid => "host_invalid",
            Self::HostMismatch => "host_mismatch",
            Self::Target => "target",
            Self::Path => "path",
            Self::Framing => "framing",
            Self::Expectation => "expectation",
            Self::HeadersMany => "headers_many",
            Self::HeadersLarge => "headers_large",
            Self::NoRoute => "no_route",
            Self::BodyLarge => "body_large",
        }
    }

    /// The status it is answered with.
    pub const fn status(self) -> StatusCode {
        match self {
            Self::Connect => StatusCode::METHOD_NOT_ALLOWED,
            Self::Expectation => StatusCode::EXPECTATION_FAILED,
            Self::HeadersMany | Self::HeadersLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::NoRoute => StatusCode::NOT_FOUND,
            Self::BodyLarge => StatusCode::PAYLOAD_TOO_LARGE,
            _ => StatusCode::BAD_REQUEST,
        }
    }

    /// What happened and what the client can do, for the answer's body.
    pub const fn detail(self) -> &'static str {
        match self {
            Self::Connect => "CONNECT is not supported here; send the request itself",
            Self::HostMissing => "the request names no host; send exactly one Host header or :authority",
            Self::HostRepeated => "the request names its host more than once; send exactly one Host header",
            Self::HostInvalid => "the host is not `name[:port]`; remove user information and unusual characters",
            Self::HostMismatch => "the request target and the Host header name different hosts; make them equal",
            Self::Target => "the request target is neither a path nor an absolute http(s) URI",
            Self::Path => {
                "the path has `.` or `..` segments, backslashes, control characters or unescaped bytes beyond ASCII; send it resolved and escaped"
            }
            Self::Framing => {
                "the end of the body can be read in two ways; send one Content-Length or chunked, not both"
            }
            Self::Expectation => "only `Expect: 100-continue` is supported; remove the header",
            Self::HeadersMany => "too many header fields; send fewer",
            Self::HeadersLarge => "the header fields are too large together; send less",
            Self::NoRoute => "no route matches this host, path, method and these headers; check the route documents",
            Self::BodyLarge => "the request body is larger than allowed; send less or raise the limit",
        }
    }
}

/// Checks a request head that the parser has already accepted. `headers` must not include pseudo-headers;
/// for HTTP/2, `uri` carries `:scheme`, `:authority` and `:path`.
pub fn check<'a>(
    method: &Method,
    uri: &'a Uri,
    version: Version,
    headers: &'a HeaderMap,
) -> Result<Accepted<'a>, Rejection> {
    if method == Method::CONNECT {
        return Err(Rejection::Connect);
    }
    let path = check_target(uri)?;
    let authority = check_authority(uri, headers)?;
    check_framing(version, headers)?;
    check_expectation(headers)?;
    Ok(Accepted { authority, path, upgrade: wanted_upgrade(method, version, headers) })
}

/// Bounds on the number and size of header fields, for versions of HTTP whose parser does not enforce them itself.
/// The size counts names, values and 4 bytes of punctuation a field, as HTTP/1 would send them.
pub fn check_size(headers: &HeaderMap, fields_max: usize, bytes_max: usize) -> Result<(), Rejection> {
    if fields_max < headers.len() {
        return Err(Rejection::HeadersMany);
    }
    let size = |(name, value): (&HeaderName, &http::HeaderValue)| name.as_str().len() + value.len() + 4;
    if bytes_max < headers.iter().map(size).sum() { Err(Rejection::HeadersLarge) } else { Ok(()) }
}

/// Returns the path of an origin-form or absolute-form target.
fn check_target(uri: &Uri) -> Result<&str, Rejection> {
    if uri.scheme_str().is_some_and(|scheme| scheme != "http" && scheme != "https") {
        return Err(Rejection::Target);
    }
    let path = uri.path();
    if !path.starts_with('/') {
        return Err(Rejection::Target); // Asterisk form, authority form.
    }
    // The common path has none of the bytes that could be trouble: one pass decides.
    if path.bytes().any(|b| matches!(b, b'.' | b'%' | b'\\' | b'#') || !b.is_ascii_graphic()) && !is_plain_path(path) {
        return Err(Rejection::Path);
    }
    Ok(path)
}

/// Whether a path has one reading: the rules of the routes ([`path::check_request`]: dot segments in every disguise, broken
/// escapes, bytes beyond ASCII, which some servers take for UTF-8 and some for Latin-1), and no encoded control character or
/// backslash, which routes do not mind but servers may.
fn is_plain_path(path: &str) -> bool {
    let is_hidden = |escape: &[u8]| {
        matches!(escape, [b'%', b'0' | b'1', _] | [b'%', b'7', b'f' | b'F'] | [b'%', b'5', b'c' | b'C'])
    };
    path::check_request(path).is_ok() && !path.as_bytes().windows(3).any(is_hidden)
}

/// Returns the one authority of the request.
fn check_authority<'a>(uri: &'a Uri, headers: &'a HeaderMap) -> Result<&'a str, Rejection> {
    let mut hosts = headers.get_all(header::HOST).iter();
    let host = hosts.next();
    if hosts.next().is_some() {
        return Err(Rejection::HostRepeated);
    }
    let host = host.map(|value| value.to_str().map_err(|_| Rejection::HostInvalid)).transpose()?;
    let target = uri.authority().map(http::uri::Authority::as_str);
    let authority = match (target, host) {
        (None, None) => return Err(Rejection::HostMissing),
        (Some(target), Some(host)) if !target.eq_ignore_ascii_case(host) => return Err(Rejection::HostMismatch),
        (Some(authority), _) | (None, Some(authority)) => authority,
    };
    if is_valid_authority(authority) { Ok(authority) } else { Err(Rejection::HostInvalid) }
}

/// Whether `text` is `host` or `host:port` with a DNS name, IPv4 address or bracketed IPv6 address.
pub fn is_valid_authority(text: &str) -> bool {
    if text.is_empty() || AUTHORITY_BYTES_MAX < text.len() {
        return false;
    }
    let (host_is_valid, rest) = if let Some(after) = text.strip_prefix('[') {
        let Some((address, rest)) = after.split_once(']') else { return false };
        (address.parse::<std::net::Ipv6Addr>().is_ok(), rest)
    } else {
        let end = text.find(':').unwrap_or(text.len());
        let (host, rest) = text.split_at(end);
        let is_name_byte = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_');
        (!host.is_empty() && !host.starts_with('.') && host.bytes().all(is_name_byte), rest)
    };
    let port_is_valid = match rest.strip_prefix(':') {
        None => rest.is_empty(),
        Some(port) => !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()) && port.parse::<u16>().is_ok(),
    };
    host_is_valid && port_is_valid
}

/// Refuses heads whose body has two possible ends. hyper drops `Content-Length` beside `Transfer-Encoding` before this
/// can see it; it then also ends the connection after the answer, and the request goes on with one framing, ours.
fn check_framing(version: Version, headers: &HeaderMap) -> Result<(), Rejection> {
    let mut codings = headers.get_all(header::TRANSFER_ENCODING).iter();
    let coding = codings.next();
    if let Some(coding) = coding {
        let is_chunked = coding.as_bytes().trim_ascii().eq_ignore_ascii_case(b"chunked");
        if version != Version::HTTP_11 || !is_chunked || codings.next().is_some() {
            return Err(Rejection::Framing);
        }
    }
    let mut lengths = headers.get_all(header::CONTENT_LENGTH).iter();
    let length = lengths.next();
    if let Some(length) = length {
        let is_number = !length.is_empty() && length.as_bytes().iter().all(u8::is_ascii_digit);
        if coding.is_some() || !is_number || lengths.next().is_some() {
            return Err(Rejection::Framing);
        }
    }
    Ok(())
}

fn check_expectation(headers: &HeaderMap) -> Result<(), Rejection> {
    match headers.get(header::EXPECT) {
        Some(value) if !value.as_bytes().eq_ignore_ascii_case(b"100-continue") => Err(Rejection::Expectation),
        _ => Ok(()),
    }
}

/// Returns the declared length of the body, if there is one; [`check`] has made sure that it is a single number.
pub fn declared_length(headers: &HeaderMap) -> Option<u64> {
    // A number too large for 64 bits is too large for every limit.
    headers
        .get(header::CONTENT_LENGTH)
        .map(|value| value.to_str().ok().and_then(|text| text.parse().ok()).unwrap_or(u64::MAX))
}

/// A WebSocket handshake: `GET`, HTTP/1.1, no body, `Connection` naming `upgrade`, `Upgrade` being `websocket` alone.
fn wanted_upgrade(method: &Method, version: Version, headers: &HeaderMap) -> Upgrade {
    let mut protocols = headers.get_all(header::UPGRADE).iter();
    let (Some(protocol), None) = (protocols.next(), protocols.next()) else { return Upgrade::None };
    let has_body = headers.contains_key(header::TRANSFER_ENCODING) || declared_length(headers).unwrap_or(0) > 0;
    let is_websocket = method == Method::GET
        && version == Version::HTTP_11
        && !has_body
        && protocol.as_bytes().eq_ignore_ascii_case(b"websocket")
        && connection_tokens(headers).any(|token| token.eq_ignore_ascii_case("upgrade"));
    if is_websocket { Upgrade::WebSocket } else { Upgrade::None }
}

/// Names listed in `Connection`, trimmed, empty ones left out. Values that are not visible ASCII list nothing.
pub fn connection_tokens(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let values = headers.get_all(header::CONNECTION).iter();
    values
        .filter_map(|value| value.to_str().ok())
        .flat_map(|text| text.split(','))
        .map(str::trim)
        .filter(|t| !t.is_empty())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn verdict(method: &str, target: &str, version: Version, headers: &[(&str, &str)]) -> Result<String, Rejection> {
        let method = Method::from_bytes(method.as_bytes()).expect("test method");
        let uri: Uri = target.parse().expect("test target");
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(name.parse::<HeaderName>().expect("test name"), value.parse().expect("test value"));
        }
        check(&method, &uri, version, &map).map(|ok| format!("{} {} {:?}", ok.authority, ok.path, ok.upgrade))
    }

    /// Method, target, version, headers; authority, path and upgrade, or why not.
    type Case<'a> = (&'a str, &'a str, Version, &'a [(&'a str, &'a str)], Result<&'a str, Rejection>);

    #[test]
    fn heads_with_two_readings_are_refused() {
        use Rejection as R;
        const H11: Version = Version::HTTP_11;
        let host = ("host", "a.example");
        let cases: &[Case<'_>] = &[
            ("GET", "/", H11, &[host], Ok("a.example / None")),
            ("GET", "/x?y=../z", H11, &[host], Ok("a.example /x None")),
            ("GET", "/", H11, &[], Err(R::HostMissing)),
            ("GET", "/", Version::HTTP_10, &[], Err(R::HostMissing)),
            ("GET", "/", H11, &[host, host], Err(R::HostRepeated)),
            ("GET", "/", H11, &[("host", "")], Err(R::HostInvalid)),
            ("GET", "/", H11, &[("host", "user@a.example")], Err(R::HostInvalid)),
            ("GET", "/", H11, &[("host", "a.example:99999")], Err(R::HostInvalid)),
            ("GET", "/", H11, &[("host", "a.example:")], Err(R::HostInvalid)),
            ("GET", "/", H11, &[("host", "a.example, b.example")], Err(R::HostInvalid)),
            ("GET", "/", H11, &[("host", "[::1]:8080")], Ok("[::1]:8080 / None")),
            ("GET", "/", H11, &[("host", "[::1")], Err(R::HostInvalid)),
            ("GET", "http://a.example/x", H11, &[("host", "A.example")], Ok("a.example /x None")),
            ("GET", "http://b.example/x", H11, &[host], Err(R::HostMismatch)),
            ("GET", "http://user:pw@a.example/", H11, &[], Err(R::HostInvalid)),
            ("GET", "ftp://a.example/", H11, &[], Err(R::Target)),
            ("GET", "https://a.example/x", Version::HTTP_2, &[], Ok("a.example /x None")),
            ("OPTIONS", "*", H11, &[host], Err(R::Target)),
            ("CONNECT", "a.example:443", H11, &[host], Err(R::Connect)),
            ("GET", "/a/../b", H11, &[host], Err(R::Path)),
            ("GET", "/a/%2e%2E/b", H11, &[host], Err(R::Path)),
            ("GET", "/a/.%2e", H11, &[host], Err(R::Path)),
            ("GET", "/a/..;x=1/b", H11, &[host], Err(R::Path)),
            ("GET", "/a%5c..%5cb", H11, &[host], Err(R::Path)),
            ("GET", "/a%5Cb", H11, &[host], Err(R::Path)),
            ("GET", "/a%1fb", H11, &[host], Err(R::Path)),
            ("GET", "/a%7Fb", H11, &[host], Err(R::Path)),
            ("GET", "/public/..%2fadmin", H11, &[host], Err(R::Path)),
            ("GET", "/a%2F..", H11, &[host], Err(R::Path)),
            ("GET", "/a/%2e%2e%2fadmin", H11, &[host], Err(R::Path)),
            ("GET", "/a/%2e%2e;x/admin", H11, &[host], Err(R::Path)),
            ("GET", "/a/..%3bx/b", H11, &[host], Err(R::Path)),
            ("GET", "/a%2fb", H11, &[host], Ok("a.example /a%2fb None")),
            ("GET", "/caf\u{e9}", H11, &[host], Err(R::Path)),
            ("GET", "/caf%C3%A9", H11, &[host], Ok("a.example /caf%C3%A9 None")),
            ("GET", "/%25%32%65", H11, &[host], Ok("a.example /%25%32%65 None")),
            ("GET", "/a%00", H11, &[host], Err(R::Path)),
            ("GET", "/a%0d%0aX:%20y", H11, &[host], Err(R::Path)),
            ("GET", "/a%zz", H11, &[host], Err(R::Path)),
            ("GET", "/.well-known/x.tar.gz", H11, &[host], Ok("a.example /.well-known/x.tar.gz None")),
            ("GET", "/a%20b", H11, &[host], Ok("a.example /a%20b None")),
            ("POST", "/", H11, &[host, ("content-length", "5"), ("transfer-encoding", "chunked")], Err(R::Framing)),
            ("POST", "/", H11, &[host, ("content-length", "5"), ("content-length", "5")], Err(R::Framing)),
            ("POST", "/", H11, &[host, ("content-length", "+5")], Err(R::Framing)),
            ("POST", "/", H11, &[host, ("transfer-encoding", "gzip, chunked")], Err(R::Framing)),
            ("POST", "/", Version::HTTP_10, &[host, ("transfer-encoding", "chunked")], Err(R::Framing)),
            ("POST", "/", Version::HTTP_2, &[host, ("transfer-encoding", "chunked")], Err(R::Framing)),
            ("POST", "/", H11, &[host, ("transfer-encoding", "Chunked")], Ok("a.example / None")),
            ("POST", "/", H11, &[host, ("expect", "100-Continue")], Ok("a.example / None")),
            ("POST", "/", H11, &[host, ("expect", "201-created")], Err(R::Expectation)),
            (
                "GET",
                "/",
                H11,
                &[host, ("connection", "keep-alive, Upgrade"), ("upgrade", "WebSocket")],
                Ok("a.example / WebSocket"),
            ),
            ("GET", "/", H11, &[host, ("connection", "upgrade"), ("upgrade", "h2c")], Ok("a.example / None")),
            (
                "GET",
                "/",
                H11,
                &[host, ("connection", "upgrade"), ("upgrade", "websocket, h2c")],
                Ok("a.example / None"),
            ),
            ("GET", "/", H11, &[host, ("upgrade", "websocket")], Ok("a.example / None")),
            ("POST", "/", H11, &[host, ("connection", "upgrade"), ("upgrade", "websocket")], Ok("a.example / None")),
            (
                "GET",
                "/",
                H11,
                &[host, ("connection", "upgrade"), ("upgrade", "websocket"), ("content-length", "3")],
                Ok("a.example / None"),
            ),
        ];
        for (method, target, version, headers, expected) in cases {
            let got = verdict(method, target, *version, headers);
            assert_eq!(got.as_deref().map_err(|r| *r), *expected, "{method} {target} {version:?} {headers:?}");
        }
    }

    #[test]
    fn size_limits_count_fields_and_bytes() {
        let mut headers = HeaderMap::new();
        headers.insert("a", "12345".parse().expect("value"));
        assert_eq!(check_size(&headers, 1, 10), Ok(()));
        assert_eq!(check_size(&headers, 1, 9), Err(Rejection::HeadersLarge));
        assert_eq!(check_size(&headers, 0, 10), Err(Rejection::HeadersMany));
    }

    #[test]
    fn every_rejection_has_its_own_place_and_words() {
        for (index, rejection) in Rejection::ALL.into_iter().enumerate() {
            assert_eq!(rejection as usize, index);
            assert!(rejection.status().is_client_error());
        }
        let labels: std::collections::BTreeSet<_> = Rejection::ALL.iter().map(|r| r.label()).collect();
        assert_eq!(labels.len(), Rejection::COUNT);
    }

    proptest! {
        /// Whatever is accepted keeps the promises of the module header, for heads made of hostile pieces.
        #[test]
        fn accepted_heads_have_one_reading(
            method in prop::sample::select(vec!["GET", "POST", "CONNECT", "OPTIONS", "PRI"]),
            pieces in prop::collection::vec(prop::sample::select(vec![
                "/", "a", ".", "..", "%2e", "%2E", "%2F", "%2f", "%5c", "%3b", "%00", "%", ";x", "//", "~", "é", "*",
            ]), 0..8),
            absolute in prop::option::of(prop::sample::select(vec!["http://h", "http://u@h", "ws://h", "https://h:1"])),
            names in prop::collection::vec((
                prop::sample::select(vec!["host", "content-length", "transfer-encoding", "connection", "upgrade", "expect", "x"]),
                prop::sample::select(vec!["h", "h:1", "", "5", "+5", "chunked", "chunked, identity", "websocket", "upgrade", "100-continue", "a b"]),
            ), 0..6),
            version in prop::sample::select(vec![Version::HTTP_10, Version::HTTP_11, Version::HTTP_2]),
        ) {
            let target = format!("{}/{}", absolute.unwrap_or(""), pieces.concat());
            let Ok(uri) = target.parse::<Uri>() else { return Ok(()) };
            let mut headers = HeaderMap::new();
            for (name, value) in names {
                headers.append(HeaderName::from_static(name), value.parse().expect("value"));
            }
            let method = Method::from_bytes(method.as_bytes()).expect("method");
            let Ok(accepted) = check(&method, &uri, version, &headers) else { return Ok(()) };
            prop_assert!(is_valid_authority(accepted.authority));
            prop_assert!(!accepted.authority.contains('@'));
            prop_assert!(accepted.path.starts_with('/'));
            let decoded = accepted.path.to_lowercase().replace("%2e", ".").replace("%5c", "\\").replace("%2f", "/");
            let decoded = decoded.replace("%3b", ";");
            let names = decoded.split(['/', '\\']).map(|segment| segment.split(';').next().unwrap_or_default());
            prop_assert!(names.into_iter().all(|name| name != ".." && name != "."), "{decoded}");
            prop_assert!(decoded.is_ascii());
            prop_assert!(headers.get_all(header::HOST).iter().count() <= 1);
            let ends = headers.get_all(header::CONTENT_LENGTH).iter().count()
                + headers.get_all(header::TRANSFER_ENCODING).iter().count();
            prop_assert!(ends <= 1);
            prop_assert_ne!(method, Method::CONNECT);
        }

        #[test]
        fn no_text_is_too_strange_for_the_authority_check(text in "\\PC{0,40}") {
            if is_valid_authority(&text) {
                prop_assert!(text.parse::<http::uri::Authority>().is_ok(), "{text}");
            }
        }
    }
}

//! Keeps web pages of other origins from using the API through the browser of somebody who may.
//!
//! On loopback without tokens the browser itself is the credential. Two roads lead there from a hostile page: a name
//! of its own that it lets resolve to 127.0.0.1 (DNS rebinding; the `Host` gives it away), and a cross-origin request
//! that changes something without anybody reading the answer (`Origin` and `Sec-Fetch-Site` give it away).
//! With tokens nothing is sent by a browser on its own, so any name may lead here; the second check stays.
//!
//! Source: OWASP, Cross-Site Request Forgery Prevention; W3C, Fetch Metadata Request Headers.

use std::net::{IpAddr, SocketAddr};

use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};

use crate::problem::Problem;

/// Headers of every answer. The console needs its own scripts, styles and the API, nothing else.
pub(crate) const SECURITY_HEADERS: [(HeaderName, HeaderValue); 6] = [
    (
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static(
            "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; \
             manifest-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        ),
    ),
    (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
    (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    (HeaderName::from_static("cross-origin-opener-policy"), HeaderValue::from_static("same-origin")),
    (HeaderName::from_static("cross-origin-resource-policy"), HeaderValue::from_static("same-origin")),
];

/// Whether a name in `Host` must be one of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HostRule {
    /// Loopback names and the bound address only: there are no tokens.
    OursOnly,
    /// Any: tokens are required.
    Any,
}

/// Refuses what a page of another origin could have made a browser send.
pub(crate) fn check(rule: HostRule, local: SocketAddr, method: &Method, headers: &HeaderMap) -> Result<(), Problem> {
    let host = single(headers, &header::HOST)?;
    if rule == HostRule::OursOnly && !host.is_some_and(|host| is_ours(host, local.ip())) {
        return Err(Problem::new(
            StatusCode::MISDIRECTED_REQUEST,
            "misdirected",
            format!("without tokens the API answers to `localhost`, loopback addresses and {} only", local.ip()),
        ));
    }
    if method.is_safe() {
        return Ok(());
    }
    let fetch_site = single(headers, &HeaderName::from_static("sec-fetch-site"))?;
    let foreign_site = fetch_site.is_some_and(|site| !matches!(site, "same-origin" | "none"));
    let foreign_origin = single(headers, &header::ORIGIN)?.is_some_and(|origin| !same_origin(origin, host));
    if foreign_site || foreign_origin {
        return Err(Problem::new(
            StatusCode::FORBIDDEN,
            "cross_origin",
            "the request comes from a page of another origin; only the console that is served here may change things",
        ));
    }
    Ok(())
}

/// The one value of a header; a second one is an attempt to be read in two ways.
fn single<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a str>, Problem> {
    let mut values = headers.get_all(name).iter();
    let first = values.next().map(HeaderValue::to_str);
    match (first, values.next()) {
        (None, _) => Ok(None),
        (Some(Ok(value)), None) => Ok(Some(value)),
        _ => Err(Problem::bad_request(format!("the header `{name}` must occur once, in ASCII"))),
    }
}

/// Whether the host part of an authority is a loopback name or address, or the address listened on.
fn is_ours(authority: &str, local: IpAddr) -> bool {
    let Ok(authority) = authority.parse::<http::uri::Authority>() else { return false };
    if authority.as_str().contains('@') {
        return false;
    }
    let host = authority.host();
    if host.eq_ignore_ascii_case("localhost") {
        return true;
    }
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    bare.parse::<IpAddr>().is_ok_and(|address| address.is_loopback() || address == local)
}

/// Whether an `Origin` names the very authority that was asked. The scheme is not compared: a TLS proxy may stand in
/// front, and the port differs between schemes anyhow.
fn same_origin(origin: &str, host: Option<&str>) -> bool {
    let authority = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
    matches!((authority, host), (Some(authority), Some(host)) if authority.eq_ignore_ascii_case(host))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(rule: HostRule, method: &Method, headers: &[(&'static str, &'static str)]) -> u64 {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, HeaderValue::from_static(value));
        }
        let local = "127.0.0.1:7070".parse().unwrap();
        match check(rule, local, method, &map) {
            Ok(()) => 200,
            Err(problem) => serde_json::to_value(problem).unwrap()["status"].as_u64().unwrap(),
        }
    }

    #[test]
    fn only_our_names_lead_here_without_tokens() {
        for (host, expected) in [
            ("127.0.0.1:7070", 200),
            ("localhost", 200),
            ("LOCALHOST:80", 200),
            ("[::1]:7070", 200),
            ("127.9.9.9", 200),
            ("evil.example:7070", 421),
            ("127.0.0.1.evil.example", 421),
            ("localhost.evil.example", 421),
            ("evil@localhost", 421),
            ("10.0.0.1", 421),
            ("", 421),
        ] {
            assert_eq!(status(HostRule::OursOnly, &Method::GET, &[("host", host)]), expected, "{host}");
        }
        assert_eq!(status(HostRule::OursOnly, &Method::GET, &[]), 421);
        assert_eq!(status(HostRule::Any, &Method::GET, &[("host", "homeostat.example")]), 200);
        assert_eq!(status(HostRule::OursOnly, &Method::GET, &[("host", "localhost"), ("host", "evil.example")]), 400);
    }

    #[test]
    fn other_origins_may_look_but_not_touch() {
        for (headers, expected) in [
            (&[("origin", "http://localhost:7070")][..], 200),
            (&[("origin", "https://localhost:7070")], 200),
            (&[("origin", "http://localhost:3000")], 403),
            (&[("origin", "http://evil.example")], 403),
            (&[("origin", "null")], 403),
            (&[("sec-fetch-site", "same-origin")], 200),
            (&[("sec-fetch-site", "none")], 200),
            (&[("sec-fetch-site", "cross-site")], 403),
            (&[("sec-fetch-site", "same-site")], 403),
            (&[], 200),
        ] {
            let mut all = vec![("host", "localhost:7070")];
            all.extend_from_slice(headers);
            assert_eq!(status(HostRule::OursOnly, &Method::POST, &all), expected, "{headers:?}");
            assert_eq!(status(HostRule::OursOnly, &Method::GET, &all), 200, "{headers:?}");
        }
    }
}

//! Headers that end at a hop, and headers that tell the next hop about this one.
//!
//! Everything that describes one connection (`Connection`, what it names, `Keep-Alive`, `TE`, `Upgrade`, ...) is taken off
//! before a message goes on. `X-Forwarded-*`, `X-Real-IP` and `Forwarded` say who asked: what a client claims is replaced or
//! taken off, unless the operator trusts the client, a load balancer in front for example; then it is extended.
//!
//! Not here: which requests are let in (`policy`).
//! Source: RFC 9110 §7.6, RFC 7239.

use std::{cell::RefCell, net::IpAddr};

use http::{HeaderMap, HeaderName, HeaderValue, header};

use crate::policy::connection_tokens;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
const HTTP2_SETTINGS: HeaderName = HeaderName::from_static("http2-settings");

/// Fields of one hop beside those that `Connection` names. `Trailer` stays: it announces fields that do travel on.
const HOP_BY_HOP: [HeaderName; 9] = [
    header::CONNECTION,
    KEEP_ALIVE,
    PROXY_CONNECTION,
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    HTTP2_SETTINGS,
];

/// Removes hop-by-hop fields. `TE: trailers` survives, as the one thing a client may say about how it wants the answer
/// that is also true of the next hop, and without which gRPC servers refuse to serve.
pub(crate) fn strip(headers: &mut HeaderMap) {
    let wants_trailers = headers.get_all(header::TE).iter().any(|value| {
        value.to_str().is_ok_and(|text| text.split(',').any(|t| t.trim().eq_ignore_ascii_case("trailers")))
    });
    if headers.contains_key(header::CONNECTION) {
        let named: Vec<HeaderName> = connection_tokens(headers).filter_map(|token| token.parse().ok()).collect();
        for name in named.iter().filter(|name| **name != header::HOST) {
            headers.remove(name);
        }
    }
    if headers.contains_key(header::TRANSFER_ENCODING) {
        // The coding decided where the body ended; a length beside it is void (RFC 9112 §6.3).
        headers.remove(header::CONTENT_LENGTH);
    }
    for name in &HOP_BY_HOP {
        headers.remove(name);
    }
    if wants_trailers {
        headers.insert(header::TE, HeaderValue::from_static("trailers"));
    }
}

/// Joins the crumbs that HTTP/2 allows a `Cookie` to be split into: HTTP/1.1 has one `Cookie`, and servers read the first.
/// Source: RFC 9113 §8.2.3.
pub(crate) fn join_cookies(headers: &mut HeaderMap) {
    if headers.get_all(header::COOKIE).iter().nth(1).is_none() {
        return;
    }
    let crumbs: Vec<&[u8]> = headers.get_all(header::COOKIE).iter().map(HeaderValue::as_bytes).collect();
    let joined = HeaderValue::from_bytes(&crumbs.join(&b"; "[..]));
    if let Ok(joined) = joined {
        headers.insert(header::COOKIE, joined);
    }
}

/// Who a connection belongs to, in the forms that forwarding headers need. Made once a connection: a request then only
/// counts references up.
#[derive(Debug)]
pub(crate) struct Peer {
    address: HeaderValue,
    node: String,
    proto: &'static str,
    /// The `Forwarded` element of the last host seen; clients seldom change the host within a connection.
    element: RefCell<Option<(HeaderValue, HeaderValue)>>,
}

impl Peer {
    pub(crate) fn new(address: IpAddr, is_tls: bool) -> Self {
        let node = match address {
            IpAddr::V4(v4) => v4.to_string(),
            IpAddr::V6(v6) => format!("\"[{v6}]\""),
        };
        let address = HeaderValue::from_str(&address.to_string()).unwrap_or(HeaderValue::from_static("unknown"));
        Self { address, node, proto: if is_tls { "https" } else { "http" }, element: RefCell::new(None) }
    }

    /// Writes the forwarding headers of a request for `host`.
    pub(crate) fn announce(&self, headers: &mut HeaderMap, host: &HeaderValue, trust: Trust) {
        let element = self.forwarded_element(host);
        if trust == Trust::Extend {
            extend(headers, X_FORWARDED_FOR, &self.address);
            extend(headers, header::FORWARDED, &element);
            headers.entry(X_FORWARDED_HOST).or_insert_with(|| host.clone());
            headers.entry(X_FORWARDED_PROTO).or_insert(HeaderValue::from_static(self.proto));
        } else {
            remove_claims(headers);
            headers.insert(X_FORWARDED_FOR, self.address.clone());
            headers.insert(header::FORWARDED, element);
            headers.insert(X_FORWARDED_HOST, host.clone());
            headers.insert(X_FORWARDED_PROTO, HeaderValue::from_static(self.proto));
        }
    }

    fn forwarded_element(&self, host: &HeaderValue) -> HeaderValue {
        let mut cached = self.element.borrow_mut();
        match &*cached {
            Some((for_host, element)) if for_host == host => element.clone(),
            _ => {
                let host_text = host.to_str().unwrap_or_default();
                let text = format!("for={};host=\"{host_text}\";proto={}", self.node, self.proto);
                let element = HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static("for=unknown"));
                *cached = Some((host.clone(), element.clone()));
                element
            }
        }
    }
}

/// Removes everything by which a client claims to be somebody else: `X-Forwarded-Port`, `-Prefix`, `-Server`, and whatever
/// else there is of the kind. A request without such claims pays one look at each name.
fn remove_claims(headers: &mut HeaderMap) {
    while let Some(name) = headers.keys().find(|name| is_claim(name.as_str())).cloned() {
        headers.remove(name);
    }
}

/// Underscores count as hyphens, because gateways of the CGI kind pass both on as the same variable.
fn is_claim(name: &str) -> bool {
    let starts = |with: &[u8]| {
        let start = name.as_bytes().get(..with.len());
        start.is_some_and(|start| start.iter().zip(with).all(|(a, b)| a == b || (*a == b'_' && *b == b'-')))
    };
    starts(b"x-forwarded-") || (name.len() == 9 && starts(b"x-real-ip"))
}

/// What is done with forwarding headers that a request already has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trust {
    /// They are replaced.
    Replace,
    /// They are believed and extended.
    Extend,
}

/// Appends `more` to a comma-separated list that may be spread over several fields.
fn extend(headers: &mut HeaderMap, name: HeaderName, more: &HeaderValue) {
    let mut list = Vec::new();
    for value in headers.get_all(&name) {
        list.extend_from_slice(value.as_bytes());
        list.extend_from_slice(b", ");
    }
    list.extend_from_slice(more.as_bytes());
    headers.insert(name, HeaderValue::from_bytes(&list).unwrap_or_else(|_| more.clone()));
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    fn check(headers: &[(&'static str, &str)], change: impl Fn(&mut HeaderMap), expected: &Expect) {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(HeaderName::from_static(name), value.parse().expect("test value"));
        }
        change(&mut map);
        let mut lines: Vec<_> = map.iter().map(|(n, v)| format!("{n}: {}\n", v.to_str().expect("ascii"))).collect();
        lines.sort();
        expected.assert_eq(&lines.concat());
    }

    #[test]
    fn fields_of_the_hop_and_those_named_in_connection_go() {
        check(
            &[
                ("connection", "close, X-Secret-Hop,, host"),
                ("connection", "keep-alive"),
                ("x-secret-hop", "1"),
                ("host", "a"),
                ("keep-alive", "timeout=5"),
                ("te", "gzip, trailers"),
                ("transfer-encoding", "chunked"),
                ("content-length", "3"),
                ("upgrade", "h2c"),
                ("http2-settings", "AAMAAABk"),
                ("trailer", "x-sum"),
                ("accept", "*/*"),
            ],
            strip,
            &expect![[r"
                accept: */*
                host: a
                te: trailers
                trailer: x-sum
            "]],
        );
    }

    #[test]
    fn cookie_crumbs_become_one_cookie() {
        check(
            &[("cookie", "a=1"), ("x", "y"), ("cookie", "b=2; c=3"), ("cookie", "d=4")],
            join_cookies,
            &expect![[r"
                cookie: a=1; b=2; c=3; d=4
                x: y
            "]],
        );
        check(
            &[("cookie", "a=1")],
            join_cookies,
            &expect![[r"
                cookie: a=1
            "]],
        );
    }

    #[test]
    fn claims_of_untrusted_clients_are_replaced() {
        let host = HeaderValue::from_static("shop.example:8080");
        let peer = Peer::new("192.0.2.7".parse().expect("address"), true);
        check(
            &[
                ("x-forwarded-for", "10.0.0.1"),
                ("x-forwarded-for", "10.0.0.2"),
                ("forwarded", "for=x"),
                ("x-forwarded-host", "evil"),
                ("x-forwarded-port", "1"),
                ("x-forwarded-prefix", "/admin"),
                ("x_forwarded_for", "10.0.0.3"),
                ("x-real-ip", "10.0.0.1"),
                ("x_real_ip", "10.0.0.1"),
                ("x-real-ipv", "kept"),
                ("x-forwarded", "kept"),
            ],
            |headers| peer.announce(headers, &host, Trust::Replace),
            &expect![[r#"
                forwarded: for=192.0.2.7;host="shop.example:8080";proto=https
                x-forwarded-for: 192.0.2.7
                x-forwarded-host: shop.example:8080
                x-forwarded-proto: https
                x-forwarded: kept
                x-real-ipv: kept
            "#]],
        );
    }

    #[test]
    fn claims_of_trusted_clients_are_extended() {
        let host = HeaderValue::from_static("shop.example");
        let peer = Peer::new("2001:db8::1".parse().expect("address"), false);
        check(
            &[
                ("x-forwarded-for", "10.0.0.1"),
                ("x-forwarded-for", "10.0.0.2"),
                ("forwarded", "for=x"),
                ("x-forwarded-proto", "https"),
                ("x-forwarded-port", "443"),
            ],
            |headers| peer.announce(headers, &host, Trust::Extend),
            &expect![[r#"
                forwarded: for=x, for="[2001:db8::1]";host="shop.example";proto=http
                x-forwarded-for: 10.0.0.1, 10.0.0.2, 2001:db8::1
                x-forwarded-host: shop.example
                x-forwarded-port: 443
                x-forwarded-proto: https
            "#]],
        );
    }
}

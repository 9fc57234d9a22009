//! Request heads from any bytes: what the gateway's policy accepts has exactly one reading.
//!
//! The bytes are lines: method, target, version digit, then `name: value` pairs, 32 at most.
#![no_main]

use homeostat_gateway_proxy::policy::{check, is_valid_authority};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, Version, header};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let mut lines = bytes.split(|byte| *byte == b'\n');
    let mut next = || lines.next().unwrap_or_default();
    let Ok(method) = Method::from_bytes(next()) else { return };
    let Ok(uri) = Uri::try_from(next()) else { return };
    let version = match next().first() {
        Some(b'0') => Version::HTTP_10,
        Some(b'2') => Version::HTTP_2,
        _ => Version::HTTP_11,
    };
    let mut headers = HeaderMap::new();
    for line in lines.take(32) {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { continue };
        let (name, value) = line.split_at(colon);
        if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name), HeaderValue::from_bytes(&value[1..])) {
            headers.append(name, value);
        }
    }
    let Ok(accepted) = check(&method, &uri, version, &headers) else { return };
    assert!(is_valid_authority(accepted.authority));
    assert!(accepted.authority.parse::<http::uri::Authority>().is_ok());
    assert!(!accepted.authority.contains('@'));
    assert!(accepted.path.starts_with('/') || accepted.path == "*");
    assert!(headers.get_all(header::HOST).iter().count() <= 1);
    let lengths = headers.get_all(header::CONTENT_LENGTH).iter().count();
    let encodings = headers.get_all(header::TRANSFER_ENCODING).iter().count();
    assert!(lengths + encodings <= 1);
    assert_ne!(method, Method::CONNECT);
});

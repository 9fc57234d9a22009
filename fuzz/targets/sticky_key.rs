//! Cookies and paths from any bytes: found or not, never a panic, and a found cookie lies within its header.
#![no_main]

use homeostat_gateway_route::{path, sticky};
use http::{HeaderMap, HeaderValue, header};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let (name, rest) = bytes.split_at(bytes.len().min(8) / 2);
    if let Ok(text) = std::str::from_utf8(rest) {
        assert_eq!(path::is_normal(text), path::check_request(text).is_ok());
    }
    let Ok(value) = HeaderValue::from_bytes(rest) else { return };
    let mut headers = HeaderMap::new();
    headers.append(header::COOKIE, value);
    if let Some(found) = sticky::cookie(&headers, name) {
        assert!(found.len() <= rest.len());
        assert!(found.is_empty() || rest.windows(found.len()).any(|window| window == found));
    }
});

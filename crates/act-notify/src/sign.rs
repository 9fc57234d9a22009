//! Signatures that chat bots ask for.
//!
//! Source: CONVENTIONS §7; DingTalk, "Custom robot security settings"; Feishu, "Custom bot guide", signature
//! verification. The two differ in what is key and what is message.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

/// DingTalk: key is the secret, message is `timestamp "\n" secret`. Base64; still to be escaped for a URL.
pub fn dingtalk(timestamp_ms: i64, secret: &str) -> String {
    hmac(secret.as_bytes(), format!("{timestamp_ms}\n{secret}").as_bytes())
}

/// Feishu and Lark: key is `timestamp "\n" secret`, the message is empty. Base64, for the body.
pub fn feishu(timestamp_s: i64, secret: &str) -> String {
    hmac(format!("{timestamp_s}\n{secret}").as_bytes(), b"")
}

fn hmac(key: &[u8], message: &[u8]) -> String {
    // HMAC takes keys of any length; the constructor's error has no cause here.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else { return String::new() };
    mac.update(message);
    STANDARD.encode(mac.finalize().into_bytes())
}

/// Escapes a query value: everything but unreserved characters (RFC 3986, 2.3).
pub fn escape_query(value: &str) -> String {
    let mut out = String::with_capacity(value.len() + 8);
    for byte in value.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            out.push(char::from(byte));
        } else {
            const HEX: &[u8; 16] = b"0123456789ABCDEF";
            out.push('%');
            for nibble in [byte >> 4, byte & 15] {
                out.extend(HEX.get(usize::from(nibble)).map(|digit| char::from(*digit)));
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Computed with Python's `hmac`, `hashlib`, `base64` and `urllib.parse.quote_plus`.
    #[test]
    fn signatures_match_an_independent_implementation() {
        assert_eq!(
            escape_query(&dingtalk(1_577_262_236_757, "this is secret")),
            "hmPWwU%2B7lVdm3ZZz0r9tSfx0L4Q26jWOZr9%2BGs6EZQM%3D"
        );
        assert_eq!(
            escape_query(&dingtalk(1_700_000_000_000, "SEC0123456789abcdef")),
            "TSZbRFUuvaSQaRKUpF970OPCb2%2FLcQAP3wOvwZIzBZk%3D"
        );
        assert_eq!(feishu(1_599_360_473, "demo"), "l1N0gAcBjdwBvGm1xMjOF0XSyaLRpR7tuO5dHfhAYc8=");
        assert_eq!(feishu(1_700_000_000, "feishu-secret"), "OrBzY1Y01Gq+HgJsl+7OfWcMVwc7YocohQm5iiZwjhU=");
    }

    #[test]
    fn everything_but_unreserved_characters_is_escaped() {
        assert_eq!(escape_query("aZ09-._~ +/=&é"), "aZ09-._~%20%2B%2F%3D%26%C3%A9");
    }
}

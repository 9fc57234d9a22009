//! What keeps a client on its version: the key of a request and the bucket it hashes to.
//!
//! The key is read where it lies in the request; nothing is copied or allocated. A request without a key, or with an
//! empty one, is split like any other.
//!
//! Invariant: the bucket depends on the service's name and the key alone, by SipHash-1-3 with fixed constants. It is the
//! same in every worker, process, machine and release, so a client meets the same version everywhere.

use std::net::{IpAddr, Ipv6Addr};

use homeostat_model::ServiceName;
use http::{HeaderMap, header::COOKIE};

use crate::{siphash::siphash_1_3, spec::Sticky, split::bucket_of};

/// The key of one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StickyKey<'a> {
    /// Bytes of a cookie or header, never empty.
    Bytes(&'a [u8]),
    /// A client address in its IPv6 form.
    Address([u8; 16]),
}

impl StickyKey<'_> {
    /// What is hashed.
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Bytes(bytes) => bytes,
            Self::Address(octets) => octets,
        }
    }
}

/// Returns the key of a request. Of several headers, or several cookies of the name, the first non-empty one counts.
/// An IPv4 client has the same key whether its address came as IPv4 or mapped into IPv6.
pub fn key<'a>(sticky: &Sticky, headers: &'a HeaderMap, client: IpAddr) -> Option<StickyKey<'a>> {
    match sticky {
        Sticky::Cookie(name) => cookie(headers, name.as_bytes()).map(StickyKey::Bytes),
        Sticky::Header(name) => {
            let mut values = headers.get_all(name).iter().map(|value| value.as_bytes().trim_ascii());
            values.find(|value| !value.is_empty()).map(StickyKey::Bytes)
        }
        Sticky::ClientAddress => Some(StickyKey::Address(match client {
            IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
            IpAddr::V6(address) => Ipv6Addr::octets(&address),
        })),
    }
}

/// Returns the value of the first non-empty cookie called `name` (case matters), without the quotes around it.
/// Accepts what browsers send and skips what it cannot read; source: RFC 6265, section 5.4.
pub fn cookie<'a>(headers: &'a HeaderMap, name: &[u8]) -> Option<&'a [u8]> {
    let lines = headers.get_all(COOKIE).iter();
    let mut pairs = lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b';'));
    pairs.find_map(|pair| {
        let equals = pair.iter().position(|byte| *byte == b'=')?;
        let (found, value) = (pair.get(..equals)?.trim_ascii(), pair.get(equals + 1..)?.trim_ascii());
        let value = value.strip_prefix(b"\"").and_then(|v| v.strip_suffix(b"\"")).unwrap_or(value);
        (found == name && !value.is_empty()).then_some(value)
    })
}

/// Whether a text can be the name of a cookie: a token of RFC 9110, section 5.6.2.
pub(crate) fn is_cookie_name(name: &str) -> bool {
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !name.is_empty() && name.bytes().all(is_token)
}

/// The hash key of one service, so that the same clients are not the first to meet every service's canary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Salt(u64, u64);

impl Salt {
    /// Derives the salt from the service's name.
    pub(crate) fn of(service: &ServiceName) -> Self {
        let name = service.as_str().as_bytes();
        Self(siphash_1_3((0, 0), name), siphash_1_3((0, 1), name))
    }

    /// Returns the bucket of a key, 0 to 9,999.
    pub(crate) fn bucket(self, key: &[u8]) -> u16 {
        bucket_of(siphash_1_3((self.0, self.1), key))
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;

    fn cookie_of(lines: &[&[u8]]) -> Option<Vec<u8>> {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(COOKIE, HeaderValue::from_bytes(line).unwrap());
        }
        cookie(&headers, b"id").map(<[u8]>::to_vec)
    }

    #[test]
    fn cookies_are_found_among_hostile_ones() {
        for (lines, expected) in [
            (vec!["id=a".as_bytes()], Some("a".as_bytes())),
            (vec![b"x=1; id=a; id=b"], Some(b"a")),
            (vec![b"x=1", b"y=2;id=a"], Some(b"a")),
            (vec![b"id=\"a b\""], Some(b"a b")),
            (vec![b"id=\""], Some(b"\"")),
            (vec![b"id=a=b=="], Some(b"a=b==")),
            (vec![b"id=; id=a"], Some(b"a")),
            (vec![b"id=\"\"; id =  a  "], Some(b"a")),
            (vec![b"id; ;;=;==; ;id=a"], Some(b"a")),
            (vec![b"id=\xff\xfe"], Some(b"\xff\xfe")),
            (vec![b"xid=1; idx=2; ID=3"], None),
            (vec![b"x=\"1; id=2\""], Some(b"2\"")),
            (vec![b""], None),
            (vec![b"id"], None),
            (vec![], None),
        ] {
            assert_eq!(
                cookie_of(&lines).as_deref(),
                expected,
                "{:?}",
                lines.iter().map(|l| l.escape_ascii().to_string()).collect::<Vec<_>>()
            );
        }
        let flood = b"a=1;".repeat(16_000);
        assert_eq!(cookie_of(&[&flood, b"id=z"]), Some(b"z".to_vec()));
    }

    #[test]
    fn keys_come_from_where_the_service_says() {
        let mut headers = HeaderMap::new();
        let user = HeaderName::from_static("x-user");
        headers.append(&user, HeaderValue::from_static(" "));
        headers.append(&user, HeaderValue::from_static(" 42 "));
        let client: IpAddr = "192.0.2.1".parse().unwrap();
        let mapped: IpAddr = "::ffff:192.0.2.1".parse().unwrap();
        assert_eq!(key(&Sticky::Header(user), &headers, client), Some(StickyKey::Bytes(b"42")));
        assert_eq!(key(&Sticky::Cookie("id".to_owned()), &headers, client), None);
        assert_eq!(key(&Sticky::ClientAddress, &headers, client), key(&Sticky::ClientAddress, &headers, mapped));
        assert!(!is_cookie_name("") && !is_cookie_name("a b") && !is_cookie_name("a=") && is_cookie_name("__Host-id"));
    }

    #[test]
    fn buckets_are_frozen_across_releases() {
        let salt = |name: &str| Salt::of(&ServiceName::new(name).unwrap());
        let buckets: Vec<u16> =
            ["", "a", "user-42", "user-43"].map(|key| salt("checkout").bucket(key.as_bytes())).into();
        assert_eq!(buckets, [1630, 4973, 4413, 8642]);
        assert_eq!(salt("cart").bucket(b"user-42"), 7481);
    }

    #[test]
    fn buckets_are_evenly_filled_and_independent_between_services() {
        let salt = |name: &str| Salt::of(&ServiceName::new(name).unwrap());
        let (checkout, cart) = (salt("checkout"), salt("cart"));
        let in_tenth = |bucket: u16| bucket < 1_000;
        let (mut one, mut both) = (0_u32, 0_u32);
        for user in 0..100_000_u32 {
            let key = user.to_string();
            let first = in_tenth(checkout.bucket(key.as_bytes()));
            one += u32::from(first);
            both += u32::from(first && in_tenth(cart.bucket(key.as_bytes())));
        }
        // Binomial: 10,000 with a standard deviation of 95, and 1,000 with one of 31; five of them on each side.
        assert!((9_525..10_475).contains(&one) && (845..1_155).contains(&both), "{one} {both}");
    }
}

//! Which routes a host name may use: exact names, then wildcards by longest suffix, then any host.
//!
//! The request's host is compared without regard to ASCII case, without its port and without a final dot. It is lowered
//! into a buffer on the stack: no allocation. A name longer than DNS allows can only match "any host".

use std::collections::HashMap;

use foldhash::fast::FixedState;

use crate::{problem::HostFault, spec::HostMatch};

/// Longest host name: 253 characters, from the 255 bytes of RFC 1035 in wire form.
pub(crate) const HOST_BYTES_MAX: usize = 253;

/// Something per host pattern.
#[derive(Clone, Debug)]
pub(crate) struct HostMap<T> {
    exact: HashMap<Box<[u8]>, T, FixedState>,
    /// By suffix, without `*.`.
    wildcard: HashMap<Box<[u8]>, T, FixedState>,
    any: T,
}

impl<T: Default> Default for HostMap<T> {
    fn default() -> Self {
        Self { exact: HashMap::default(), wildcard: HashMap::default(), any: T::default() }
    }
}

impl<T: Default> HostMap<T> {
    /// The entry for one pattern; `None` stands for any host.
    pub(crate) fn entry(&mut self, pattern: Option<&HostMatch>) -> &mut T {
        let lowered = |name: &str| name.to_ascii_lowercase().into_bytes().into_boxed_slice();
        match pattern {
            Some(HostMatch::Exact(name)) => self.exact.entry(lowered(name)).or_default(),
            Some(HostMatch::Wildcard(suffix)) => self.wildcard.entry(lowered(suffix)).or_default(),
            None => &mut self.any,
        }
    }

    /// All entries, in no particular order.
    pub(crate) fn values_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.exact.values_mut().chain(self.wildcard.values_mut()).chain([&mut self.any])
    }

    /// Asks the entries that fit `host`, the most specific first, until one answers.
    pub(crate) fn find<'a, R>(&'a self, host: &str, mut ask: impl FnMut(&'a T) -> Option<R>) -> Option<R> {
        let mut buffer = [0_u8; HOST_BYTES_MAX];
        let name = lower_into(without_port(host), &mut buffer);
        if let Some(found) = self.exact.get(name).and_then(&mut ask) {
            return Some(found);
        }
        if !self.wildcard.is_empty() {
            let mut rest = name;
            while let Some(dot) = rest.iter().position(|byte| *byte == b'.') {
                rest = rest.get(dot + 1..).unwrap_or_default();
                // The part before the dot must not be empty: `.example.org` is no name below `example.org`.
                let has_label = rest.len() + 1 < name.len();
                if let Some(found) = self.wildcard.get(rest).filter(|_| has_label).and_then(&mut ask) {
                    return Some(found);
                }
            }
        }
        ask(&self.any)
    }
}

/// Returns the name within `host[:port]`; brackets of an IPv6 address stay.
fn without_port(host: &str) -> &str {
    let end = match host.find(']') {
        Some(bracket) => bracket + 1,
        None => host.find(':').unwrap_or(host.len()),
    };
    let name = host.get(..end).unwrap_or(host);
    name.strip_suffix('.').unwrap_or(name)
}

/// Returns `name` in lower case; nothing at all when it is longer than a host name can be.
fn lower_into<'b>(name: &str, buffer: &'b mut [u8; HOST_BYTES_MAX]) -> &'b [u8] {
    let Some(lowered) = buffer.get_mut(..name.len()) else { return &[] };
    lowered.copy_from_slice(name.as_bytes());
    lowered.make_ascii_lowercase();
    lowered
}

/// Checks the text of a pattern: DNS labels, or for an exact pattern also an IP address (IPv6 in brackets).
pub(crate) fn check(pattern: &HostMatch) -> Result<(), HostFault> {
    let (HostMatch::Exact(name) | HostMatch::Wildcard(name)) = pattern;
    if name.is_empty() {
        return Err(HostFault::Empty);
    }
    if HOST_BYTES_MAX < name.len() {
        return Err(HostFault::TooLong { len: name.len() });
    }
    if let Some(address) = name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        let valid = matches!(pattern, HostMatch::Exact(_)) && address.parse::<std::net::Ipv6Addr>().is_ok();
        return if valid { Ok(()) } else { Err(HostFault::Address) };
    }
    if let Some(found) = name.chars().find(|c| !(c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))) {
        return Err(match found {
            ':' => HostFault::Port,
            '*' => HostFault::Wildcard,
            found => HostFault::Character { found },
        });
    }
    let bad_label =
        |label: &str| label.is_empty() || 63 < label.len() || label.starts_with('-') || label.ends_with('-');
    match name.split('.').find(|label| bad_label(label)) {
        Some(label) => Err(HostFault::Label { label: label.to_owned() }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(patterns: &[HostMatch]) -> HostMap<Option<String>> {
        let mut map = HostMap::default();
        for pattern in patterns {
            *map.entry(Some(pattern)) = Some(format!("{pattern:?}"));
        }
        *map.entry(None) = Some("any".to_owned());
        map
    }

    #[test]
    fn exact_beats_the_longest_wildcard_beats_any() {
        let exact = |name: &str| HostMatch::Exact(name.to_owned());
        let wildcard = |name: &str| HostMatch::Wildcard(name.to_owned());
        let map =
            map(&[exact("Shop.example.org"), wildcard("example.org"), wildcard("eu.example.org"), exact("[::1]")]);
        for (host, expected) in [
            ("shop.EXAMPLE.org:8080", "Exact(\"Shop.example.org\")"),
            ("shop.example.org.", "Exact(\"Shop.example.org\")"),
            ("a.b.eu.example.org", "Wildcard(\"eu.example.org\")"),
            ("eu.example.org", "Wildcard(\"example.org\")"),
            ("example.org", "any"),
            (".example.org", "any"),
            ("badexample.org", "any"),
            ("[::1]:443", "Exact(\"[::1]\")"),
            ("", "any"),
            (&"x.".repeat(200), "any"),
        ] {
            assert_eq!(map.find(host, Option::as_deref), Some(expected), "{host}");
        }
    }

    #[test]
    fn a_less_specific_host_is_asked_when_the_better_one_has_no_answer() {
        let mut map = map(&[HostMatch::Exact("a.b".to_owned()), HostMatch::Wildcard("b".to_owned())]);
        *map.entry(Some(&HostMatch::Exact("a.b".to_owned()))) = None;
        assert_eq!(map.find("a.b", Option::as_deref), Some("Wildcard(\"b\")"));
    }

    #[test]
    fn patterns_that_no_host_can_have_are_refused() {
        let exact = |name: &str| check(&HostMatch::Exact(name.to_owned()));
        for good in ["a", "shop.example.org", "127.0.0.1", "[::1]", "_x.local", "xn--bcher-kva.example"] {
            assert_eq!(exact(good), Ok(()), "{good}");
        }
        assert_eq!(exact(""), Err(HostFault::Empty));
        assert_eq!(exact("a:80"), Err(HostFault::Port));
        assert_eq!(exact("*.a"), Err(HostFault::Wildcard));
        assert_eq!(exact("bücher.example"), Err(HostFault::Character { found: 'ü' }));
        assert_eq!(exact("a..b"), Err(HostFault::Label { label: String::new() }));
        assert_eq!(exact("-a.b"), Err(HostFault::Label { label: "-a".to_owned() }));
        assert_eq!(exact("[::g]"), Err(HostFault::Address));
        assert_eq!(exact(&"a.".repeat(127)), Err(HostFault::TooLong { len: 254 }));
        assert_eq!(check(&HostMatch::Wildcard("[::1]".to_owned())), Err(HostFault::Address));
    }
}

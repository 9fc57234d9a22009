//! Conditions on method and headers: which request fulfils them, and which set of them is the more specific.

use std::cmp::Reverse;

use http::{HeaderMap, Method};

use crate::spec::{HeaderMatch, HeaderValueMatch};

/// Conditions of a route besides host and path; all must hold.
#[derive(Clone, Debug, Default)]
pub(crate) struct Conditions {
    methods: Box<[Method]>,
    headers: Box<[HeaderMatch]>,
}

impl Conditions {
    /// Takes the conditions as the user wrote them.
    pub(crate) fn new(methods: &[Method], headers: &[HeaderMatch]) -> Self {
        Self { methods: methods.into(), headers: headers.into() }
    }

    /// Whether a request fulfils them. Of a header with several lines one has to fit; values are compared byte by byte.
    pub(crate) fn hold(&self, method: &Method, headers: &HeaderMap) -> bool {
        (self.methods.is_empty() || self.methods.contains(method))
            && self.headers.iter().all(|wanted| header_holds(wanted, headers))
    }

    /// Sorts the more specific first: a method is named, then the number of headers, then of exact values.
    /// Source for the order: Kubernetes Gateway API, `HTTPRouteRule`, precedence of matches.
    pub(crate) fn rank(&self) -> impl Ord + use<> {
        let exact = self.headers.iter().filter(|h| matches!(h.value, HeaderValueMatch::Exact(_))).count();
        Reverse((!self.methods.is_empty(), self.headers.len(), exact))
    }

    /// Whether every request that fulfils `other` fulfils these too.
    pub(crate) fn cover(&self, other: &Self) -> bool {
        let methods = self.methods.is_empty()
            || (!other.methods.is_empty() && other.methods.iter().all(|method| self.methods.contains(method)));
        let implied = |mine: &HeaderMatch, theirs: &HeaderMatch| {
            mine.name == theirs.name && (mine.value == HeaderValueMatch::Present || mine.value == theirs.value)
        };
        methods && self.headers.iter().all(|mine| other.headers.iter().any(|theirs| implied(mine, theirs)))
    }
}

fn header_holds(wanted: &HeaderMatch, headers: &HeaderMap) -> bool {
    match &wanted.value {
        HeaderValueMatch::Present => headers.contains_key(&wanted.name),
        HeaderValueMatch::Exact(value) => {
            headers.get_all(&wanted.name).iter().any(|v| v.as_bytes() == value.as_bytes())
        }
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;

    fn conditions(methods: &[Method], headers: &[(&'static str, Option<&str>)]) -> Conditions {
        let header = |(name, value): &(&'static str, Option<&str>)| HeaderMatch {
            name: HeaderName::from_static(name),
            value: value.map_or(HeaderValueMatch::Present, |v| HeaderValueMatch::Exact(v.to_owned())),
        };
        Conditions::new(methods, &headers.iter().map(header).collect::<Vec<_>>())
    }

    #[test]
    fn all_conditions_must_hold() {
        let wanted = conditions(&[Method::GET], &[("x-a", Some("1")), ("x-b", None)]);
        let mut headers = HeaderMap::new();
        headers.append("x-a", HeaderValue::from_static("0"));
        headers.append("x-a", HeaderValue::from_static("1"));
        assert!(!wanted.hold(&Method::GET, &headers));
        headers.append("x-b", HeaderValue::from_bytes(b"\xff").unwrap());
        assert!(wanted.hold(&Method::GET, &headers));
        assert!(!wanted.hold(&Method::POST, &headers));
    }

    #[test]
    fn specific_comes_first() {
        let mut all = [
            conditions(&[], &[]),
            conditions(&[], &[("x-a", None)]),
            conditions(&[], &[("x-a", Some("1"))]),
            conditions(&[], &[("x-a", None), ("x-b", None)]),
            conditions(&[Method::GET], &[]),
        ];
        all.sort_by_key(Conditions::rank);
        let shape: Vec<_> = all.iter().map(|c| (c.methods.len(), c.headers.len())).collect();
        assert_eq!(shape, [(1, 0), (0, 2), (0, 1), (0, 1), (0, 0)]);
    }

    #[test]
    fn covering_is_implication() {
        let any = conditions(&[], &[]);
        let get = conditions(&[Method::GET], &[]);
        let present = conditions(&[], &[("x-a", None)]);
        let exact = conditions(&[], &[("x-a", Some("1"))]);
        assert!(any.cover(&get) && !get.cover(&any) && get.cover(&get));
        assert!(present.cover(&exact) && !exact.cover(&present));
        assert!(!get.cover(&present) && !present.cover(&get));
    }
}

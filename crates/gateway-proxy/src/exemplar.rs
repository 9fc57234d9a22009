//! Example requests for the black box: a few, redacted before they are kept.
//!
//! A bad request is worth looking at later, so up to [`BAD_PER_SECOND`] of them a second and worker are kept, and
//! [`GOOD_PER_SECOND`] others for comparison. What identifies people stays out: the query is cut, path segments that look
//! like identifiers become `*`, no header value is kept but the trace id.
//!
//! Cost: a request that is not kept pays two comparisons; one that is kept pays about six allocations, at most 25 times
//! a second. The ring's lock is only ever *tried* by the worker: while somebody reads, exemplars are lost, requests go on.

use std::{
    cell::Cell,
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use homeostat_model::incident::Exemplar;
use http::Method;

/// Bad requests kept per second and worker: a fault shows in the first few, more of the same teach nothing.
pub(crate) const BAD_PER_SECOND: u32 = 20;
/// Other requests kept per second and worker, to compare with.
pub(crate) const GOOD_PER_SECOND: u32 = 5;
/// Exemplars a ring holds: ten seconds of the full rate, about 60 KiB. The oldest gives way.
pub(crate) const RING_MAX: usize = 256;
/// Longest kept path, in characters.
const PATH_CHARS_MAX: usize = 200;
/// A path segment longer than this is taken for an identifier.
const SEGMENT_CHARS_MAX: usize = 24;

/// The kept exemplars of one worker.
#[derive(Debug, Default)]
pub(crate) struct ExemplarRing {
    ring: Mutex<VecDeque<Exemplar>>,
}

impl ExemplarRing {
    /// Keeps an exemplar unless the ring is being read just now.
    pub(crate) fn offer(&self, exemplar: Exemplar) {
        let Ok(mut ring) = self.ring.try_lock() else { return };
        if RING_MAX <= ring.len() {
            ring.pop_front();
        }
        ring.push_back(exemplar);
    }

    /// Moves everything kept to `into`, oldest first.
    pub(crate) fn take(&self, into: &mut Vec<Exemplar>) {
        into.extend(self.hold().drain(..));
    }

    /// Locks the ring; as long as it is held, nothing is kept.
    pub(crate) fn hold(&self) -> MutexGuard<'_, VecDeque<Exemplar>> {
        // A worker that panicked while pushing leaves a complete or an absent entry, never a torn one.
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Who is kept: so many a second, counted anew each second.
#[derive(Debug)]
pub(crate) struct Quota {
    second_began: Cell<Instant>,
    bad: Cell<u32>,
    good: Cell<u32>,
}

impl Quota {
    pub(crate) fn new(now: Instant) -> Self {
        Self { second_began: Cell::new(now), bad: Cell::new(0), good: Cell::new(0) }
    }

    /// Whether a request that ends now is to be kept; takes it off the quota.
    pub(crate) fn admit(&self, now: Instant, is_bad: bool) -> bool {
        let (used, per_second) = if is_bad { (&self.bad, BAD_PER_SECOND) } else { (&self.good, GOOD_PER_SECOND) };
        if per_second <= used.get() {
            if now.saturating_duration_since(self.second_began.get()) < Duration::from_secs(1) {
                return false;
            }
            self.second_began.set(now);
            self.bad.set(0);
            self.good.set(0);
        }
        used.set(used.get() + 1);
        true
    }
}

/// Returns a path without query, with segments that look like identifiers replaced by `*`, cut to 200 characters.
pub(crate) fn redact_path(path: &str) -> String {
    let path = path.split(['?', '#']).next().unwrap_or_default();
    let mut redacted = String::with_capacity(path.len().min(PATH_CHARS_MAX));
    for (index, segment) in path.split('/').enumerate() {
        if index > 0 {
            redacted.push('/');
        }
        redacted.push_str(if looks_like_identifier(segment) { "*" } else { segment });
    }
    match redacted.char_indices().nth(PATH_CHARS_MAX) {
        Some((end, _)) => redacted.get(..end).unwrap_or_default().to_owned(),
        None => redacted,
    }
}

/// The method if it is one that everybody knows, else `OTHER`: a client may make one up, as long as it likes.
pub(crate) fn known_method(method: &Method) -> &'static str {
    const KNOWN: [&str; 8] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"];
    KNOWN.into_iter().find(|known| *known == method.as_str()).unwrap_or("OTHER")
}

/// Digits, escapes, mail addresses, non-ASCII and long segments are identifiers; `v1`-like API versions are not.
fn looks_like_identifier(segment: &str) -> bool {
    let is_api_version =
        segment.strip_prefix('v').is_some_and(|n| (1..=2).contains(&n.len()) && n.parse::<u8>().is_ok());
    let is_telling = |b: u8| b.is_ascii_digit() || matches!(b, b'@' | b'%' | b'=' | b';') || !b.is_ascii();
    !is_api_version && (SEGMENT_CHARS_MAX < segment.len() || segment.bytes().any(is_telling))
}

/// Returns the trace id of a `traceparent` value (`00-<32 hex>-<16 hex>-<2 hex>`), unless it is malformed or all zero.
pub(crate) fn trace_id(traceparent: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(traceparent).ok()?;
    let id = text.split('-').nth(1)?;
    let is_id = id.len() == 32 && id.bytes().all(|b| b.is_ascii_hexdigit()) && id.bytes().any(|b| b != b'0');
    is_id.then(|| id.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_lose_what_identifies() {
        for (path, redacted) in [
            ("/orders/4711/items?token=secret", "/orders/*/items"),
            ("/api/v2/users/bob@example.org", "/api/v2/users/*"),
            ("/cart/3f2504e0-4f89-11d3-9a0c-0305e82c3301", "/cart/*"),
            ("/a/session=abc", "/a/*"),
            ("/caf%C3%A9/menu", "/*/menu"),
            ("/shop/thequickbrownfoxjumpsoverit", "/shop/*"),
            ("/", "/"),
        ] {
            assert_eq!(redact_path(path), redacted);
        }
        assert_eq!(redact_path(&"/abc".repeat(100)).chars().count(), PATH_CHARS_MAX);
    }

    #[test]
    fn made_up_methods_are_not_kept() {
        for (method, kept) in [("GET", "GET"), ("PATCH", "PATCH"), ("PROPFIND", "OTHER"), ("get", "OTHER")] {
            assert_eq!(known_method(&Method::from_bytes(method.as_bytes()).expect("method")), kept);
        }
        let long = Method::from_bytes(&vec![b'A'; 60_000]).expect("method");
        assert_eq!(known_method(&long), "OTHER");
    }

    #[test]
    fn trace_ids_are_taken_only_when_well_formed() {
        let valid = b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        assert_eq!(trace_id(valid).as_deref(), Some("4bf92f3577b34da6a3ce929d0e0e4736"));
        for bad in [&b"00-xyz-1-01"[..], b"", b"\xff", b"00-00000000000000000000000000000000-00f067aa0ba902b7-01"] {
            assert_eq!(trace_id(bad), None);
        }
    }

    #[test]
    fn a_second_has_a_quota() {
        let start = Instant::now();
        let quota = Quota::new(start);
        let kept = (0..1_000).filter(|_| quota.admit(start, true)).count();
        assert_eq!(kept as u32, BAD_PER_SECOND);
        assert!(quota.admit(start, false));
        assert!(quota.admit(start + Duration::from_secs(1), true));
    }
}

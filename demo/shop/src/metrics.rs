//! The shop's own counters in the Prometheus text format: what an outside monitoring sees of a version.

use std::{
    fmt::Write,
    sync::atomic::{AtomicU64, Ordering},
};

/// Statuses the shop answers with. All are exported from the start, at zero: a counter that appears together with the
/// first error hides that error from `rate()`.
const STATUSES: [u16; 10] = [200, 201, 400, 403, 404, 409, 413, 422, 500, 503];

/// Requests by status.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    by_status: [AtomicU64; STATUSES.len()],
    other: AtomicU64,
}

impl Metrics {
    /// Counts one answer.
    pub(crate) fn count(&self, status: u16) {
        let slot = STATUSES.iter().position(|s| *s == status).and_then(|at| self.by_status.get(at));
        slot.unwrap_or(&self.other).fetch_add(1, Ordering::Relaxed);
    }

    /// The text to scrape.
    pub(crate) fn text(&self, version: &str) -> String {
        let mut out = String::from(
            "# HELP shop_requests_total Business requests answered, by status.\n# TYPE shop_requests_total counter\n",
        );
        let known = STATUSES.iter().map(u16::to_string).zip(&self.by_status);
        for (code, count) in known.chain([("other".to_owned(), &self.other)]) {
            let count = count.load(Ordering::Relaxed);
            // Writing to a String cannot fail.
            let _ = writeln!(out, "shop_requests_total{{version=\"{version}\",code=\"{code}\"}} {count}");
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_status_is_there_from_the_start() {
        let metrics = Metrics::default();
        assert_eq!(metrics.text("v2").lines().count(), 2 + STATUSES.len() + 1);
        metrics.count(500);
        metrics.count(418);
        let text = metrics.text("v2");
        assert!(text.contains("shop_requests_total{version=\"v2\",code=\"500\"} 1\n"), "{text}");
        assert!(text.contains("shop_requests_total{version=\"v2\",code=\"other\"} 1\n"), "{text}");
    }
}

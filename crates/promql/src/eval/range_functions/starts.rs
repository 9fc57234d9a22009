//! What the starts of samples, since when each counts, say about a counter: where it was reset, where it began.
//!
//! Two kinds of senders have starts. A cumulative counter keeps its start until it is reset: a start behind the sample
//! before is a reset, whatever the values are. A delta counts from the sample before, or a little later: each is a reset,
//! so that sums come out right. A cumulative counter that does not know its start gives the time of its first sample
//! (OpenTelemetry): that is not a reset.
//!
//! Not here: values (`rate`, `histogram_rate`, `counting`). Extended ranges do not look at starts.
//! Source: `isStartTimestampReset`, `checkStartTimeOverlap` and `extrapolatedRate` in `promql/functions.go` of Prometheus
//! 3.15; OpenTelemetry, "Metrics Data Model", resets and gaps.

use homeostat_model::{TimeMs, sample::START_UNKNOWN};

/// When a sample was taken, and since when it counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Began {
    /// Its time.
    pub(super) t_ms: TimeMs,
    /// Since when it counts, or [`START_UNKNOWN`].
    pub(super) start_ms: TimeMs,
}

impl Began {
    /// Those of a column of times, whose starts may be missing.
    pub(super) fn all<'a>(t_ms: &'a [TimeMs], starts: &'a [TimeMs]) -> impl Iterator<Item = Self> + use<'a> {
        let starts = starts.iter().copied().chain(std::iter::repeat(START_UNKNOWN));
        t_ms.iter().zip(starts).map(|(t_ms, start_ms)| Self { t_ms: *t_ms, start_ms })
    }

    /// Returns true when a counter was reset between this sample and the one behind it.
    pub(super) fn is_reset_since(self, after: Self) -> bool {
        let known = after.start_ms != START_UNKNOWN && after.start_ms < after.t_ms && after.start_ms != self.start_ms;
        // A delta counts from the sample before; so does a counter that does not know when it began.
        let counts_from_here = self.start_ms != START_UNKNOWN && self.start_ms < self.t_ms;
        known && (self.t_ms < after.start_ms || self.t_ms == after.start_ms && counts_from_here)
    }

    /// Returns true when the sample behind this one counts what this one has counted already, from another start on.
    pub(super) fn overlaps(self, after: Self) -> bool {
        after.start_ms != START_UNKNOWN && after.start_ms < self.t_ms && after.start_ms != self.start_ms
    }
}

/// Whether a counter was reset before each sample but the first.
pub(super) fn resets<'a>(t_ms: &'a [TimeMs], starts: &'a [TimeMs]) -> impl Iterator<Item = bool> + use<'a> {
    Began::all(t_ms, starts).zip(Began::all(t_ms, starts).skip(1)).map(|(before, after)| before.is_reset_since(after))
}

/// Returns true when any sample counts again what the one before it has counted.
pub(super) fn any_overlap(t_ms: &[TimeMs], starts: &[TimeMs]) -> bool {
    !starts.is_empty()
        && Began::all(t_ms, starts).zip(Began::all(t_ms, starts).skip(1)).any(|(before, after)| before.overlaps(after))
}

/// When the counter began, where that is within a window that is open at `start_ms`, before its first sample.
pub(super) fn beginning(t_ms: &[TimeMs], starts: &[TimeMs], start_ms: TimeMs) -> Option<TimeMs> {
    let (first_ms, began_ms) = t_ms.first().zip(starts.first())?;
    (*began_ms != START_UNKNOWN && start_ms < *began_ms && began_ms < first_ms).then_some(*began_ms)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn began(t_ms: TimeMs, start_ms: TimeMs) -> Began {
        Began { t_ms, start_ms }
    }

    #[test]
    fn a_start_behind_the_sample_before_is_a_reset() {
        let reset = |before: (TimeMs, TimeMs), after: (TimeMs, TimeMs)| {
            began(before.0, before.1).is_reset_since(began(after.0, after.1))
        };
        assert!(reset((10, 5), (20, 11)) && reset((10, START_UNKNOWN), (20, 11)));
        assert!(!reset((10, 5), (20, 5)) && !reset((10, 5), (20, 9)) && !reset((10, 5), (20, START_UNKNOWN)));
        // A delta counts from the sample before, and that one from the one before it.
        assert!(reset((10, 1), (20, 10)));
        // Its beginning is not known: it gives the time of its first sample, or that one gives nothing.
        assert!(!reset((10, 10), (20, 10)) && !reset((10, START_UNKNOWN), (20, 10)));
        // Starts behind their own samples mean nothing.
        assert!(!reset((10, 15), (20, 10)) && !reset((10, 5), (20, 20)) && !reset((10, 5), (20, 21)));
        assert!(!reset((10, 15), (20, 15)));
    }

    #[test]
    fn what_is_counted_twice_overlaps() {
        assert!(began(10, 5).overlaps(began(20, 7)) && began(10, START_UNKNOWN).overlaps(began(20, 7)));
        assert!(!began(10, 5).overlaps(began(20, 5)) && !began(10, 5).overlaps(began(20, 10)));
        assert!(!began(10, 5).overlaps(began(20, START_UNKNOWN)));
    }

    #[test]
    fn a_counter_begins_within_a_window_or_not() {
        assert_eq!(beginning(&[10, 20], &[5, 5], 4), Some(5));
        assert_eq!(beginning(&[10, 20], &[5, 5], 5), None);
        assert_eq!(beginning(&[10], &[10], 0), None);
        assert_eq!(beginning(&[10], &[START_UNKNOWN], -5), None);
        assert_eq!(beginning(&[10], &[], -5), None);
    }
}

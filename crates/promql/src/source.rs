//! Where series come from: the one door between evaluation and storage.
//!
//! Evaluation asks for all series of a selector at once and then reads each as a sequence of runs, chunk by chunk, so
//! that a year of samples never has to be in memory as a whole.

use homeostat_model::{Labels, SampleRun, TimeMs};

use crate::{
    matcher::Matcher,
    workers::{Alone, Workers},
};

/// What a selector needs.
#[derive(Clone, Debug)]
pub struct Select<'a> {
    /// All of them must be met. At least one does not match the empty value (the parser checks it).
    pub matchers: &'a [Matcher],
    /// First instant that is read, inclusive.
    pub start_ms: TimeMs,
    /// Last instant that is read, inclusive.
    pub end_ms: TimeMs,
}

/// Which samples a query looks at: those in `(t - width_ms, t]` of every `t` in `first_ms, first_ms + step_ms, …`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Windows {
    /// Right end of the first window.
    pub first_ms: TimeMs,
    /// Distance of the windows, positive.
    pub step_ms: i64,
    /// Their width, positive.
    pub width_ms: i64,
}

impl Windows {
    /// Returns false when no window reaches into the time from `from_ms` to `to_ms`, both inclusive.
    pub fn reach(&self, from_ms: TimeMs, to_ms: TimeMs) -> bool {
        let ahead = i128::from(from_ms) - i128::from(self.first_ms);
        let step = i128::from(self.step_ms.max(1));
        // The first window that ends at `from_ms` or later begins before `to_ms`, or none does.
        let steps = if ahead <= 0 { 0 } else { (ahead + step - 1) / step };
        let end = i128::from(self.first_ms) + steps * step;
        end - i128::from(self.width_ms) < i128::from(to_ms)
    }
}

/// Why a source gave no series.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// Data is damaged or cannot be read.
    #[error("cannot read series")]
    Storage(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// More than the source is willing to give to one query.
    #[error("the query reads more than {limit} {what}; narrow its selectors or its time range")]
    Limit {
        /// `series` or `samples`.
        what: &'static str,
        /// The limit.
        limit: u64,
    },
    /// The query was given up: its time is over or its client is gone.
    #[error("the query was cancelled")]
    Cancelled,
}

/// A series that a selector chose.
pub struct SelectedSeries<'a> {
    /// Its labels.
    pub labels: Labels,
    /// Its samples from `start_ms` to `end_ms` as runs in order of time, without two samples at the same instant.
    /// Runs are not empty; neighbours may be of the same or of different kinds. Stale markers are among them.
    pub runs: Box<dyn Iterator<Item = Result<SampleRun, SourceError>> + Send + 'a>,
}

impl std::fmt::Debug for SelectedSeries<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SelectedSeries").field("labels", &self.labels).finish_non_exhaustive()
    }
}

/// A store of series, as evaluation sees it.
pub trait SeriesSource {
    /// The series that meet all matchers and have a sample in the time range (a source may also give series without
    /// one), each once, sorted by their labels.
    fn select<'a>(&'a self, select: &Select<'_>) -> Result<Vec<SelectedSeries<'a>>, SourceError>;

    /// As [`SeriesSource::select`], for windows with gaps between them: what lies in the gaps is not looked at, and runs
    /// that lie there as a whole may be left out. A month at one-hour steps looks at a twelfth of its samples.
    fn select_windows<'a>(
        &'a self,
        select: &Select<'_>,
        windows: &Windows,
    ) -> Result<Vec<SelectedSeries<'a>>, SourceError> {
        let _ = windows;
        self.select(select)
    }

    /// Who may read several series at a time. Only the caller, where nobody says otherwise.
    fn workers(&self) -> &dyn Workers {
        &Alone
    }
}

#[cfg(test)]
mod tests {
    use super::Windows;

    #[test]
    fn windows_reach_what_lies_in_one_of_them() {
        let windows = Windows { first_ms: 100, step_ms: 50, width_ms: 10 };
        for from_ms in 0..260 {
            for to_ms in from_ms..260 {
                let looked_at = |t_ms: i64| t_ms > 90 && (t_ms - 91).rem_euclid(50) < 10;
                assert_eq!(windows.reach(from_ms, to_ms), (from_ms..=to_ms).any(looked_at), "{from_ms} {to_ms}");
            }
        }
        assert!(windows.reach(i64::MIN, i64::MAX) && !windows.reach(i64::MIN, 90));
    }
}

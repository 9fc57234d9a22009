//! What a function over a range sees at one step: the samples of one series in its window.
//!
//! A series is decoded once into columns (times, values), floats apart from histograms; the window of each step is a
//! pair of slices of them that slides to the right. Nothing is copied or allocated per step.
//!
//! Not here: what the functions compute (`range_functions`), how the columns are filled (`columns`).
//! Invariants: stale markers are not among the samples; times ascend in each column; no instant stands in both.

use std::sync::Arc;

use homeostat_model::{Histogram, SampleValue, TimeMs};

use crate::{
    ast::{ByteSpan, Extend},
    note::Notes,
};

/// The samples of one series at one step.
///
/// Which samples the slices hold depends on `extend`:
/// - [`Extend::None`]: those in `(start_ms, end_ms]`;
/// - [`Extend::Anchored`]: those in `(start_ms - lookback_ms, end_ms]`;
/// - [`Extend::Smoothed`]: those in `(start_ms - lookback_ms, end_ms + lookback_ms]`.
///
/// At least one of the slices is not empty: a function is not asked about a window without samples.
#[derive(Clone, Copy, Debug)]
pub struct Window<'a> {
    /// Times of the floats.
    pub floats_t: &'a [TimeMs],
    /// Their values; as many as times.
    pub floats: &'a [f64],
    /// Since when they count; empty when none says, else as many as times.
    pub float_starts: &'a [TimeMs],
    /// Times of the histograms.
    pub histograms_t: &'a [TimeMs],
    /// Their values; as many as times.
    pub histograms: &'a [Arc<Histogram>],
    /// Since when they count; empty when none says, else as many as times.
    pub histogram_starts: &'a [TimeMs],
    /// Left end of the window as written, exclusive: `end_ms - range_ms`.
    pub start_ms: TimeMs,
    /// Right end of the window, inclusive: the step's time with `offset` and `@` applied.
    pub end_ms: TimeMs,
    /// Width of the window as written; positive.
    pub range_ms: i64,
    /// The step's own time, without `offset` and `@`.
    pub eval_ms: TimeMs,
    /// How samples outside `(start_ms, end_ms]` are taken in.
    pub extend: Extend,
}

/// Where in the query a function stands, and what its series is called: for the texts and places of notes.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    /// The whole call.
    pub call: ByteSpan,
    /// Its arguments, in the order written.
    pub args: &'a [ByteSpan],
    /// Name of the series' metric; empty when it has none.
    pub metric: &'a str,
}

impl Place<'_> {
    /// Where an argument stands (from 0); the whole call when it is missing.
    pub fn arg(&self, index: usize) -> ByteSpan {
        self.args.get(index).copied().unwrap_or(self.call)
    }
}

/// A function over a range, chosen once per call and then asked for every series and step.
///
/// `params` are the values of the scalar arguments at this step, in the order written (the range is not among them).
/// `None` means that the step has no value.
pub type RangeFn = fn(window: &Window<'_>, params: &[f64], place: &Place<'_>, notes: &mut Notes) -> Option<SampleValue>;

//! What was noticed while histograms of a window were put together, collected before it is told.
//!
//! Collected, because some discoveries make others pointless: where no common layout exists there is no result whose
//! other flaws could matter.

use homeostat_model::histogram::{Histogram, ResetHint};

use crate::{
    eval::window::Place,
    histogram::{Combined, IncompatibleSchemas},
    note::Notes,
    quote::quote,
};

/// Something to tell about the histograms of a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Finding {
    /// A gauge was treated as a counter.
    NotACounter,
    /// A counter was treated as a gauge.
    NotAGauge,
    /// Exponential buckets and custom bounds met.
    MixedSchemas,
    /// Samples with and without a known reset met in an aggregation over time.
    ConflictingResets,
    /// Custom bounds differed in an addition.
    ReconciledInSum,
    /// Custom bounds differed in a subtraction.
    ReconciledInDifference,
    /// Custom bounds differed in an aggregation over time.
    ReconciledInAggregation,
}

/// What was noticed, each once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Findings(Vec<Finding>);

impl Findings {
    /// Notices something if it is so.
    pub(super) fn see(&mut self, is_so: bool, finding: Finding) {
        if is_so && !self.0.contains(&finding) {
            self.0.push(finding);
        }
    }

    /// Forgets all but one.
    pub(super) fn only(&mut self, finding: Finding) {
        self.0.clear();
        self.0.push(finding);
    }

    /// Notices when one histogram has custom bounds and the other has not; `None` then.
    pub(super) fn same_schemas(&mut self, a: &Histogram, b: &Histogram) -> Option<()> {
        let same = a.has_custom_bounds() == b.has_custom_bounds();
        self.see(!same, Finding::MixedSchemas);
        same.then_some(())
    }

    /// Notices how an addition went; `None` when it could not be done.
    pub(super) fn added(&mut self, result: Result<Combined, IncompatibleSchemas>) -> Option<()> {
        self.combined(result, Finding::ReconciledInSum)
    }

    /// Notices how a subtraction went; `None` when it could not be done.
    pub(super) fn subtracted(&mut self, result: Result<Combined, IncompatibleSchemas>) -> Option<()> {
        self.combined(result, Finding::ReconciledInDifference)
    }

    fn combined(&mut self, result: Result<Combined, IncompatibleSchemas>, reconciled: Finding) -> Option<()> {
        self.see(result.is_err(), Finding::MixedSchemas);
        self.see(result.is_ok_and(|combined| combined.bounds_reconciled), reconciled);
        result.ok().map(|_| ())
    }

    /// Tells everything, about the function's first argument. The texts are those of Prometheus (`util/annotations`).
    pub(super) fn tell(&self, place: &Place<'_>, notes: &mut Notes) {
        let (span, metric) = (place.arg(0), place.metric);
        for finding in &self.0 {
            match finding {
                Finding::NotACounter => {
                    notes.warn(span, format!("this native histogram metric is not a counter: {}", quote(metric)));
                }
                Finding::NotAGauge => {
                    notes.warn(span, format!("this native histogram metric is not a gauge: {}", quote(metric)));
                }
                Finding::MixedSchemas => {
                    let what = "vector contains a mix of histograms with exponential and custom buckets schemas";
                    notes.warn(span, format!("{what} for metric name {metric:?}"));
                }
                Finding::ConflictingResets => {
                    notes.warn(span, "conflicting counter resets during histogram aggregation");
                }
                Finding::ReconciledInSum => notes.info(span, reconciled_during("addition")),
                Finding::ReconciledInDifference => notes.info(span, reconciled_during("subtraction")),
                Finding::ReconciledInAggregation => notes.info(span, reconciled_during("aggregation")),
            }
        }
    }
}

fn reconciled_during(operation: &str) -> String {
    format!("mismatched custom buckets were reconciled during {operation}")
}

/// Returns true when the histogram says that it is a gauge.
pub(super) fn is_gauge(histogram: &Histogram) -> bool {
    histogram.reset_hint == ResetHint::Gauge
}

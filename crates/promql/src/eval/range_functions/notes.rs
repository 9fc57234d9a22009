//! What functions over ranges tell beside their values, word for word as Prometheus tells it.
//!
//! Source of the texts: `util/annotations/annotations.go` of Prometheus; clients and its acceptance suite compare them.

use homeostat_model::number_text::shortest;

use super::starts::any_overlap;
use crate::{
    eval::window::{Place, Window},
    note::Notes,
    quote::quote,
};

/// Warns of a window with both kinds of samples, to which the function has no answer.
pub(super) fn mixed_kinds(place: &Place<'_>, notes: &mut Notes) {
    let text = format!("encountered a mix of histograms and floats for metric name {}", quote(place.metric));
    notes.warn(place.arg(0), text);
}

/// Tells, when there are both kinds of samples, that only the numbers are looked at.
pub(super) fn ignored_histograms(window: &Window<'_>, place: &Place<'_>, notes: &mut Notes) {
    if !window.floats.is_empty() && !window.histograms.is_empty() {
        let what = "ignored histograms in a range containing both floats and histograms for metric name";
        notes.info(place.arg(0), format!("{what} {}", quote(place.metric)));
    }
}

/// Warns of samples that count again, from another start on, what the sample before them has counted; not of a window with
/// both kinds, to which the function has no answer.
pub(super) fn overlapping_starts(window: &Window<'_>, place: &Place<'_>, notes: &mut Notes) {
    let overlap = window.histograms.is_empty() && any_overlap(window.floats_t, window.float_starts)
        || window.floats.is_empty() && any_overlap(window.histograms_t, window.histogram_starts);
    if overlap {
        let what = "detected overlapping start timestamps for metric name";
        notes.warn(place.arg(0), format!("{what} {}", quote(place.metric)));
    }
}

/// Warns of a quantile outside of 0 to 1.
pub(super) fn invalid_quantile(q: f64, place: &Place<'_>, notes: &mut Notes) {
    if !(0.0..=1.0).contains(&q) {
        notes.warn(place.arg(0), format!("quantile value should be between 0 and 1, got {}", shortest(q)));
    }
}

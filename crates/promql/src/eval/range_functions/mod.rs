//! Functions of a range vector: from the samples of one series in a window to one value.
//!
//! ```text
//! Window (slices of a series' columns) ── RangeFn ──▶ a number, a histogram, or nothing; and notes
//! ```
//!
//! A function is looked up once per call by its name and then asked for each series and step. The files hold plain
//! calculations over slices (`totals`, `rate`, `trend`, …); `over_time`, `slopes` and `counting` connect them to windows
//! and say what happens with the two kinds of samples.
//!
//! Not here: which samples a window holds, labels and names of results, and how `absent_over_time` looks at all series
//! together (`eval`).
//! Invariants: [`find`] gives functions that keep nothing between calls, [`RangeFunction`] remembers and answers the same;
//! results are those of Prometheus 3, including the order of additions.
//! Source: prometheus.io/docs/prometheus/latest/querying/functions; `promql/functions.go` of Prometheus.

mod counting;
mod extrapolation;
mod extremes;
mod findings;
mod histogram_rate;
pub(crate) mod kahan;
mod merged;
pub(crate) mod notes;
mod over_time;
pub(crate) mod rate;
mod sliding;
mod slopes;
pub mod smoothed;
pub(crate) mod spread;
mod starts;
#[cfg(test)]
mod test_windows;
#[cfg(test)]
mod tests;
mod totals;
mod trend;

use crate::eval::window::RangeFn;

pub use sliding::RangeFunction;
pub use slopes::{BadFactor, check_factors};

/// The function over ranges of this name; `None` for every other name. Of `absent_over_time` this is the part that looks
/// at one series: it is present.
pub fn find(name: &str) -> Option<RangeFn> {
    Some(match name {
        "absent_over_time" | "present_over_time" => over_time::present,
        "avg_over_time" => over_time::average,
        "changes" => counting::changes,
        "count_over_time" => over_time::count,
        "delta" => slopes::delta,
        "deriv" => slopes::derivative,
        "double_exponential_smoothing" => slopes::double_exponential_smoothing,
        "first_over_time" => over_time::first,
        "idelta" => slopes::instant_delta,
        "increase" => slopes::increase,
        "irate" => slopes::instant_rate,
        "last_over_time" => over_time::last,
        "mad_over_time" => over_time::median_absolute_deviation,
        "max_over_time" => over_time::max,
        "min_over_time" => over_time::min,
        "predict_linear" => slopes::predict_linear,
        "quantile_over_time" => over_time::quantile,
        "rate" => slopes::rate,
        "resets" => counting::resets,
        "stddev_over_time" => over_time::deviation,
        "stdvar_over_time" => over_time::variance,
        "sum_over_time" => over_time::sum,
        "ts_of_first_over_time" => over_time::time_of_first,
        "ts_of_last_over_time" => over_time::time_of_last,
        "ts_of_max_over_time" => over_time::time_of_max,
        "ts_of_min_over_time" => over_time::time_of_min,
        _ => return None,
    })
}

//! The algebra of native histograms: what PromQL does to them, value by value.
//!
//! ```text
//! add, sub, scale, divide            two histograms, or one and a number
//! HistogramSum, HistogramMean        many histograms, with compensated sums
//! compact, reduce_resolution         another layout of the same
//! trim_upper, trim_lower             the part below or above a value
//! equal, detect_reset, has_overflow  questions
//! quantile, fraction, variance       estimates
//! buckets, buckets_reversed, text    what readers see
//! ```
//!
//! Two exponential histograms always fit: the finer one is made as coarse as the other, and the narrower zero bucket as
//! wide. Two histograms with custom bounds fit too: what remains are the bounds they share. One of each kind does not.
//! Results are not compacted (empty buckets may remain); `compact` does that once, at the end.
//!
//! Not here: which samples meet and what is told about them (`eval`), extrapolation (`eval::range_functions`).
//! Invariants: every function is total, also for `NaN`, infinite and negative counts and for spans that lie. Bounds of
//! exponential buckets are bit for bit those of Prometheus.
//! Source: prometheus.io/docs/specs/native_histograms; names and order of steps follow `model/histogram` there.

mod arithmetic;
mod bounds;
mod bucket;
mod classic;
mod compensated;
mod custom_bounds;
mod fraction;
mod interpolation;
mod layout;
mod quantile;
mod reset;
mod stats;
mod sum;
mod text;
mod trim;
mod variance;
mod zero_bucket;

pub use arithmetic::{Combined, IncompatibleSchemas, add, combine_hints, divide, has_overflow, scale, sub};
pub use bounds::exponential_bound;
pub use bucket::{Bucket, buckets, buckets_reversed};
pub use classic::{ClassicBucket, FilledUp, classic_fraction, classic_quantile, parse_bound};
pub use fraction::{Fraction, fraction};
pub use layout::{compact, equal, reduce_resolution};
pub use quantile::{NanEffect, Quantile, quantile};
pub use reset::detect_reset;
pub use stats::without_buckets;
pub use sum::{HistogramMean, HistogramSum, Summed};
pub use text::text;
pub use trim::{trim_lower, trim_upper};
pub use variance::variance;

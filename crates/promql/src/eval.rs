//! Evaluation: a syntax tree and series become values.
//!
//! ```text
//! Expr ──▶ Evaluator ──series, all steps of each──▶ Answer { value, notes }
//!              ▲
//!         SeriesSource
//! ```
//!
//! Every node gives all steps of a series at once, so that labels are computed once per series and not per step, and
//! hands its series on one by one, so that an aggregation never holds what it aggregates.
//!
//! Not here: text (`parser`), data (`source`), JSON (`api`).
//! Invariants: nothing reads a clock; the same series and the same query give the same answer; memory is bounded by
//! [`Limits`].
//! Source: prometheus.io/docs/prometheus/latest/querying; where it is silent, Prometheus' acceptance suite decides.

mod absent;
mod aggregate;
mod answer;
mod binary;
mod budget;
mod call;
mod columns;
mod date;
mod duration;
mod error;
mod evaluator;
mod histogram_functions;
mod info;
mod invariant;
mod label_functions;
mod label_key;
mod limits;
mod maths;
mod merge;
mod numbers;
mod range;
pub mod range_functions;
mod raw;
mod scalar;
mod selector;
mod series;
mod smoothed;
mod sorting;
mod spared;
mod steps;
pub mod window;

pub use answer::{Answer, MatrixSeries, Value, VectorElement, evaluate_instant, evaluate_range};
pub use error::EvalError;
pub use limits::{Limits, Options};

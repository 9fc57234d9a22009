//! Evaluation: a syntax tree and series become values.
//!
//! Every node gives all steps of a series at once, so that labels are computed once per series and not per step.

pub mod range_functions;
pub mod window;

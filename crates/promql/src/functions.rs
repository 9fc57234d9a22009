//! The functions of the language: names, arguments and results. What they compute is in `eval`.
//!
//! Source: Prometheus, `docs/querying/functions.md` and the feature flag `promql-experimental-functions`, as of the end
//! of 2026.

use crate::ast::ValueType::{self, Matrix, Scalar, Text, Vector};

/// A function of the language.
#[derive(Debug, PartialEq, Eq)]
pub struct Function {
    /// As written in a query.
    pub name: &'static str,
    /// Types of its arguments, optional ones at the end.
    pub args: &'static [ValueType],
    /// How many of the arguments at the end may be missing; the last may be repeated when [`Arity::Repeated`].
    pub arity: Arity,
    /// Type of its result.
    pub returns: ValueType,
    /// Only with the flag for experimental functions.
    pub experimental: bool,
}

/// How many arguments a function takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arity {
    /// All of them.
    Exact,
    /// So many at the end may be missing.
    Optional(usize),
    /// The last one may stand any number of times, also never.
    Repeated,
}

/// The function of a name. Names are read as they are written: `Rate` is none.
pub fn function(name: &str) -> Option<&'static Function> {
    FUNCTIONS.binary_search_by(|function| function.name.cmp(name)).ok().and_then(|at| FUNCTIONS.get(at))
}

/// All functions in order of names.
pub fn functions() -> &'static [Function] {
    &FUNCTIONS
}

/// Functions of a range vector that know what to do with `smoothed`.
const SMOOTHED: [&str; 3] = ["delta", "increase", "rate"];
/// Functions of a range vector that know what to do with `anchored`.
const ANCHORED: [&str; 5] = ["changes", "delta", "increase", "rate", "resets"];

/// Names of the functions that take a range vector with the modifier `smoothed`, sorted.
pub fn smoothed_functions() -> &'static [&'static str] {
    &SMOOTHED
}

/// Names of the functions that take a range vector with the modifier `anchored`, sorted.
pub fn anchored_functions() -> &'static [&'static str] {
    &ANCHORED
}

const fn exact(name: &'static str, args: &'static [ValueType], returns: ValueType) -> Function {
    Function { name, args, arity: Arity::Exact, returns, experimental: false }
}

const fn optional(name: &'static str, args: &'static [ValueType], missing: usize, returns: ValueType) -> Function {
    Function { name, args, arity: Arity::Optional(missing), returns, experimental: false }
}

const fn repeated(name: &'static str, args: &'static [ValueType], returns: ValueType) -> Function {
    Function { name, args, arity: Arity::Repeated, returns, experimental: false }
}

const fn experimental(function: Function) -> Function {
    Function { experimental: true, ..function }
}

/// A histogram, a label and one to ten quantiles.
const HISTOGRAM_QUANTILES: [ValueType; 12] =
    [Vector, Text, Scalar, Scalar, Scalar, Scalar, Scalar, Scalar, Scalar, Scalar, Scalar, Scalar];

/// Sorted by name.
static FUNCTIONS: [Function; 90] = [
    exact("abs", &[Vector], Vector),
    exact("absent", &[Vector], Vector),
    exact("absent_over_time", &[Matrix], Vector),
    exact("acos", &[Vector], Vector),
    exact("acosh", &[Vector], Vector),
    exact("asin", &[Vector], Vector),
    exact("asinh", &[Vector], Vector),
    exact("atan", &[Vector], Vector),
    exact("atanh", &[Vector], Vector),
    exact("avg_over_time", &[Matrix], Vector),
    exact("ceil", &[Vector], Vector),
    exact("changes", &[Matrix], Vector),
    exact("clamp", &[Vector, Scalar, Scalar], Vector),
    exact("clamp_max", &[Vector, Scalar], Vector),
    exact("clamp_min", &[Vector, Scalar], Vector),
    exact("cos", &[Vector], Vector),
    exact("cosh", &[Vector], Vector),
    exact("count_over_time", &[Matrix], Vector),
    optional("day_of_month", &[Vector], 1, Vector),
    optional("day_of_week", &[Vector], 1, Vector),
    optional("day_of_year", &[Vector], 1, Vector),
    optional("days_in_month", &[Vector], 1, Vector),
    exact("deg", &[Vector], Vector),
    exact("delta", &[Matrix], Vector),
    exact("deriv", &[Matrix], Vector),
    experimental(exact("double_exponential_smoothing", &[Matrix, Scalar, Scalar], Vector)),
    experimental(exact("end", &[], Scalar)),
    exact("exp", &[Vector], Vector),
    exact("first_over_time", &[Matrix], Vector),
    exact("floor", &[Vector], Vector),
    exact("histogram_avg", &[Vector], Vector),
    exact("histogram_count", &[Vector], Vector),
    exact("histogram_fraction", &[Scalar, Scalar, Vector], Vector),
    exact("histogram_quantile", &[Scalar, Vector], Vector),
    experimental(optional("histogram_quantiles", &HISTOGRAM_QUANTILES, 9, Vector)),
    exact("histogram_stddev", &[Vector], Vector),
    exact("histogram_stdvar", &[Vector], Vector),
    exact("histogram_sum", &[Vector], Vector),
    optional("hour", &[Vector], 1, Vector),
    exact("idelta", &[Matrix], Vector),
    exact("increase", &[Matrix], Vector),
    experimental(optional("info", &[Vector, Vector], 1, Vector)),
    exact("irate", &[Matrix], Vector),
    repeated("label_join", &[Vector, Text, Text, Text], Vector),
    exact("label_replace", &[Vector, Text, Text, Text, Text], Vector),
    exact("last_over_time", &[Matrix], Vector),
    exact("ln", &[Vector], Vector),
    exact("log10", &[Vector], Vector),
    exact("log2", &[Vector], Vector),
    experimental(exact("mad_over_time", &[Matrix], Vector)),
    experimental(exact("max_of", &[Scalar, Scalar], Scalar)),
    exact("max_over_time", &[Matrix], Vector),
    experimental(exact("min_of", &[Scalar, Scalar], Scalar)),
    exact("min_over_time", &[Matrix], Vector),
    optional("minute", &[Vector], 1, Vector),
    optional("month", &[Vector], 1, Vector),
    exact("pi", &[], Scalar),
    exact("predict_linear", &[Matrix, Scalar], Vector),
    exact("present_over_time", &[Matrix], Vector),
    exact("quantile_over_time", &[Scalar, Matrix], Vector),
    exact("rad", &[Vector], Vector),
    experimental(exact("range", &[], Scalar)),
    exact("rate", &[Matrix], Vector),
    exact("resets", &[Matrix], Vector),
    optional("round", &[Vector, Scalar], 1, Vector),
    exact("scalar", &[Vector], Scalar),
    exact("sgn", &[Vector], Vector),
    exact("sin", &[Vector], Vector),
    exact("sinh", &[Vector], Vector),
    exact("sort", &[Vector], Vector),
    experimental(repeated("sort_by_label", &[Vector, Text], Vector)),
    experimental(repeated("sort_by_label_desc", &[Vector, Text], Vector)),
    exact("sort_desc", &[Vector], Vector),
    exact("sqrt", &[Vector], Vector),
    experimental(exact("start", &[], Scalar)),
    experimental(exact("start_timestamp", &[Vector], Vector)),
    exact("stddev_over_time", &[Matrix], Vector),
    exact("stdvar_over_time", &[Matrix], Vector),
    experimental(exact("step", &[], Scalar)),
    exact("sum_over_time", &[Matrix], Vector),
    exact("tan", &[Vector], Vector),
    exact("tanh", &[Vector], Vector),
    exact("time", &[], Scalar),
    exact("timestamp", &[Vector], Vector),
    experimental(exact("ts_of_first_over_time", &[Matrix], Vector)),
    experimental(exact("ts_of_last_over_time", &[Matrix], Vector)),
    experimental(exact("ts_of_max_over_time", &[Matrix], Vector)),
    experimental(exact("ts_of_min_over_time", &[Matrix], Vector)),
    exact("vector", &[Scalar], Vector),
    optional("year", &[Vector], 1, Vector),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted_and_every_name_is_found() {
        assert!(FUNCTIONS.is_sorted_by(|a, b| a.name < b.name));
        assert!(FUNCTIONS.iter().all(|f| function(f.name) == Some(f)));
        assert!(function("Rate").is_none() && function("").is_none());
    }

    #[test]
    fn only_functions_of_one_range_vector_take_modifiers() {
        for name in SMOOTHED.iter().chain(&ANCHORED) {
            assert_eq!(function(name).unwrap().args, [Matrix], "{name}");
        }
    }
}

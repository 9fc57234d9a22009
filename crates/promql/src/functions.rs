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
    /// Types of its arguments. What holds for further ones holds for the last.
    pub args: &'static [ValueType],
    /// Whether the last argument may be missing or repeated.
    pub arity: Arity,
    /// Type of its result.
    pub returns: ValueType,
    /// Only with the flag for experimental functions.
    pub experimental: bool,
}

/// How many arguments a function takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arity {
    /// Each of them once.
    Exact,
    /// The last one may be missing, or stand up to so many times.
    Optional(usize),
    /// The last one may be missing, or stand any number of times.
    Repeated,
}

impl Function {
    /// The fewest and the most arguments; no most when any number may stand.
    pub fn args_min_max(&self) -> (usize, Option<usize>) {
        let all = self.args.len();
        let before_last = all.saturating_sub(1);
        match self.arity {
            Arity::Exact => (all, Some(all)),
            Arity::Optional(times) => (before_last, Some(before_last + times)),
            Arity::Repeated => (before_last, None),
        }
    }

    /// The type of an argument by its place, from 0; `None` for one too many.
    pub fn arg_type(&self, at: usize) -> Option<ValueType> {
        match self.args_min_max() {
            (_, Some(most)) if most <= at => None,
            _ => self.args.get(at).or(self.args.last()).copied(),
        }
    }
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

const fn optional(name: &'static str, args: &'static [ValueType], returns: ValueType) -> Function {
    Function { name, args, arity: Arity::Optional(1), returns, experimental: false }
}

const fn repeated(name: &'static str, args: &'static [ValueType], returns: ValueType) -> Function {
    Function { name, args, arity: Arity::Repeated, returns, experimental: false }
}

const fn experimental(function: Function) -> Function {
    Function { experimental: true, ..function }
}

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
    optional("day_of_month", &[Vector], Vector),
    optional("day_of_week", &[Vector], Vector),
    optional("day_of_year", &[Vector], Vector),
    optional("days_in_month", &[Vector], Vector),
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
    Function {
        name: "histogram_quantiles",
        args: &[Vector, Text, Scalar, Scalar],
        arity: Arity::Optional(9),
        returns: Vector,
        experimental: true,
    },
    exact("histogram_stddev", &[Vector], Vector),
    exact("histogram_stdvar", &[Vector], Vector),
    exact("histogram_sum", &[Vector], Vector),
    optional("hour", &[Vector], Vector),
    exact("idelta", &[Matrix], Vector),
    exact("increase", &[Matrix], Vector),
    experimental(optional("info", &[Vector, Vector], Vector)),
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
    optional("minute", &[Vector], Vector),
    optional("month", &[Vector], Vector),
    exact("pi", &[], Scalar),
    exact("predict_linear", &[Matrix, Scalar], Vector),
    exact("present_over_time", &[Matrix], Vector),
    exact("quantile_over_time", &[Scalar, Matrix], Vector),
    exact("rad", &[Vector], Vector),
    experimental(exact("range", &[], Scalar)),
    exact("rate", &[Matrix], Vector),
    exact("resets", &[Matrix], Vector),
    optional("round", &[Vector, Scalar], Vector),
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
    optional("year", &[Vector], Vector),
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
    fn further_arguments_have_the_type_of_the_last() {
        let quantiles = function("histogram_quantiles").unwrap();
        assert_eq!(quantiles.args_min_max(), (3, Some(12)));
        assert_eq!([1, 2, 11, 12].map(|at| quantiles.arg_type(at)), [Some(Text), Some(Scalar), Some(Scalar), None]);
        let join = function("label_join").unwrap();
        assert_eq!((join.args_min_max(), join.arg_type(9)), ((3, None), Some(Text)));
        let time = function("time").unwrap();
        assert_eq!((time.args_min_max(), time.arg_type(0)), ((0, Some(0)), None));
        assert_eq!(function("info").unwrap().args_min_max(), (1, Some(2)));
    }

    #[test]
    fn only_functions_of_one_range_vector_take_modifiers() {
        for name in SMOOTHED.iter().chain(&ANCHORED) {
            assert_eq!(function(name).unwrap().args, [Matrix], "{name}");
        }
    }
}

//! The syntax tree: what a query says, with the bytes that say it.
//!
//! Every node carries its [`ByteSpan`], so that errors stand under the cursor, notes name their place and a formatter
//! or completion can work on it. The parser has checked names, arities and types: evaluation does not check again.
//! Durations may be expressions over the query's step and range (`[step() * 5]`); those stay trees until a query runs.

mod walk;
mod words;

use crate::{functions::Function, matcher::Matcher};

/// Where in the query's text a node stands: bytes, end exclusive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct ByteSpan {
    /// First byte.
    pub start: usize,
    /// Byte after the last.
    pub end: usize,
}

/// An expression and where it stands.
#[derive(Clone, Debug, PartialEq)]
pub struct Expr {
    /// What it is.
    pub kind: ExprKind,
    /// Where it stands.
    pub span: ByteSpan,
}

/// The kinds of expressions.
#[derive(Clone, Debug, PartialEq)]
pub enum ExprKind {
    /// `1.5`, `0x1f`, `Inf`.
    Number(f64),
    /// A number written as a duration, in seconds: `1m30s` is 90. It counts as any number and is printed as a duration.
    Seconds(f64),
    /// `"text"`, unescaped.
    Text(String),
    /// `( … )`.
    Paren(Box<Expr>),
    /// `+ …`, `- …`.
    Unary(UnaryOp, Box<Expr>),
    /// `a + b`.
    Binary(Box<Binary>),
    /// `sum by (job) (…)`.
    Aggregate(Box<Aggregate>),
    /// `rate(…)`.
    Call(Call),
    /// `metric{a="b"}`.
    Vector(VectorSelector),
    /// `metric{a="b"}[5m]`.
    Matrix(MatrixSelector),
    /// `expr[1h:1m]`.
    Subquery(Box<Subquery>),
}

/// Type of an expression's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ValueType {
    /// One number a step.
    Scalar,
    /// A text; only as a whole query or as an argument.
    Text,
    /// Series with one value a step ("instant vector").
    Vector,
    /// Series with a range of samples a step ("range vector").
    Matrix,
}

/// `+` or `-` before an expression.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum UnaryOp {
    /// Changes nothing, not even the name.
    Plus,
    /// Negates, and drops the name.
    Minus,
}

/// An operator between two expressions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BinaryOp {
    /// `+`
    Add,
    /// `-`
    Sub,
    /// `*`
    Mul,
    /// `/`
    Div,
    /// `%`
    Mod,
    /// `^`, binds to the right.
    Pow,
    /// `atan2`
    Atan2,
    /// `==`
    Eq,
    /// `!=`
    Ne,
    /// `>`
    Gt,
    /// `<`
    Lt,
    /// `>=`
    Ge,
    /// `<=`
    Le,
    /// `and`
    And,
    /// `or`
    Or,
    /// `unless`
    Unless,
    /// `</`: keeps the part of a native histogram below a value.
    TrimUpper,
    /// `>/`: keeps the part of a native histogram above a value.
    TrimLower,
}

/// `left op right`.
#[derive(Clone, Debug, PartialEq)]
pub struct Binary {
    /// The operator.
    pub op: BinaryOp,
    /// Where the operator itself stands.
    pub op_span: ByteSpan,
    /// Left side.
    pub left: Expr,
    /// Right side.
    pub right: Expr,
    /// `bool` after a comparison: 0 or 1 instead of a filter.
    pub returns_bool: bool,
    /// How vectors are matched; the default when nothing is written.
    pub matching: Matching,
}

/// Which series of two vectors belong together.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Matching {
    /// `on (…)` or `ignoring (…)`.
    pub labels: MatchLabels,
    /// `group_left`, `group_right`, or one to one. Set operators are many to many and have one-to-one here.
    pub group: Group,
    /// `fill_left(x)` or `fill(x)`: value of a series that is missing on the left.
    pub fill_left: Option<f64>,
    /// `fill_right(x)` or `fill(x)`: value of a series that is missing on the right.
    pub fill_right: Option<f64>,
}

/// The labels that decide whether two series belong together.
#[derive(Clone, Debug, PartialEq)]
pub enum MatchLabels {
    /// `on (…)`: these only.
    On(Vec<String>),
    /// `ignoring (…)`: all but these and the name. Empty when nothing is written.
    Ignoring(Vec<String>),
}

impl Default for MatchLabels {
    fn default() -> Self {
        Self::Ignoring(Vec::new())
    }
}

/// Whether several series of one side may match one of the other.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Group {
    /// One to one.
    #[default]
    OneToOne,
    /// `group_left(…)`: many on the left; these labels are taken from the right.
    Left(Vec<String>),
    /// `group_right(…)`: many on the right; these labels are taken from the left.
    Right(Vec<String>),
}

/// What an aggregation computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AggregateOp {
    /// `sum`
    Sum,
    /// `avg`
    Avg,
    /// `count`
    Count,
    /// `min`
    Min,
    /// `max`
    Max,
    /// `group`
    Group,
    /// `stddev`
    Stddev,
    /// `stdvar`
    Stdvar,
    /// `topk(k, …)`
    Topk,
    /// `bottomk(k, …)`
    Bottomk,
    /// `count_values("label", …)`
    CountValues,
    /// `quantile(φ, …)`
    Quantile,
    /// `limitk(k, …)`, experimental
    Limitk,
    /// `limit_ratio(r, …)`, experimental
    LimitRatio,
}

/// `op by (labels) (param, expr)`.
#[derive(Clone, Debug, PartialEq)]
pub struct Aggregate {
    /// What is computed.
    pub op: AggregateOp,
    /// How series are put together.
    pub grouping: Grouping,
    /// The parameter of those that have one.
    pub param: Option<Expr>,
    /// What is aggregated.
    pub expr: Expr,
}

/// The labels that survive an aggregation.
#[derive(Clone, Debug, PartialEq)]
pub enum Grouping {
    /// `by (…)`: these only. `by ()` is what nothing written means.
    By(Vec<String>),
    /// `without (…)`: all but these and the name.
    Without(Vec<String>),
}

/// `function(args)`.
#[derive(Clone, Debug, PartialEq)]
pub struct Call {
    /// Which function.
    pub function: &'static Function,
    /// Its arguments as written; optional ones at the end may be missing.
    pub args: Vec<Expr>,
}

/// `metric{matchers} offset d @ t`, with or without a modifier of extended ranges.
#[derive(Clone, Debug, PartialEq)]
pub struct VectorSelector {
    /// All matchers, the metric's name among them as `__name__ =`; a name before the braces comes last.
    pub matchers: Vec<Matcher>,
    /// Whether a name stands before the braces, as in `up{…}`, or is only one of the matchers, as in `{"up"}`.
    pub named: bool,
    /// Shift in time.
    pub shift: Shift,
    /// `anchored`, `smoothed` or none; on an instant selector only `smoothed` has a meaning of its own.
    pub extend: Extend,
}

impl VectorSelector {
    /// The metric's name where the selector fixes it.
    pub fn metric(&self) -> Option<&str> {
        self.matchers.iter().find_map(Matcher::fixed_name)
    }
}

/// `selector[range]`.
#[derive(Clone, Debug, PartialEq)]
pub struct MatrixSelector {
    /// Which series, and their shift (written behind the range, kept here).
    pub vector: VectorSelector,
    /// Where the selector without its range stands.
    pub vector_span: ByteSpan,
    /// Width of the window.
    pub range: Duration,
}

/// `expr[range:step] offset d @ t`.
#[derive(Clone, Debug, PartialEq)]
pub struct Subquery {
    /// What is evaluated at every step.
    pub expr: Expr,
    /// Width of the window.
    pub range: Duration,
    /// Distance of the steps; the engine's default where none is written.
    pub step: Option<Duration>,
    /// Shift in time.
    pub shift: Shift,
}

/// `offset` and `@`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Shift {
    /// `offset d`: looks that much into the past; negative into the future.
    pub offset: Option<Duration>,
    /// `@ t`: looks at a fixed time.
    pub at: Option<At>,
}

/// `@ …`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum At {
    /// Milliseconds since 1970.
    Time(i64),
    /// `start()`: of the whole query.
    Start,
    /// `end()`: of the whole query.
    End,
}

/// How a window takes in samples beyond its left end (experimental, "extended range selectors").
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Extend {
    /// As ever: only what lies inside, left end open.
    #[default]
    None,
    /// `anchored`: the last sample before the window counts at its left end.
    Anchored,
    /// `smoothed`: values at both ends are interpolated from the samples around them.
    Smoothed,
}

/// A duration, possibly one that is computed when the query runs.
#[derive(Clone, Debug, PartialEq)]
pub struct Duration {
    /// What it is.
    pub kind: DurationKind,
    /// Where it stands.
    pub span: ByteSpan,
}

/// The kinds of durations. Arithmetic is done in seconds as `f64`.
#[derive(Clone, Debug, PartialEq)]
pub enum DurationKind {
    /// `5m` anywhere, and `300` or `0.5` where nothing is computed: milliseconds.
    Millis(i64),
    /// A plain number within a computation, `2` in `[step() * 2]`: seconds or a factor.
    Number(f64),
    /// `step()`: of the query; 0 for an instant query.
    Step,
    /// `range()`: end minus start of the query; 0 for an instant query.
    Range,
    /// `- d`, `+ d`.
    Unary(UnaryOp, Box<Duration>),
    /// `a + b` with one of `+ - * / % ^`.
    Binary(BinaryOp, Box<Duration>, Box<Duration>),
    /// `min_of(a, b)`.
    Min(Box<Duration>, Box<Duration>),
    /// `max_of(a, b)`.
    Max(Box<Duration>, Box<Duration>),
    /// `( d )`.
    Paren(Box<Duration>),
}

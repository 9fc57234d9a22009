//! Writing a syntax tree: on one line as Prometheus does, and over several lines for people.
//!
//! `Display` gives the canonical text of a query: one blank where one may be, groupings before arguments, matchers
//! sorted, durations in their largest units. It reads back as the same tree, places aside; only behind an offset in
//! parentheses it may have parentheses of its own.
//! [`pretty`] breaks what is longer than [`LINE_BYTES_MAX`] as the API's `format_query` does.
//!
//! Source: Prometheus, `promql/parser/printer.go` and `prettier.go`.

use std::fmt::{self, Display, Formatter};

use homeostat_model::{labels::METRIC_NAME, number_text};

use crate::{
    ast::{
        Aggregate, At, Binary, Duration, DurationKind, Expr, ExprKind, Extend, Group, Grouping, MatchLabels, Matching,
        MatrixSelector, Shift, Subquery, VectorSelector,
    },
    literal::{format_duration_ms, seconds_to_ms},
    matcher::{Matcher, MatcherOp},
    quote::quote,
};

/// Levels of indentation; what lies deeper stands below its parent. Without a bound, a megabyte of small arguments
/// under a deep nesting would be printed as hundreds.
const INDENT_LEVELS_MAX: usize = 32;

/// Longest expression that [`pretty`] leaves on one line, without its indentation.
pub const LINE_BYTES_MAX: usize = 100;

impl Display for Expr {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match &self.kind {
            ExprKind::Number(value) => f.write_str(&number_text::plain(*value, &mut zmij::Buffer::new())),
            ExprKind::Seconds(seconds) => f.write_str(&format_duration_ms(seconds_to_ms(*seconds))),
            ExprKind::Text(text) => f.write_str(&quote(text)),
            ExprKind::Paren(inner) => write!(f, "({inner})"),
            ExprKind::Unary(op, inner) => write!(f, "{}{inner}", op.as_str()),
            ExprKind::Binary(binary) if reads_as_offset(binary) => {
                write!(f, "({}) {} {}", binary.left, Operator(binary), binary.right)
            }
            ExprKind::Binary(binary) => write!(f, "{} {} {}", binary.left, Operator(binary), binary.right),
            ExprKind::Aggregate(aggregate) => {
                write!(f, "{}(", AggregateHead(aggregate))?;
                if let Some(param) = &aggregate.param {
                    write!(f, "{param}, ")?;
                }
                write!(f, "{})", aggregate.expr)
            }
            ExprKind::Call(call) => write!(f, "{}({})", call.function.name, List(&call.args, Expr::fmt)),
            ExprKind::Vector(vector) => {
                let VectorSelector { shift, extend, .. } = vector;
                write!(f, "{}{}{}{}", Selector(vector), Timestamp(shift), extend.suffix(), Offset(shift))
            }
            ExprKind::Matrix(MatrixSelector { vector, range, .. }) => {
                let VectorSelector { shift, extend, .. } = vector;
                write!(f, "{}[{range}]{}{}{}", Selector(vector), extend.suffix(), Timestamp(shift), Offset(shift))
            }
            ExprKind::Subquery(subquery) => write!(f, "{}{}", subquery.expr, Steps(subquery)),
        }
    }
}

impl Display for Duration {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match &self.kind {
            DurationKind::Millis(millis) => f.write_str(&format_duration_ms(*millis)),
            DurationKind::Number(number) => f.write_str(&number_text::plain(*number, &mut zmij::Buffer::new())),
            DurationKind::Step => f.write_str("step()"),
            DurationKind::Range => f.write_str("range()"),
            DurationKind::Unary(op, inner) => write!(f, "{}{inner}", op.as_str()),
            DurationKind::Binary(op, left, right) => write!(f, "{left} {} {right}", op.as_str()),
            DurationKind::Min(left, right) => write!(f, "min_of({left}, {right})"),
            DurationKind::Max(left, right) => write!(f, "max_of({left}, {right})"),
            DurationKind::Paren(inner) => write!(f, "({inner})"),
        }
    }
}

/// Returns true when the right side would be read as a part of the offset that ends the left side: `a offset (5m) + 2`.
fn reads_as_offset(binary: &Binary) -> bool {
    let Binary { op, left, right, returns_bool, matching, .. } = binary;
    op.is_arithmetic()
        && !returns_bool
        && *matching == Matching::default()
        && ends_with_paren_offset(left)
        && starts_like_duration(right)
}

fn ends_with_paren_offset(expr: &Expr) -> bool {
    match &expr.kind {
        ExprKind::Vector(vector) => {
            vector.shift.offset.as_ref().is_some_and(|offset| matches!(offset.kind, DurationKind::Paren(_)))
        }
        ExprKind::Unary(_, inner) => ends_with_paren_offset(inner),
        ExprKind::Binary(binary) => ends_with_paren_offset(&binary.right),
        _ => false,
    }
}

fn starts_like_duration(expr: &Expr) -> bool {
    match &expr.kind {
        ExprKind::Number(_) | ExprKind::Seconds(_) | ExprKind::Paren(_) | ExprKind::Unary(..) => true,
        ExprKind::Call(call) => matches!(call.function.name, "step" | "range" | "min_of" | "max_of"),
        ExprKind::Binary(binary) => starts_like_duration(&binary.left),
        ExprKind::Subquery(subquery) => starts_like_duration(&subquery.expr),
        ExprKind::Text(_) | ExprKind::Aggregate(_) | ExprKind::Vector(_) | ExprKind::Matrix(_) => false,
    }
}

/// Things with commas between them, each written by a function.
struct List<'a, T>(&'a [T], fn(&T, &mut Formatter<'_>) -> fmt::Result);

impl<T> Display for List<'_, T> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for (at, item) in self.0.iter().enumerate() {
            if 0 < at {
                f.write_str(", ")?;
            }
            (self.1)(item, f)?;
        }
        Ok(())
    }
}

fn labels(labels: &[String]) -> List<'_, String> {
    List(labels, |label, f| {
        // `inf` and `nan` are names, but read as numbers.
        let is_number = label.eq_ignore_ascii_case("inf") || label.eq_ignore_ascii_case("nan");
        if is_number { f.write_str(&quote(label)) } else { write_name(label, f) }
    })
}

/// Writes a label's name, quoted unless it is a plain word.
fn write_name(name: &str, f: &mut impl fmt::Write) -> fmt::Result {
    let mut chars = name.chars();
    let starts = chars.next().is_some_and(|c| c == '_' || c.is_ascii_alphabetic());
    if starts && chars.all(|c| c == '_' || c.is_ascii_alphanumeric()) {
        return f.write_str(name);
    }
    f.write_str(&quote(name))
}

impl Display for Matcher {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write_name(&self.name, f)?;
        write!(f, "{}{}", self.op.as_str(), quote(&self.value))
    }
}

/// The operator with everything up to the right side.
struct Operator<'a>(&'a Binary);

impl Display for Operator<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.op.as_str())?;
        if self.0.returns_bool {
            f.write_str(" bool")?;
        }
        let Matching { labels: matched, group, fill_left, fill_right } = &self.0.matching;
        match matched {
            MatchLabels::On(on) => write!(f, " on ({})", labels(on))?,
            MatchLabels::Ignoring(ignoring) if ignoring.is_empty() && *group == Group::OneToOne => {}
            MatchLabels::Ignoring(ignoring) => write!(f, " ignoring ({})", labels(ignoring))?,
        }
        match group {
            Group::OneToOne => {}
            Group::Left(include) => write!(f, " group_left ({})", labels(include))?,
            Group::Right(include) => write!(f, " group_right ({})", labels(include))?,
        }
        match (fill_left, fill_right) {
            (Some(left), Some(right)) if left.to_bits() == right.to_bits() => {
                write!(f, " fill ({})", number_text::shortest(*left))
            }
            (left, right) => {
                for (side, fill) in [("left", left), ("right", right)] {
                    if let Some(fill) = fill {
                        write!(f, " fill_{side} ({})", number_text::shortest(*fill))?;
                    }
                }
                Ok(())
            }
        }
    }
}

/// The aggregation and its grouping.
struct AggregateHead<'a>(&'a Aggregate);

impl Display for AggregateHead<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.op.as_str())?;
        match &self.0.grouping {
            Grouping::By(by) if by.is_empty() => Ok(()),
            Grouping::By(by) => write!(f, " by ({}) ", labels(by)),
            Grouping::Without(without) => write!(f, " without ({}) ", labels(without)),
        }
    }
}

/// A selector without what is written behind it.
struct Selector<'a>(&'a VectorSelector);

impl Display for Selector<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let name = self.0.metric().filter(|_| self.0.named);
        f.write_str(name.unwrap_or_default())?;
        let is_name = |matcher: &&Matcher| {
            &*matcher.name == METRIC_NAME && matcher.op == MatcherOp::Equal && Some(&*matcher.value) == name
        };
        let mut written: Vec<_> = self.0.matchers.iter().filter(|it| !is_name(it)).map(Matcher::to_string).collect();
        written.sort_unstable();
        match (written.is_empty(), name) {
            (true, Some(_)) => Ok(()),
            _ => write!(f, "{{{}}}", written.join(",")),
        }
    }
}

/// ` @ …`, if there is one.
struct Timestamp<'a>(&'a Shift);

impl Display for Timestamp<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.0.at {
            None => Ok(()),
            Some(At::Time(millis)) => write!(f, " @ {:.3}", millis as f64 / 1000.0),
            Some(At::Start) => f.write_str(" @ start()"),
            Some(At::End) => f.write_str(" @ end()"),
        }
    }
}

/// ` offset …`, if there is one and it is not 0.
struct Offset<'a>(&'a Shift);

impl Display for Offset<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match &self.0.offset {
            None | Some(Duration { kind: DurationKind::Millis(0), .. }) => Ok(()),
            Some(offset) => write!(f, " offset {offset}"),
        }
    }
}

impl Extend {
    fn suffix(self) -> &'static str {
        match self {
            Self::None => "",
            Self::Anchored => " anchored",
            Self::Smoothed => " smoothed",
        }
    }
}

/// What a subquery has behind its expression.
struct Steps<'a>(&'a Subquery);

impl Display for Steps<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "[{}:", self.0.range)?;
        if let Some(step) = &self.0.step {
            write!(f, "{step}")?;
        }
        write!(f, "]{}{}", Timestamp(&self.0.shift), Offset(&self.0.shift))
    }
}

/// Writes an expression over several lines: arguments, operands and what is in parentheses get lines of their own
/// where the whole would be longer than [`LINE_BYTES_MAX`]. Selectors are never broken.
pub fn pretty(expr: &Expr) -> String {
    lines(expr, 0)
}

/// Writes an expression with so many levels of indentation before each of its lines.
fn lines(expr: &Expr, level: usize) -> String {
    let line = expr.to_string();
    let indent = "  ".repeat(level.min(INDENT_LEVELS_MAX));
    let inner = level + 1;
    match &expr.kind {
        ExprKind::Unary(op, operand) => format!("{indent}{}{}", op.as_str(), lines(operand, level).trim()),
        // As Prometheus has it: a short subquery is not indented.
        ExprKind::Subquery(_) if line.len() <= LINE_BYTES_MAX => line,
        ExprKind::Subquery(subquery) => format!("{}{}", lines(&subquery.expr, level), Steps(subquery)),
        _ if line.len() <= LINE_BYTES_MAX => format!("{indent}{line}"),
        ExprKind::Paren(within) => format!("{indent}(\n{}\n{indent})", lines(within, inner)),
        ExprKind::Binary(binary) => {
            let (left, right) = (lines(&binary.left, inner), lines(&binary.right, inner));
            format!("{left}\n{indent}{}\n{right}", Operator(binary))
        }
        ExprKind::Aggregate(aggregate) => {
            let args: Vec<_> = expr.children().into_iter().map(|arg| lines(arg, inner)).collect();
            format!("{indent}{}(\n{}\n{indent})", AggregateHead(aggregate), args.join(",\n"))
        }
        ExprKind::Call(call) => {
            let args: Vec<_> = call.args.iter().map(|arg| lines(arg, inner)).collect();
            format!("{indent}{}(\n{}\n{indent})", call.function.name, args.join(",\n"))
        }
        _ => format!("{indent}{line}"),
    }
}

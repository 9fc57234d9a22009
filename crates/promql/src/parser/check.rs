//! Checks of a complete tree: types, numbers of arguments, and what may not stand together.

use std::collections::BTreeSet;

use super::tokens::Parser;
use crate::{
    ast::{
        Aggregate, Binary, ByteSpan, Call, Expr, ExprKind, Extend, Group, MatchLabels, Matching, Subquery, ValueType,
        VectorSelector,
    },
    functions::{anchored_functions, smoothed_functions},
    quote::quote,
};
use homeostat_model::labels::METRIC_NAME;

/// Notes everything that is wrong with a tree, and returns the type of its value. Matching that has no meaning between
/// scalars is removed.
pub(super) fn check(parser: &mut Parser<'_>, expr: &mut Expr) -> ValueType {
    let span = expr.span;
    match &mut expr.kind {
        ExprKind::Number(_) | ExprKind::Seconds(_) => ValueType::Scalar,
        ExprKind::Text(_) => ValueType::Text,
        ExprKind::Paren(inner) => check(parser, inner),
        ExprKind::Unary(_, inner) => check_unary(parser, inner, span),
        ExprKind::Binary(binary) => check_binary(parser, binary, span),
        ExprKind::Aggregate(aggregate) => check_aggregate(parser, aggregate),
        ExprKind::Call(call) => check_call(parser, call, span),
        ExprKind::Vector(vector) => {
            check_selector(parser, vector, span, true);
            ValueType::Vector
        }
        ExprKind::Matrix(matrix) => {
            check_selector(parser, &matrix.vector, matrix.vector_span, true);
            ValueType::Matrix
        }
        ExprKind::Subquery(subquery) => check_subquery(parser, subquery, span),
    }
}

fn is_operand(value_type: ValueType) -> bool {
    matches!(value_type, ValueType::Scalar | ValueType::Vector)
}

fn expect_type(parser: &mut Parser<'_>, expr: &mut Expr, expected: ValueType, context: &str) {
    let got = check(parser, expr);
    if got != expected {
        let message = format!("expected type {} in {context}, got {}", expected.documented(), got.documented());
        parser.error(expr.span, message);
    }
}

fn check_unary(parser: &mut Parser<'_>, operand: &mut Expr, span: ByteSpan) -> ValueType {
    let got = check(parser, operand);
    if !is_operand(got) {
        let message = "unary expression only allowed on expressions of type scalar or instant vector, got";
        parser.error(span, format!("{message} {}", quote(got.documented())));
    }
    got
}

fn check_aggregate(parser: &mut Parser<'_>, aggregate: &mut Aggregate) -> ValueType {
    expect_type(parser, &mut aggregate.expr, ValueType::Vector, "aggregation expression");
    if let (Some(param), Some(expected)) = (&mut aggregate.param, aggregate.op.param_type()) {
        expect_type(parser, param, expected, "aggregation parameter");
    }
    ValueType::Vector
}

fn check_subquery(parser: &mut Parser<'_>, subquery: &mut Subquery, span: ByteSpan) -> ValueType {
    let got = check(parser, &mut subquery.expr);
    if got != ValueType::Vector {
        parser.error(span, format!("subquery is only allowed on instant vector, got {} instead", got.as_str()));
    }
    ValueType::Matrix
}

fn check_binary(parser: &mut Parser<'_>, binary: &mut Binary, span: ByteSpan) -> ValueType {
    let (left, right) = (check(parser, &mut binary.left), check(parser, &mut binary.right));
    let (op, scalars) = (binary.op, (left, right) == (ValueType::Scalar, ValueType::Scalar));
    if binary.returns_bool && !op.is_comparison() {
        parser.error(binary.op_span, "bool modifier can only be used on comparison operators");
    }
    if scalars && op.is_comparison() && !binary.returns_bool {
        parser.error(binary.op_span, "comparisons between scalars must use BOOL modifier");
    }
    check_included(parser, binary);
    for (operand, got) in [(&binary.left, left), (&binary.right, right)] {
        if !is_operand(got) {
            parser.error(operand.span, "binary expression must contain only scalar and instant vector types");
        }
    }
    if (left, right) == (ValueType::Vector, ValueType::Vector) {
        check_set_matching(parser, binary, span);
    } else {
        check_no_matching(parser, &binary.matching, span);
        binary.matching = Matching::default();
    }
    if op.is_set() && [left, right].contains(&ValueType::Scalar) {
        let message = format!("set operator {} not allowed in binary scalar expression", quote(op.as_str()));
        parser.error(span, message);
    }
    if scalars { ValueType::Scalar } else { ValueType::Vector }
}

/// A label that is matched on is the same on both sides and cannot be taken from one.
fn check_included(parser: &mut Parser<'_>, binary: &Binary) {
    let (MatchLabels::On(on), Group::Left(include) | Group::Right(include)) =
        (&binary.matching.labels, &binary.matching.group)
    else {
        return;
    };
    let include: BTreeSet<_> = include.iter().collect();
    for label in on.iter().filter(|label| include.contains(label)) {
        let message = format!("label {} must not occur in ON and GROUP clause at once", quote(label));
        parser.error(binary.op_span, message);
    }
}

/// Set operators match many to many and have nothing to fill.
fn check_set_matching(parser: &mut Parser<'_>, binary: &Binary, span: ByteSpan) {
    let Matching { group, fill_left, fill_right, .. } = &binary.matching;
    if !binary.op.is_set() {
        return;
    }
    if *group != Group::OneToOne {
        parser.error(span, format!("no grouping allowed for {} operation", quote(binary.op.as_str())));
        parser.error(span, "set operations must always be many-to-many");
    }
    if fill_left.is_some() || fill_right.is_some() {
        parser.error(span, "filling in missing series not allowed for set operators");
    }
}

fn check_no_matching(parser: &mut Parser<'_>, matching: &Matching, span: ByteSpan) {
    let (MatchLabels::On(labels) | MatchLabels::Ignoring(labels)) = &matching.labels;
    if !labels.is_empty() {
        parser.error(span, "vector matching only allowed between instant vectors");
    }
    if matching.fill_left.is_some() || matching.fill_right.is_some() {
        parser.error(span, "filling in missing series only allowed between instant vectors");
    }
}

fn check_call(parser: &mut Parser<'_>, call: &mut Call, span: ByteSpan) -> ValueType {
    let function = call.function;
    check_arity(parser, call, span);
    if function.name == "info" {
        check_info(parser, call, span);
    }
    let context = format!("call to function {}", quote(function.name));
    for (at, arg) in call.args.iter_mut().enumerate() {
        // One too many was told, and whether it is right in itself does not matter.
        let Some(expected) = function.arg_type(at) else { break };
        match &arg.kind {
            // The second argument of `info` chooses labels and may be empty.
            ExprKind::Vector(vector) if function.name == "info" && at == 1 => {
                check_selector(parser, vector, arg.span, false);
            }
            _ => expect_type(parser, arg, expected, &context),
        }
        check_extend(parser, arg, function.name);
    }
    function.returns
}

fn check_arity(parser: &mut Parser<'_>, call: &Call, span: ByteSpan) {
    let (name, got) = (quote(call.function.name), call.args.len());
    let expected = match call.function.args_min_max() {
        (least, Some(most)) if least == most && got != most => format!("{most}"),
        (least, _) if got < least => format!("at least {least}"),
        (_, Some(most)) if most < got => format!("at most {most}"),
        _ => return,
    };
    parser.error(span, format!("expected {expected} argument(s) in call to {name}, got {got}"));
}

/// The second argument of `info` is a selector without a name before its braces.
fn check_info(parser: &mut Parser<'_>, call: &Call, span: ByteSpan) {
    let Some(labels) = call.args.get(1) else { return };
    let got = labels.value_type();
    if got != ValueType::Vector {
        let (expected, got) = (ValueType::Vector.documented(), got.documented());
        parser.error(span, format!("expected type {expected} in call to function \"info\", got {got}"));
    }
    match &labels.kind {
        ExprKind::Vector(vector) if vector.named => {
            parser.error(labels.span, "expected label selectors only, got vector selector instead");
        }
        ExprKind::Vector(_) => {}
        _ => parser.error(labels.span, "expected label selectors only"),
    }
}

/// `anchored` and `smoothed` change only functions that know what to do at a window's ends.
fn check_extend(parser: &mut Parser<'_>, arg: &Expr, function: &str) {
    let ExprKind::Matrix(matrix) = &arg.unwrap_parens().kind else { return };
    let (word, functions) = match matrix.vector.extend {
        Extend::None => return,
        Extend::Anchored => ("anchored", anchored_functions()),
        Extend::Smoothed => ("smoothed", smoothed_functions()),
    };
    if !functions.contains(&function) {
        let functions = functions.join(", ");
        parser.execution_error(
            arg.span,
            format!("{word} modifier can only be used with: {functions} - not with {function}"),
        );
    }
}

/// A selector names its metric once and does not select everything.
fn check_selector(parser: &mut Parser<'_>, vector: &VectorSelector, span: ByteSpan, must_select: bool) {
    if let Some((name, others)) = vector.matchers.split_last().filter(|_| vector.named) {
        for other in others.iter().filter(|other| &*other.name == METRIC_NAME) {
            let message =
                format!("metric name must not be set twice: {} or {}", quote(&name.value), quote(&other.value));
            parser.error(span, message);
        }
    } else if must_select && vector.matchers.iter().all(|matcher| matcher.matches("")) {
        parser.error(span, "vector selector must contain at least one non-empty matcher");
    }
}

//! Going through a tree: its parts, and the type of its value.

use super::{Expr, ExprKind, ValueType};

impl Expr {
    /// The type of the expression's value.
    pub fn value_type(&self) -> ValueType {
        match &self.kind {
            ExprKind::Number(_) | ExprKind::Seconds(_) => ValueType::Scalar,
            ExprKind::Text(_) => ValueType::Text,
            ExprKind::Paren(inner) | ExprKind::Unary(_, inner) => inner.value_type(),
            ExprKind::Binary(binary) => match (binary.left.value_type(), binary.right.value_type()) {
                (ValueType::Scalar, ValueType::Scalar) => ValueType::Scalar,
                _ => ValueType::Vector,
            },
            ExprKind::Aggregate(_) | ExprKind::Vector(_) => ValueType::Vector,
            ExprKind::Call(call) => call.function.returns,
            ExprKind::Matrix(_) | ExprKind::Subquery(_) => ValueType::Matrix,
        }
    }

    /// The expressions right within this one, in the order in which they are printed.
    pub fn children(&self) -> Vec<&Self> {
        match &self.kind {
            ExprKind::Number(_)
            | ExprKind::Seconds(_)
            | ExprKind::Text(_)
            | ExprKind::Vector(_)
            | ExprKind::Matrix(_) => Vec::new(),
            ExprKind::Paren(inner) | ExprKind::Unary(_, inner) => vec![inner],
            ExprKind::Binary(binary) => vec![&binary.left, &binary.right],
            ExprKind::Aggregate(aggregate) => aggregate.param.iter().chain([&aggregate.expr]).collect(),
            ExprKind::Call(call) => call.args.iter().collect(),
            ExprKind::Subquery(subquery) => vec![&subquery.expr],
        }
    }

    /// Calls a function for this expression and then for all within it.
    pub fn walk<'a>(&'a self, visit: &mut impl FnMut(&'a Self)) {
        visit(self);
        for child in self.children() {
            child.walk(visit);
        }
    }

    /// The expression without the parentheses around it.
    pub fn unwrap_parens(&self) -> &Self {
        let mut inner = self;
        while let ExprKind::Paren(within) = &inner.kind {
            inner = within;
        }
        inner
    }
}

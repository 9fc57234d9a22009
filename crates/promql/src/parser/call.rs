//! Calls of functions, and aggregations.

use super::{
    expr::Tree,
    join,
    options::Feature,
    tokens::{Parsed, Parser},
};
use crate::{
    ast::{Aggregate, AggregateOp, ByteSpan, Call, Expr, ExprKind, Grouping, ValueType},
    functions::{Arity, Function, function},
    lexer::{Keyword, TokenKind},
    quote::quote,
};

/// Stands for a function that there is not, until the error about it is told.
static UNKNOWN: Function =
    Function { name: "", args: &[], arity: Arity::Repeated, returns: ValueType::Vector, experimental: false };

/// Arguments of a call, and the height of the highest.
struct Args {
    exprs: Vec<Expr>,
    height: usize,
}

impl Args {
    fn push(&mut self, arg: Tree) {
        self.exprs.push(*arg.expr);
        self.height = self.height.max(arg.height);
    }
}

impl Parser<'_> {
    /// A name and its arguments.
    pub(super) fn call(&mut self) -> Parsed<Tree> {
        let name_span = self.take();
        let args = self.args()?;
        self.call_tree(name_span, args)
    }

    fn call_tree(&mut self, name_span: ByteSpan, args: Args) -> Parsed<Tree> {
        let (name, span) = (self.word(name_span), join(name_span, self.last_span()));
        let height = self.height_over(args.height)?;
        let function = function(name).unwrap_or(&UNKNOWN);
        if function == &UNKNOWN {
            self.error(name_span, format!("unknown function with name {}", quote(name)));
        } else if function.experimental && !self.has(Feature::ExperimentalFunctions) {
            self.error(name_span, format!("function {} is not enabled", quote(name)));
        }
        Ok(Tree::new(ExprKind::Call(Call { function, args: args.exprs }), span, height))
    }

    /// `(a, b)`, also empty.
    fn args(&mut self) -> Parsed<Args> {
        let mut args = Args { exprs: Vec::new(), height: 0 };
        self.take_if(&TokenKind::LeftParen).ok_or_else(|| self.unexpected("", ""))?;
        if self.take_if(&TokenKind::RightParen).is_some() {
            return Ok(args);
        }
        loop {
            let arg = self.expression(0)?;
            args.push(arg);
            if self.args_end()? {
                return Ok(args);
            }
        }
    }

    /// Reads what follows an argument; returns true behind the last.
    fn args_end(&mut self) -> Parsed<bool> {
        let comma = self.take_if(&TokenKind::Comma);
        if let Some(comma) = comma.filter(|_| *self.peek() == TokenKind::RightParen) {
            self.error(comma, "trailing commas not allowed in function call args");
        }
        if self.take_if(&TokenKind::RightParen).is_some() {
            return Ok(true);
        }
        comma.map(|_| false).ok_or_else(|| self.unexpected("", ""))
    }

    /// An aggregation, with its grouping before or behind its arguments.
    pub(super) fn aggregate(&mut self, op: AggregateOp) -> Parsed<Tree> {
        let op_span = self.take();
        self.aggregations += 1;
        let grouping = self.grouping()?;
        let args = self.args()?;
        self.aggregations -= 1;
        self.aggregate_tree(op, op_span, grouping, args)
    }

    fn aggregate_tree(
        &mut self,
        op: AggregateOp,
        op_span: ByteSpan,
        grouping: Option<Grouping>,
        args: Args,
    ) -> Parsed<Tree> {
        let grouping = match grouping {
            Some(grouping) => grouping,
            None => self.grouping()?.unwrap_or(Grouping::By(Vec::new())),
        };
        let span = join(op_span, self.last_span());
        let height = self.height_over(args.height)?;
        let (param, expr) = self.aggregate_args(op, args.exprs, span)?;
        let aggregate = Aggregate { op, grouping, param, expr };
        Ok(Tree::new(ExprKind::Aggregate(Box::new(aggregate)), span, height))
    }

    fn grouping(&mut self) -> Parsed<Option<Grouping>> {
        if self.take_keyword(Keyword::By).is_some() {
            return Ok(Some(Grouping::By(self.grouping_labels()?)));
        }
        if self.take_keyword(Keyword::Without).is_some() {
            return Ok(Some(Grouping::Without(self.grouping_labels()?)));
        }
        Ok(None)
    }

    /// Tells parameter and expression apart.
    fn aggregate_args(&mut self, op: AggregateOp, args: Vec<Expr>, span: ByteSpan) -> Parsed<(Option<Expr>, Expr)> {
        if args.is_empty() {
            return Err(self.stop(span, "no arguments for aggregate expression provided"));
        }
        if op.is_experimental() && !self.has(Feature::ExperimentalFunctions) {
            let message = format!(
                "{}() is experimental and must be enabled with --enable-feature=promql-experimental-functions",
                op.as_str()
            );
            self.error(span, message);
        }
        let (expected, got) = (1 + usize::from(op.param_type().is_some()), args.len());
        let mut args = args.into_iter();
        let param = op.param_type().and_then(|_| args.next());
        if let (Some(expr), None) = (args.next(), args.next()) {
            return Ok((param, expr));
        }
        let message =
            format!("wrong number of arguments for aggregate expression provided, expected {expected}, got {got}");
        Err(self.stop(span, message))
    }
}

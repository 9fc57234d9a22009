//! Expressions: operators, calls, aggregations and what they are made of.

use super::{
    join,
    options::Feature,
    tokens::{Parsed, Parser, Stop},
};
use crate::{
    ast::{
        Aggregate, AggregateOp, Binary, BinaryOp, ByteSpan, Call, Expr, ExprKind, Group, Grouping, MatchLabels,
        Matching, UnaryOp, ValueType,
    },
    functions::{Arity, Function, function},
    lexer::{Keyword, TokenKind},
    literal,
    quote::quote,
};

/// Stands for a function that there is not, until the error about it is told.
static UNKNOWN: Function =
    Function { name: "", args: &[], arity: Arity::Repeated, returns: ValueType::Vector, experimental: false };

/// An expression and how high it is: 1 for a name, one more than its highest part otherwise.
pub(super) struct Tree {
    pub(super) expr: Expr,
    pub(super) height: usize,
}

impl Tree {
    pub(super) fn leaf(kind: ExprKind, span: ByteSpan) -> Self {
        Self { expr: Expr { kind, span }, height: 1 }
    }
}

/// Arguments of a call, and the height of the highest.
struct Args {
    exprs: Vec<Expr>,
    height: usize,
}

impl Parser<'_> {
    /// Reads operands and the operators between them that bind at least so strongly.
    pub(super) fn expression(&mut self, precedence_min: u8) -> Parsed<Tree> {
        self.nested(|parser| {
            let mut left = parser.operand()?;
            while let Some(op) = parser.peek_op().filter(|op| precedence_min <= op.precedence()) {
                left = parser.binary(left, op)?;
            }
            Ok(left)
        })
    }

    fn binary(&mut self, left: Tree, op: BinaryOp) -> Parsed<Tree> {
        let op_span = self.take();
        let returns_bool = self.take_keyword(Keyword::Bool).is_some();
        let matching = self.matching()?;
        let right = self.expression(op.precedence() + u8::from(op != BinaryOp::Pow))?;
        let height = self.height_over(left.height.max(right.height))?;
        let span = join(left.expr.span, right.expr.span);
        let fills = matching.fill_left.is_some() || matching.fill_right.is_some();
        if fills && !self.has(Feature::BinopFillModifiers) {
            self.error(span, "binop fill modifiers are experimental and not enabled");
        }
        let binary = Binary { op, op_span, left: left.expr, right: right.expr, returns_bool, matching };
        Ok(Tree { expr: Expr { kind: ExprKind::Binary(Box::new(binary)), span }, height })
    }

    /// `on`, `ignoring`, `group_left`, `group_right` and fills between an operator and its right side.
    fn matching(&mut self) -> Parsed<Matching> {
        let mut matching = Matching::default();
        let labels = if self.take_keyword(Keyword::On).is_some() {
            Some(MatchLabels::On(self.grouping_labels()?))
        } else if self.take_keyword(Keyword::Ignoring).is_some() {
            Some(MatchLabels::Ignoring(self.grouping_labels()?))
        } else {
            None
        };
        if let Some(labels) = labels {
            matching.labels = labels;
            if self.take_keyword(Keyword::GroupLeft).is_some() {
                matching.group = Group::Left(self.optional_labels()?);
            } else if self.take_keyword(Keyword::GroupRight).is_some() {
                matching.group = Group::Right(self.optional_labels()?);
            }
        }
        self.fills(&mut matching)?;
        Ok(matching)
    }

    fn optional_labels(&mut self) -> Parsed<Vec<String>> {
        if *self.peek() == TokenKind::LeftParen { self.grouping_labels() } else { Ok(Vec::new()) }
    }

    /// `fill (x)`, or one or both of `fill_left (x)` and `fill_right (x)`.
    fn fills(&mut self, matching: &mut Matching) -> Parsed<()> {
        loop {
            let untouched = matching.fill_left.is_none() && matching.fill_right.is_none();
            match self.peek() {
                TokenKind::Keyword(Keyword::Fill) if untouched => {
                    let value = Some(self.fill_value()?);
                    (matching.fill_left, matching.fill_right) = (value, value);
                }
                TokenKind::Keyword(Keyword::FillLeft) if matching.fill_left.is_none() => {
                    matching.fill_left = Some(self.fill_value()?);
                }
                TokenKind::Keyword(Keyword::FillRight) if matching.fill_right.is_none() => {
                    matching.fill_right = Some(self.fill_value()?);
                }
                _ => return Ok(()),
            }
        }
    }

    fn fill_value(&mut self) -> Parsed<f64> {
        self.take();
        self.take_if(&TokenKind::LeftParen).ok_or_else(|| self.unexpected("fill modifier", "\"(\""))?;
        let value = self.signed_number().ok_or_else(|| self.unexpected("fill modifier", "number"))?;
        self.take_if(&TokenKind::RightParen).ok_or_else(|| self.unexpected("fill modifier", "\")\""))?;
        Ok(value)
    }

    /// A number or duration with or without a sign, if one comes next.
    pub(super) fn signed_number(&mut self) -> Option<f64> {
        let sign = self.peek_sign();
        if sign.is_some() {
            self.take();
        }
        if !matches!(self.peek(), TokenKind::Number | TokenKind::Duration) {
            return None;
        }
        match self.number_literal() {
            ExprKind::Number(value) | ExprKind::Seconds(value) if sign == Some(UnaryOp::Minus) => Some(-value),
            ExprKind::Number(value) | ExprKind::Seconds(value) => Some(value),
            _ => None,
        }
    }

    pub(super) fn peek_sign(&self) -> Option<UnaryOp> {
        match self.peek_op() {
            Some(BinaryOp::Add) => Some(UnaryOp::Plus),
            Some(BinaryOp::Sub) => Some(UnaryOp::Minus),
            _ => None,
        }
    }

    /// A sign with what it applies to, or a primary expression with all that is written behind it.
    fn operand(&mut self) -> Parsed<Tree> {
        if let Some(sign) = self.peek_sign() {
            return self.unary(sign);
        }
        let primary = self.primary()?;
        self.postfix(primary)
    }

    /// A sign binds like `*`: `-a ^ b` is `-(a ^ b)`. Before a number it is a part of it.
    fn unary(&mut self, sign: UnaryOp) -> Parsed<Tree> {
        let sign_span = self.take();
        let mut tree = self.expression(BinaryOp::Pow.precedence())?;
        let span = join(sign_span, tree.expr.span);
        match &mut tree.expr.kind {
            ExprKind::Number(value) | ExprKind::Seconds(value) => {
                if sign == UnaryOp::Minus {
                    *value = -*value;
                }
                tree.expr.span = span;
                Ok(tree)
            }
            _ => {
                let height = self.height_over(tree.height)?;
                Ok(Tree { expr: Expr { kind: ExprKind::Unary(sign, Box::new(tree.expr)), span }, height })
            }
        }
    }

    fn primary(&mut self) -> Parsed<Tree> {
        match (self.peek(), self.peek_after(1)) {
            (TokenKind::Number | TokenKind::Duration, _) => {
                let kind = self.number_literal();
                Ok(Tree::leaf(kind, self.last_span()))
            }
            (TokenKind::Quoted, _) => {
                let text = self.quoted_text()?;
                Ok(Tree::leaf(ExprKind::Text(text), self.last_span()))
            }
            (TokenKind::LeftParen, _) => self.paren(),
            (TokenKind::Aggregate(op), TokenKind::LeftParen | TokenKind::Keyword(Keyword::By | Keyword::Without)) => {
                let op = *op;
                self.aggregate(op)
            }
            (
                TokenKind::Identifier
                | TokenKind::Keyword(
                    Keyword::Start | Keyword::End | Keyword::Step | Keyword::Range | Keyword::MinOf | Keyword::MaxOf,
                ),
                TokenKind::LeftParen,
            ) => self.call(),
            _ if self.starts_selector() => {
                let (selector, span) = self.vector_selector()?;
                Ok(Tree::leaf(ExprKind::Vector(selector), span))
            }
            _ => Err(self.unexpected("", "")),
        }
    }

    /// Takes a number or duration. One that cannot be read is told and counts as 0.
    pub(super) fn number_literal(&mut self) -> ExprKind {
        let is_duration = *self.peek() == TokenKind::Duration;
        let span = self.take();
        let word = self.word(span);
        let value = if is_duration {
            literal::duration_ms(word).map(|millis| millis as f64 / 1000.0)
        } else {
            literal::number(word)
        };
        let value = value.unwrap_or_else(|message| {
            self.error(span, message);
            0.0
        });
        if is_duration { ExprKind::Seconds(value) } else { ExprKind::Number(value) }
    }

    fn paren(&mut self) -> Parsed<Tree> {
        let open = self.take();
        let inner = self.expression(0)?;
        let close = self.take_if(&TokenKind::RightParen).ok_or_else(|| self.unexpected("", ""))?;
        let height = self.height_over(inner.height)?;
        Ok(Tree { expr: Expr { kind: ExprKind::Paren(Box::new(inner.expr)), span: join(open, close) }, height })
    }

    fn call(&mut self) -> Parsed<Tree> {
        let name_span = self.take();
        let name = self.word(name_span);
        let args = self.args()?;
        let span = join(name_span, self.last_span());
        let height = self.height_over(args.height)?;
        let function = function(name).unwrap_or(&UNKNOWN);
        if function == &UNKNOWN {
            self.error(name_span, format!("unknown function with name {}", quote(name)));
        } else if function.experimental && !self.has(Feature::ExperimentalFunctions) {
            self.error(name_span, format!("function {} is not enabled", quote(name)));
        }
        Ok(Tree { expr: Expr { kind: ExprKind::Call(Call { function, args: args.exprs }), span }, height })
    }

    /// `(a, b)`, also empty.
    fn args(&mut self) -> Parsed<Args> {
        let mut args = Args { exprs: Vec::new(), height: 0 };
        self.take_if(&TokenKind::LeftParen).ok_or_else(|| self.unexpected("", ""))?;
        if self.take_if(&TokenKind::RightParen).is_some() {
            return Ok(args);
        }
        loop {
            let Tree { expr, height } = self.expression(0)?;
            args.exprs.push(expr);
            args.height = args.height.max(height);
            let comma = self.take_if(&TokenKind::Comma);
            if let Some(comma) = comma.filter(|_| *self.peek() == TokenKind::RightParen) {
                self.error(comma, "trailing commas not allowed in function call args");
            }
            if self.take_if(&TokenKind::RightParen).is_some() {
                return Ok(args);
            }
            if comma.is_none() {
                return Err(self.unexpected("", ""));
            }
        }
    }

    fn aggregate(&mut self, op: AggregateOp) -> Parsed<Tree> {
        let op_span = self.take();
        self.aggregations += 1;
        let grouping = self.grouping()?;
        let args = self.args()?;
        self.aggregations -= 1;
        let grouping = match grouping {
            Some(grouping) => grouping,
            None => self.grouping()?.unwrap_or(Grouping::By(Vec::new())),
        };
        let span = join(op_span, self.last_span());
        let height = self.height_over(args.height)?;
        let (param, expr) = self.aggregate_args(op, args.exprs, span)?;
        let aggregate = Aggregate { op, grouping, param, expr };
        Ok(Tree { expr: Expr { kind: ExprKind::Aggregate(Box::new(aggregate)), span }, height })
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

    /// Takes a quoted text and gives its value.
    pub(super) fn quoted_text(&mut self) -> Result<String, Stop> {
        let span = self.take();
        crate::quote::unquote(self.word(span)).map_err(|error| self.stop(span, error.to_string()))
    }
}

//! Expressions: operators and what stands between them. Calls and aggregations are in `call`.

use super::{
    join,
    options::Feature,
    tokens::{Parsed, Parser, Stop},
};
use crate::{
    ast::{Binary, BinaryOp, ByteSpan, Expr, ExprKind, Group, MatchLabels, Matching, UnaryOp},
    lexer::{Keyword, TokenKind},
    literal,
};

/// An expression and how high it is: 1 for a name, one more than its highest part otherwise.
///
/// Boxed, and built in functions of their own: what stays on the stack while the next level is read is then small.
pub(super) struct Tree {
    pub(super) expr: Box<Expr>,
    pub(super) height: usize,
}

impl Tree {
    pub(super) fn new(kind: ExprKind, span: ByteSpan, height: usize) -> Self {
        Self { expr: Box::new(Expr { kind, span }), height }
    }

    pub(super) fn leaf(kind: ExprKind, span: ByteSpan) -> Self {
        Self::new(kind, span, 1)
    }
}

/// What stands around an operator.
struct Modifiers {
    op_span: ByteSpan,
    returns_bool: bool,
    matching: Matching,
}

impl Parser<'_> {
    /// Reads operands and the operators between them that bind at least so strongly.
    pub(super) fn expression(&mut self, precedence_min: u8) -> Parsed<Tree> {
        self.enter()?;
        let mut left = self.operand()?;
        while let Some(op) = self.peek_op().filter(|op| precedence_min <= op.precedence()) {
            left = self.binary(left, op)?;
        }
        self.leave();
        Ok(left)
    }

    fn binary(&mut self, left: Tree, op: BinaryOp) -> Parsed<Tree> {
        let modifiers = self.modifiers()?;
        let right = self.expression(op.precedence() + u8::from(op != BinaryOp::Pow))?;
        self.binary_tree(op, modifiers, left, right)
    }

    fn binary_tree(&mut self, op: BinaryOp, modifiers: Modifiers, left: Tree, right: Tree) -> Parsed<Tree> {
        let height = self.height_over(left.height.max(right.height))?;
        let span = join(left.expr.span, right.expr.span);
        let Modifiers { op_span, returns_bool, matching } = modifiers;
        let fills = matching.fill_left.is_some() || matching.fill_right.is_some();
        if fills && !self.has(Feature::BinopFillModifiers) {
            self.error(span, "binop fill modifiers are experimental and not enabled");
        }
        let binary = Binary { op, op_span, left: *left.expr, right: *right.expr, returns_bool, matching };
        Ok(Tree::new(ExprKind::Binary(Box::new(binary)), span, height))
    }

    /// The operator, and what stands between it and its right side.
    fn modifiers(&mut self) -> Parsed<Modifiers> {
        let op_span = self.take();
        let returns_bool = self.take_keyword(Keyword::Bool).is_some();
        Ok(Modifiers { op_span, returns_bool, matching: self.matching()? })
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

    /// Labels behind `group_left` and `group_right`, or none.
    fn optional_labels(&mut self) -> Parsed<Vec<String>> {
        let is_fill = matches!(self.peek(), TokenKind::Keyword(Keyword::Fill | Keyword::FillLeft | Keyword::FillRight));
        match self.peek() {
            TokenKind::LeftParen => self.grouping_labels(),
            _ if is_fill || self.starts_operand() => Ok(Vec::new()),
            _ => Err(self.unexpected("grouping opts", "\"(\"")),
        }
    }

    fn starts_operand(&self) -> bool {
        self.starts_selector()
            || self.peek_sign().is_some()
            || matches!(self.peek(), TokenKind::Number | TokenKind::Duration | TokenKind::Quoted | TokenKind::LeftParen)
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

    /// A sign binds like `*`: `-a ^ b` is `-(a ^ b)`.
    fn unary(&mut self, sign: UnaryOp) -> Parsed<Tree> {
        let sign_span = self.take();
        let operand = self.expression(BinaryOp::Pow.precedence())?;
        self.unary_tree(sign, sign_span, operand)
    }

    /// Before a number a sign is a part of it.
    fn unary_tree(&mut self, sign: UnaryOp, sign_span: ByteSpan, mut operand: Tree) -> Parsed<Tree> {
        let span = join(sign_span, operand.expr.span);
        if let ExprKind::Number(value) | ExprKind::Seconds(value) = &mut operand.expr.kind {
            if sign == UnaryOp::Minus {
                *value = -*value;
            }
            operand.expr.span = span;
            return Ok(operand);
        }
        let height = self.height_over(operand.height)?;
        Ok(Tree::new(ExprKind::Unary(sign, operand.expr), span, height))
    }

    fn primary(&mut self) -> Parsed<Tree> {
        match (self.peek(), self.peek_after(1)) {
            (TokenKind::Number | TokenKind::Duration, _) => Ok(self.number_tree()),
            (TokenKind::Quoted, _) => self.text_tree(),
            (TokenKind::LeftParen, _) => self.paren(),
            (TokenKind::Aggregate(op), TokenKind::LeftParen | TokenKind::Keyword(Keyword::By | Keyword::Without)) => {
                let op = *op;
                self.aggregate(op)
            }
            (TokenKind::Identifier, TokenKind::LeftParen) => self.call(),
            (TokenKind::Keyword(keyword), TokenKind::LeftParen) if keyword.is_function() => self.call(),
            _ if self.starts_selector() => self.selector_tree(),
            _ => Err(self.unexpected("", "")),
        }
    }

    fn number_tree(&mut self) -> Tree {
        let number = self.number_literal();
        Tree::leaf(number, self.last_span())
    }

    fn text_tree(&mut self) -> Parsed<Tree> {
        let text = self.quoted_text()?;
        Ok(Tree::leaf(ExprKind::Text(text), self.last_span()))
    }

    fn selector_tree(&mut self) -> Parsed<Tree> {
        let (selector, span) = self.vector_selector()?;
        Ok(Tree::leaf(ExprKind::Vector(selector), span))
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
        self.paren_tree(open, inner)
    }

    fn paren_tree(&mut self, open: ByteSpan, inner: Tree) -> Parsed<Tree> {
        let close = self.take_if(&TokenKind::RightParen).ok_or_else(|| self.unexpected("", ""))?;
        let height = self.height_over(inner.height)?;
        Ok(Tree::new(ExprKind::Paren(inner.expr), join(open, close), height))
    }

    /// Takes a quoted text and gives its value.
    pub(super) fn quoted_text(&mut self) -> Result<String, Stop> {
        let span = self.take();
        crate::quote::unquote(self.word(span)).map_err(|error| self.stop(span, error.to_string()))
    }
}

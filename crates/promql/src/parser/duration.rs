//! Durations of ranges, steps and offsets: written out or computed.

use super::{
    join,
    options::Feature,
    tokens::{Parsed, Parser, Stop},
};
use crate::{
    ast::{BinaryOp, ByteSpan, Duration, DurationKind, ExprKind, UnaryOp},
    lexer::{Keyword, TokenKind},
    literal,
};

/// A duration and how high its tree is.
struct Part {
    duration: Duration,
    height: usize,
}

/// What a message says that finds no duration where one must be.
#[derive(Clone, Copy)]
struct Place {
    context: &'static str,
    expected: &'static str,
}

const RANGE: Place = Place { context: "subquery or range selector", expected: "number, duration, step(), or range()" };
const OFFSET: Place = Place { context: "offset", expected: "number, duration, step(), or range()" };

impl Parser<'_> {
    /// A duration between brackets, which must not be 0 or less where that can be seen.
    ///
    /// The words are those of a message about a token that begins no duration.
    pub(super) fn positive_duration(&mut self, context: &'static str, expected: &'static str) -> Parsed<Duration> {
        if !self.starts_duration() {
            return Err(self.unexpected(context, expected));
        }
        let mut duration = self.duration(RANGE, 0)?.duration;
        duration.settle();
        if matches!(duration.kind, DurationKind::Millis(..=0)) {
            self.error(duration.span, "duration must be greater than 0");
        }
        Ok(duration)
    }

    /// The duration behind `offset`: one number, call or parenthesis with or without a sign. `offset 5m + 2` adds 2 to
    /// the values, not to the offset. Only a computation that begins with a parenthesis goes on behind it.
    pub(super) fn offset_duration(&mut self) -> Parsed<Duration> {
        let begins_with_paren = *self.peek() == TokenKind::LeftParen;
        let mut part = match self.peek_sign() {
            Some(sign) => self.signed_atom(sign, OFFSET)?,
            None => self.duration_atom(OFFSET)?,
        };
        if begins_with_paren {
            part = self.rest_of_offset(part);
        }
        part.duration.settle();
        Ok(part.duration)
    }

    /// Operators behind `offset (…)` belong to the offset if only durations follow, and to the expression otherwise.
    fn rest_of_offset(&mut self, first: Part) -> Part {
        let mark = self.mark();
        let copy = Part { duration: first.duration.clone(), height: first.height };
        self.duration_operators(copy, OFFSET, 0).unwrap_or_else(|Stop| {
            self.back_to(&mark);
            first
        })
    }

    fn starts_duration(&self) -> bool {
        matches!(
            self.peek(),
            TokenKind::Number
                | TokenKind::Duration
                | TokenKind::LeftParen
                | TokenKind::Op(BinaryOp::Add | BinaryOp::Sub)
                | TokenKind::Keyword(Keyword::Step | Keyword::Range | Keyword::MinOf | Keyword::MaxOf)
        )
    }

    fn duration(&mut self, place: Place, precedence_min: u8) -> Parsed<Part> {
        self.enter()?;
        let first = match self.peek_sign() {
            Some(sign) => self.signed(sign, place)?,
            None => self.duration_atom(place)?,
        };
        let part = self.duration_operators(first, place, precedence_min)?;
        self.leave();
        Ok(part)
    }

    /// A sign before durations and the operators between them that bind stronger, which is `^`.
    fn signed(&mut self, sign: UnaryOp, place: Place) -> Parsed<Part> {
        let sign_span = self.take();
        let part = self.duration(place, BinaryOp::Pow.precedence())?;
        self.sign(sign, sign_span, part)
    }

    /// A sign before a single duration.
    fn signed_atom(&mut self, sign: UnaryOp, place: Place) -> Parsed<Part> {
        let sign_span = self.take();
        let part = match self.peek_sign() {
            Some(inner) => {
                self.enter()?;
                let part = self.signed_atom(inner, place)?;
                self.leave();
                part
            }
            None => self.duration_atom(place)?,
        };
        self.sign(sign, sign_span, part)
    }

    /// Puts a sign before a duration. Before a number it is a part of it, and a plus changes nothing.
    fn sign(&mut self, sign: UnaryOp, sign_span: ByteSpan, mut part: Part) -> Parsed<Part> {
        let span = join(sign_span, part.duration.span);
        match (&mut part.duration.kind, sign) {
            (_, UnaryOp::Plus) => {}
            (DurationKind::Millis(millis), UnaryOp::Minus) => *millis = -*millis,
            (DurationKind::Number(number), UnaryOp::Minus) => *number = -*number,
            (_, UnaryOp::Minus) => {
                let height = self.height_over(part.height)?;
                let kind = DurationKind::Unary(sign, Box::new(part.duration));
                return Ok(Part { duration: Duration { kind, span }, height });
            }
        }
        part.duration.span = span;
        Ok(part)
    }

    fn duration_operators(&mut self, mut left: Part, place: Place, precedence_min: u8) -> Parsed<Part> {
        while let Some(op) = self.peek_op().filter(|op| op.is_arithmetic() && precedence_min <= op.precedence()) {
            let op_span = self.take();
            let right = self.duration(place, op.precedence() + u8::from(op != BinaryOp::Pow))?;
            left = self.computed(op, op_span, left, right)?;
        }
        Ok(left)
    }

    fn computed(&mut self, op: BinaryOp, op_span: ByteSpan, left: Part, right: Part) -> Parsed<Part> {
        self.computes(left.duration.span);
        if right.duration.seconds() == Some(0.0) {
            match op {
                BinaryOp::Div => self.error(op_span, "division by zero"),
                BinaryOp::Mod => self.error(op_span, "modulo by zero"),
                _ => {}
            }
        }
        let height = self.height_over(left.height.max(right.height))?;
        let span = join(left.duration.span, right.duration.span);
        let kind = DurationKind::Binary(op, Box::new(left.duration), Box::new(right.duration));
        Ok(Part { duration: Duration { kind, span }, height })
    }

    fn duration_atom(&mut self, place: Place) -> Parsed<Part> {
        let start = self.peek_span();
        let (kind, height) = match self.peek() {
            TokenKind::Number | TokenKind::Duration => (self.duration_literal(), 1),
            TokenKind::LeftParen => self.duration_paren(place)?,
            TokenKind::Keyword(Keyword::Step) => (self.duration_call(place, DurationKind::Step)?, 1),
            TokenKind::Keyword(Keyword::Range) => (self.duration_call(place, DurationKind::Range)?, 1),
            TokenKind::Keyword(Keyword::MinOf) => self.duration_choice(place, DurationKind::Min)?,
            TokenKind::Keyword(Keyword::MaxOf) => self.duration_choice(place, DurationKind::Max)?,
            _ => return Err(self.unexpected(place.context, place.expected)),
        };
        Ok(Part { duration: Duration { kind, span: join(start, self.last_span()) }, height })
    }

    fn duration_literal(&mut self) -> DurationKind {
        let literal = self.number_literal();
        let span = self.last_span();
        match literal {
            ExprKind::Seconds(seconds) => DurationKind::Millis((seconds * 1000.0).round() as i64),
            ExprKind::Number(number) => {
                if !literal::is_duration_seconds(number) {
                    self.error(span, "duration out of range");
                }
                DurationKind::Number(number)
            }
            _ => DurationKind::Number(0.0),
        }
    }

    /// `( d )`. Parentheses right within parentheses are left out.
    fn duration_paren(&mut self, place: Place) -> Parsed<(DurationKind, usize)> {
        self.take();
        let inner = self.duration(place, 0)?;
        self.expect(&TokenKind::RightParen, place)?;
        self.computes(inner.duration.span);
        match inner.duration.kind {
            kind @ DurationKind::Paren(_) => Ok((kind, inner.height)),
            kind => {
                let height = self.height_over(inner.height)?;
                Ok((DurationKind::Paren(Box::new(Duration { kind, span: inner.duration.span })), height))
            }
        }
    }

    /// `step()` and `range()`.
    fn duration_call(&mut self, place: Place, kind: DurationKind) -> Parsed<DurationKind> {
        let name = self.take();
        self.expect(&TokenKind::LeftParen, place)?;
        self.expect(&TokenKind::RightParen, place)?;
        self.computes(name);
        Ok(kind)
    }

    /// `min_of(a, b)` and `max_of(a, b)`.
    fn duration_choice(
        &mut self,
        place: Place,
        kind: fn(Box<Duration>, Box<Duration>) -> DurationKind,
    ) -> Parsed<(DurationKind, usize)> {
        let name = self.take();
        self.expect(&TokenKind::LeftParen, place)?;
        let left = self.duration(place, 0)?;
        self.expect(&TokenKind::Comma, place)?;
        let right = self.duration(place, 0)?;
        self.expect(&TokenKind::RightParen, place)?;
        self.computes(name);
        let height = self.height_over(left.height.max(right.height))?;
        Ok((kind(Box::new(left.duration), Box::new(right.duration)), height))
    }

    fn expect(&mut self, kind: &TokenKind, place: Place) -> Parsed<()> {
        self.take_if(kind).map(|_| ()).ok_or_else(|| self.unexpected(place.context, place.expected))
    }

    /// Notes that computed durations must be switched on, unless they are.
    fn computes(&mut self, span: ByteSpan) {
        if !self.has(Feature::DurationExpr) {
            self.error(span, "experimental duration expression is not enabled");
        }
    }
}

impl Duration {
    /// The seconds of a literal.
    fn seconds(&self) -> Option<f64> {
        match self.kind {
            DurationKind::Millis(millis) => Some(millis as f64 / 1000.0),
            DurationKind::Number(number) => Some(number),
            _ => None,
        }
    }

    /// Turns a number that stands alone into milliseconds.
    fn settle(&mut self) {
        if let DurationKind::Number(seconds) = self.kind {
            self.kind = DurationKind::Millis(literal::seconds_to_ms(seconds));
        }
    }
}

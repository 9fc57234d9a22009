//! What is written behind an expression: `[5m]`, `[1h:5m]`, `offset`, `@`, `anchored` and `smoothed`.

use homeostat_model::number_text;

use super::{
    expr::Tree,
    join,
    options::Feature,
    tokens::{Parsed, Parser},
};
use crate::{
    ast::{At, ByteSpan, Duration, DurationKind, Expr, ExprKind, Extend, MatrixSelector, Shift, Subquery},
    lexer::{Keyword, TokenKind},
};

impl Parser<'_> {
    /// Reads everything that is written behind an expression.
    pub(super) fn postfix(&mut self, mut tree: Tree) -> Parsed<Tree> {
        loop {
            match self.peek() {
                TokenKind::LeftBracket => tree = self.brackets(tree)?,
                TokenKind::At => self.at(&mut tree.expr)?,
                TokenKind::Keyword(Keyword::Offset) => self.offset(&mut tree.expr)?,
                TokenKind::Keyword(Keyword::Anchored) => self.extend(&mut tree.expr, Extend::Anchored),
                TokenKind::Keyword(Keyword::Smoothed) => self.extend(&mut tree.expr, Extend::Smoothed),
                _ => return Ok(tree),
            }
        }
    }

    /// A range or a subquery.
    fn brackets(&mut self, tree: Tree) -> Parsed<Tree> {
        let open = self.take();
        let range = self.positive_duration("subquery or range selector", "number, duration, step(), or range()")?;
        if self.take_if(&TokenKind::Colon).is_some() {
            return self.subquery(tree, range);
        }
        if self.take_if(&TokenKind::RightBracket).is_none() {
            return Err(self.unexpected("subquery or range", "\":\" or \"]\""));
        }
        Ok(self.matrix(tree, range, join(open, self.last_span())))
    }

    fn matrix(&mut self, mut tree: Tree, range: Duration, brackets: ByteSpan) -> Tree {
        let vector_span = tree.expr.span;
        let span = join(vector_span, brackets);
        if let ExprKind::Vector(vector) = tree.expr.kind {
            if is_offset(&vector.shift) {
                self.error(brackets, "no offset modifiers allowed before range");
            } else if vector.shift.at.is_some() {
                self.error(brackets, "no @ modifiers allowed before range");
            }
            return Tree::leaf(ExprKind::Matrix(MatrixSelector { vector, vector_span, range }), span);
        }
        self.error(brackets, "ranges only allowed for vector selectors");
        tree.expr.span = span;
        tree
    }

    fn subquery(&mut self, tree: Tree, range: Duration) -> Parsed<Tree> {
        let mut step = None;
        if *self.peek() != TokenKind::RightBracket {
            step = Some(self.positive_duration("subquery selector", "number, duration, step(), range(), or \"]\"")?);
            if *self.peek() != TokenKind::RightBracket {
                return Err(self.unexpected("subquery selector", "\"]\""));
            }
        }
        let close = self.take();
        let height = self.height_over(tree.height)?;
        let span = join(tree.expr.span, close);
        let subquery = Subquery { expr: *tree.expr, range, step, shift: Shift::default() };
        Ok(Tree::new(ExprKind::Subquery(Box::new(subquery)), span, height))
    }

    fn offset(&mut self, expr: &mut Expr) -> Parsed<()> {
        self.take();
        let offset = self.offset_duration()?;
        let before = expr.span;
        match shift_of(&mut expr.kind) {
            None => self.error(
                before,
                "offset modifier must be preceded by an instant vector selector or range vector selector or a subquery",
            ),
            Some(shift) if is_offset(shift) => self.error(before, "offset may not be set multiple times"),
            Some(shift) => shift.offset = Some(offset),
        }
        expr.span = join(before, self.last_span());
        Ok(())
    }

    fn at(&mut self, expr: &mut Expr) -> Parsed<()> {
        self.take();
        let before = expr.span;
        let at = self.timestamp(before)?;
        match shift_of(&mut expr.kind) {
            None => self.error(
                before,
                "@ modifier must be preceded by an instant vector selector or range vector selector or a subquery",
            ),
            Some(shift) if shift.at.is_some() => self.error(before, "@ <timestamp> may not be set multiple times"),
            Some(shift) => shift.at = Some(at),
        }
        expr.span = join(before, self.last_span());
        Ok(())
    }

    /// A number of seconds, `start()` or `end()`.
    fn timestamp(&mut self, before: ByteSpan) -> Parsed<At> {
        let edge = match self.peek() {
            TokenKind::Keyword(Keyword::Start) => Some(At::Start),
            TokenKind::Keyword(Keyword::End) => Some(At::End),
            _ => None,
        };
        if let Some(edge) = edge {
            self.take();
            for paren in [TokenKind::LeftParen, TokenKind::RightParen] {
                self.take_if(&paren).ok_or_else(|| self.unexpected("@", "timestamp"))?;
            }
            return Ok(edge);
        }
        let seconds = self.signed_number().ok_or_else(|| self.unexpected("@", "timestamp"))?;
        // The bounds are those of seconds, the value is kept in milliseconds: what lies between is cut off.
        if !seconds.is_finite() || (i64::MAX as f64) <= seconds.abs() {
            let seconds = if seconds.is_finite() { format!("{seconds:.6}") } else { number_text::shortest(seconds) };
            self.error(before, format!("timestamp out of bounds for @ modifier: {seconds}"));
        }
        Ok(At::Time((seconds * 1000.0).round() as i64))
    }

    fn extend(&mut self, expr: &mut Expr, extend: Extend) {
        let span = self.take();
        let word = if extend == Extend::Anchored { "anchored" } else { "smoothed" };
        let before = expr.span;
        if !self.has(Feature::ExtendedRangeSelectors) {
            return self.error(before, format!("{word} modifier is experimental and not enabled"));
        }
        let present = match &mut expr.kind {
            ExprKind::Vector(vector) => &mut vector.extend,
            ExprKind::Matrix(matrix) => &mut matrix.vector.extend,
            ExprKind::Subquery(_) => {
                return self.error(before, format!("{word} modifier is not supported for subqueries"));
            }
            _ => return self.error(before, format!("{word} modifier not implemented")),
        };
        if *present != Extend::None && *present != extend {
            return self.error(before, "anchored and smoothed modifiers cannot be used together");
        }
        *present = extend;
        expr.span = join(before, span);
    }
}

/// Returns true when there is an offset. One that is written as 0 is none.
fn is_offset(shift: &Shift) -> bool {
    shift.offset.as_ref().is_some_and(|offset| offset.kind != DurationKind::Millis(0))
}

/// The shift of what can be shifted.
fn shift_of(kind: &mut ExprKind) -> Option<&mut Shift> {
    match kind {
        ExprKind::Vector(vector) => Some(&mut vector.shift),
        ExprKind::Matrix(matrix) => Some(&mut matrix.vector.shift),
        ExprKind::Subquery(subquery) => Some(&mut subquery.shift),
        _ => None,
    }
}

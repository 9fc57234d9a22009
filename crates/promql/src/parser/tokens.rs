//! The parser's state: where it stands among the tokens, what it found wrong, how deep it is.

use super::{
    NESTING_MAX, ParseError, ParseErrorKind, ParseErrors, ParseOptions, QUERY_BYTES_MAX, expr::Tree, options::Feature,
};
use crate::{
    ast::{BinaryOp, ByteSpan, Expr, VectorSelector},
    lexer::{Keyword, Token, TokenKind, tokenize},
    quote::quote,
};

/// Mistakes that are told of one query. Each may quote a name as long as the query, so there are few.
const ERRORS_MAX: usize = 16;

/// The query is wrong and cannot be read further; the reason is among the errors.
#[derive(Debug)]
pub(super) struct Stop;

/// A part of a query that was read.
pub(super) type Parsed<T> = Result<T, Stop>;

/// Where the parser stood.
pub(super) struct Mark {
    at: usize,
    errors: usize,
    depth: usize,
}

/// Reads one query.
pub(super) struct Parser<'a> {
    pub(super) text: &'a str,
    options: ParseOptions,
    tokens: Vec<Token>,
    at: usize,
    errors: Vec<ParseError>,
    /// How many constructs are open around the token.
    depth: usize,
    /// How many aggregations are open: messages without a better context name them.
    pub(super) aggregations: usize,
}

impl<'a> Parser<'a> {
    pub(super) fn new(text: &'a str, options: ParseOptions) -> Result<Self, ParseErrors> {
        let tokens = if text.len() <= QUERY_BYTES_MAX { tokenize(text) } else { Vec::new() };
        let mut parser = Self { text, options, tokens, at: 0, errors: Vec::new(), depth: 0, aggregations: 0 };
        if QUERY_BYTES_MAX < text.len() {
            let message = format!("query is longer than {QUERY_BYTES_MAX} bytes; split it with recording rules");
            parser.error(ByteSpan::default(), message);
            return Err(parser.into_errors());
        }
        Ok(parser)
    }

    /// Reads the whole text as an expression.
    pub(super) fn query(&mut self) -> Parsed<Expr> {
        if *self.peek() == TokenKind::End {
            return Err(self.stop(ByteSpan::default(), "no expression found in input"));
        }
        let Tree { expr, .. } = self.expression(0)?;
        self.end()?;
        Ok(*expr)
    }

    /// Reads the whole text as a selector.
    pub(super) fn only_selector(&mut self) -> Parsed<VectorSelector> {
        if !self.starts_selector() {
            return Err(self.unexpected("", ""));
        }
        let (selector, _) = self.vector_selector()?;
        self.end()?;
        Ok(selector)
    }

    fn end(&mut self) -> Parsed<()> {
        match self.peek() {
            TokenKind::End => Ok(()),
            _ => Err(self.unexpected("", "")),
        }
    }

    /// Returns true while nothing was found wrong.
    pub(super) fn is_clean(&self) -> bool {
        self.errors.is_empty()
    }

    /// Gives a result if nothing was found wrong.
    pub(super) fn finish<T>(self, result: T) -> Result<T, ParseErrors> {
        if self.is_clean() { Ok(result) } else { Err(self.into_errors()) }
    }

    pub(super) fn into_errors(self) -> ParseErrors {
        ParseErrors::new(self.text, self.errors)
    }

    pub(super) fn has(&self, feature: Feature) -> bool {
        self.options.has(feature)
    }

    /// The token that comes next.
    pub(super) fn peek(&self) -> &TokenKind {
        self.peek_after(0)
    }

    /// The token so many behind the next.
    pub(super) fn peek_after(&self, tokens: usize) -> &TokenKind {
        self.tokens.get(self.at + tokens).map_or(&TokenKind::End, |token| &token.kind)
    }

    /// Where the next token stands.
    pub(super) fn peek_span(&self) -> ByteSpan {
        let end = ByteSpan { start: self.text.len(), end: self.text.len() };
        self.tokens.get(self.at).map_or(end, |token| token.span)
    }

    /// Where the last token stands that was taken.
    pub(super) fn last_span(&self) -> ByteSpan {
        self.at.checked_sub(1).and_then(|last| self.tokens.get(last)).map_or_else(ByteSpan::default, |token| token.span)
    }

    /// Takes the next token.
    pub(super) fn take(&mut self) -> ByteSpan {
        let span = self.peek_span();
        self.at += 1;
        span
    }

    /// Takes the next token if it is this.
    pub(super) fn take_if(&mut self, kind: &TokenKind) -> Option<ByteSpan> {
        (self.peek() == kind).then(|| self.take())
    }

    /// Takes the next token if it is this keyword.
    pub(super) fn take_keyword(&mut self, keyword: Keyword) -> Option<ByteSpan> {
        self.take_if(&TokenKind::Keyword(keyword))
    }

    /// What a span says.
    pub(super) fn word(&self, span: ByteSpan) -> &'a str {
        self.text.get(span.start..span.end).unwrap_or_default()
    }

    /// Remembers where the parser stands, to come back with [`Self::back_to`].
    pub(super) fn mark(&self) -> Mark {
        Mark { at: self.at, errors: self.errors.len(), depth: self.depth }
    }

    /// Forgets what was read and found wrong since a mark.
    pub(super) fn back_to(&mut self, mark: &Mark) {
        self.at = mark.at;
        self.errors.truncate(mark.errors);
        self.depth = mark.depth;
    }

    /// Notes a mistake and goes on.
    pub(super) fn error(&mut self, span: ByteSpan, text: impl Into<String>) {
        self.note(ParseErrorKind::Parse, span, text.into());
    }

    /// Notes a mistake that Prometheus finds when it evaluates.
    pub(super) fn execution_error(&mut self, span: ByteSpan, text: impl Into<String>) {
        self.note(ParseErrorKind::Execution, span, text.into());
    }

    fn note(&mut self, kind: ParseErrorKind, span: ByteSpan, text: String) {
        if self.errors.len() < ERRORS_MAX {
            self.errors.push(ParseError { text, span, kind, line_column: None });
        }
    }

    /// Notes a mistake behind which nothing can be read.
    pub(super) fn stop(&mut self, span: ByteSpan, text: impl Into<String>) -> Stop {
        self.error(span, text);
        Stop
    }

    /// Notes that the next token may not stand here.
    pub(super) fn unexpected(&mut self, context: &str, expected: &str) -> Stop {
        let span = self.peek_span();
        if let TokenKind::Error(message) = self.peek() {
            let message = message.clone();
            return self.stop(span, message);
        }
        let context = if context.is_empty() && 0 < self.aggregations { "aggregation" } else { context };
        let mut message = format!("unexpected {}", self.describe(span));
        if !context.is_empty() {
            message.push_str(" in ");
            message.push_str(context);
        }
        if !expected.is_empty() {
            message.push_str(", expected ");
            message.push_str(expected);
        }
        self.stop(span, message)
    }

    /// The next token as messages name it.
    fn describe(&self, span: ByteSpan) -> String {
        let word = self.word(span);
        match self.peek() {
            TokenKind::End | TokenKind::Error(_) => "end of input".to_owned(),
            TokenKind::Identifier => format!("identifier {}", quote(word)),
            TokenKind::MetricIdentifier => format!("metric identifier {}", quote(word)),
            TokenKind::Quoted => format!("string {}", quote_start(word)),
            TokenKind::Number => format!("number {}", quote_start(word)),
            TokenKind::Duration => format!("duration {}", quote_start(word)),
            TokenKind::At | TokenKind::EqualRegex | TokenKind::NotRegex | TokenKind::Op(_) => format!("<op:{word}>"),
            TokenKind::Aggregate(_) => format!("<aggr:{word}>"),
            TokenKind::Keyword(keyword) if keyword.is_function() => quote(word),
            TokenKind::Keyword(_) => format!("<{word}>"),
            _ => quote(word),
        }
    }

    /// Goes one level deeper, unless that is too deep. Every way out but an error calls [`Self::leave`].
    pub(super) fn enter(&mut self) -> Parsed<()> {
        self.depth += 1;
        if self.depth <= NESTING_MAX { Ok(()) } else { Err(self.too_deep()) }
    }

    /// Comes back from a level.
    pub(super) fn leave(&mut self) {
        self.depth -= 1;
    }

    /// The height of a node over its highest child, if it is not too high.
    pub(super) fn height_over(&mut self, child: usize) -> Parsed<usize> {
        if child < NESTING_MAX { Ok(child + 1) } else { Err(self.too_deep()) }
    }

    fn too_deep(&mut self) -> Stop {
        let message = format!("query is nested deeper than {NESTING_MAX} levels; split it with recording rules");
        self.stop(self.peek_span(), message)
    }

    /// The operator that comes next, if one does.
    pub(super) fn peek_op(&self) -> Option<BinaryOp> {
        match self.peek() {
            TokenKind::Op(op) => Some(*op),
            _ => None,
        }
    }
}

/// Quotes a word, or the beginning of a long one.
fn quote_start(word: &str) -> String {
    /// Characters that are shown of a word.
    const SHOWN: usize = 10;
    if word.len() <= SHOWN {
        return quote(word);
    }
    format!("{}...", quote(&word.chars().take(SHOWN).collect::<String>()))
}

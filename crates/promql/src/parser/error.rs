//! What is wrong with a query, in Prometheus' words and with its place.

use std::fmt;

use crate::ast::ByteSpan;

/// Who finds the mistake in Prometheus, which decides how it is told and with which status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ParseErrorKind {
    /// The parser: told with its place and `parse error:`, a bad parameter for the API (400).
    Parse,
    /// Evaluation, before it looks at data: told as the bare message, "cannot be executed" for the API (422).
    Execution,
}

/// One mistake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseError {
    /// The message, without place.
    pub text: String,
    /// The part of the query that is wrong.
    pub span: ByteSpan,
    /// How it is told.
    pub kind: ParseErrorKind,
    /// Line and column of the span's start, both from 1, the column in bytes. `None` for an empty query.
    pub line_column: Option<(usize, usize)>,
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.kind, self.line_column) {
            (ParseErrorKind::Execution, _) => {}
            (ParseErrorKind::Parse, Some((line, column))) => write!(f, "{line}:{column}: parse error: ")?,
            (ParseErrorKind::Parse, None) => f.write_str("unknown position: parse error: ")?,
        }
        f.write_str(&self.text)
    }
}

impl std::error::Error for ParseError {}

/// All mistakes that were found in a query, at least one. As text it is the first, as Prometheus tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseErrors(Vec<ParseError>);

impl ParseErrors {
    /// Gives mistakes their lines and columns.
    pub(super) fn new(text: &str, mut errors: Vec<ParseError>) -> Self {
        for error in &mut errors {
            error.line_column = line_column(text, error.span.start);
        }
        Self(errors)
    }

    /// The mistakes in order of discovery.
    pub fn iter(&self) -> impl Iterator<Item = &ParseError> {
        self.0.iter()
    }

    /// The mistake that is told when only one is.
    pub fn first(&self) -> Option<&ParseError> {
        self.0.first()
    }
}

impl fmt::Display for ParseErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.first().map_or(Ok(()), |first| first.fmt(f))
    }
}

impl std::error::Error for ParseErrors {}

fn line_column(text: &str, at: usize) -> Option<(usize, usize)> {
    let before = text.get(..at).filter(|_| !text.is_empty())?;
    let line = before.bytes().filter(|byte| *byte == b'\n').count() + 1;
    Some((line, before.len() - before.rfind('\n').map_or(0, |newline| newline + 1) + 1))
}

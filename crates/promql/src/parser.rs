//! From text to syntax tree, with the messages that Prometheus gives for what is wrong.
//!
//! A hand-written parser: one function per construct, operators by precedence climbing. After the tree is complete,
//! types and arguments are checked, so that evaluation does not have to. The first mistake in the form of a query ends
//! the parsing; mistakes in its meaning are all told.
//!
//! Not here: words and their ends (`lexer`), how a tree is written (`print`).
//! Invariants: no input makes it panic or overflow the stack; every span lies within the text and within its parent's.
//! Source: prometheus.io/docs/prometheus/latest/querying/basics and Prometheus, `promql/parser`.

mod call;
mod check;
mod duration;
mod error;
mod expr;
mod options;
mod postfix;
mod selector;
mod tokens;

pub use error::{ParseError, ParseErrorKind, ParseErrors};
pub use options::{Feature, ParseOptions};

use crate::{
    ast::{ByteSpan, Expr},
    matcher::Matcher,
};
use tokens::Parser;

/// Longest query in bytes. Generated queries reach some 10 KiB; a hundred times that still parses in tens of milliseconds.
pub const QUERY_BYTES_MAX: usize = 1 << 20;

/// Deepest nesting: of parentheses and arguments, and of operands, since `a + b + c` is two deep. A thread's usual stack
/// of 2 MiB leaves 8 KiB for each level of whoever walks a tree.
pub const NESTING_MAX: usize = 256;

/// Reads a query.
///
/// Errors: everything that is wrong with it, in order of discovery; at least one.
pub fn parse(text: &str, options: &ParseOptions) -> Result<Expr, ParseErrors> {
    let mut parser = Parser::new(text, *options)?;
    let parsed = parser.query();
    match parsed {
        Ok(mut expr) if parser.is_clean() => {
            check::check(&mut parser, &mut expr);
            parser.finish(expr)
        }
        _ => Err(parser.into_errors()),
    }
}

/// Reads a selector alone, as the API's `match[]` holds it. Returns its matchers, the name among them.
///
/// A selector that selects everything is not refused here; the doors that mind have their own message for it.
/// Errors: as [`parse`].
pub fn parse_metric_selector(text: &str) -> Result<Vec<Matcher>, ParseErrors> {
    let mut parser = Parser::new(text, ParseOptions::default())?;
    match parser.only_selector() {
        Ok(selector) => parser.finish(selector.matchers),
        Err(_) => Err(parser.into_errors()),
    }
}

/// From the start of one span to the end of another.
fn join(from: ByteSpan, to: ByteSpan) -> ByteSpan {
    ByteSpan { start: from.start, end: to.end }
}

//! PromQL of Prometheus 3: text to syntax tree to values, over any [`SeriesSource`].
//!
//! ```text
//! text ── parse ──▶ Expr (byte spans) ── evaluate ──▶ scalar, vector or matrix, with warnings and infos
//!                                          ▲
//!                         SeriesSource ────┘ runs of samples, chunk by chunk
//! ```
//!
//! Pure: time, limits and data come in as arguments; nothing here reads a clock, a file or a socket.
//! Not here: storage (`store-series`), HTTP and JSON (`api`).
//! Source of the language: prometheus.io/docs/prometheus/latest/querying.

pub mod ast;
pub mod eval;
pub mod functions;
pub mod histogram;
mod lexer;
pub mod literal;
mod map;
pub mod matcher;
pub mod note;
pub mod parser;
pub mod print;
pub mod quote;
pub mod source;
pub mod workers;

pub use ast::{ByteSpan, Expr, ExprKind};
pub use matcher::{Matcher, MatcherOp};
pub use note::{Note, NoteLevel, Notes};
pub use parser::{Feature, ParseError, ParseErrorKind, ParseErrors, ParseOptions, parse, parse_metric_selector};
pub use source::{Select, SelectedSeries, SeriesSource, SourceError, Windows};
pub use workers::{Alone, Workers};

//! Texts with `{{ … }}` in labels and annotations: the part of Go's `text/template` that rules use, with Prometheus'
//! functions.
//!
//! ```text
//! text ── lex ──▶ tokens ── parse ──▶ Template ── render ──▶ text
//!                                        ▲
//!              Data (labels, value, …) ──┘── Ask: queries of the template
//! ```
//!
//! What is there: actions, pipelines, variables, `if`, `with`, `range`, `break`, `continue`, `define`, `template`, comments,
//! trimming; the functions of Go's templates and of Prometheus' reference.
//! Not here: methods of values, HTML.
//! Invariant: rendering ends: output, work and depth are bounded.
//! Source: pkg.go.dev/text/template; prometheus.io/docs/prometheus/latest/configuration/template_reference.

mod compare;
mod functions;
mod humanize;
mod lex;
mod parse;
mod printf;
mod render;
mod value;

use std::collections::BTreeMap;

pub use render::{Ask, Data};
pub use value::{Sample, Value};

use parse::Node;

/// Bytes of a rendered text at most. Alertmanager's webhook messages are some KiB.
pub const OUTPUT_BYTES_MAX: usize = 1 << 20;
/// Bytes of all texts that functions take and make while one template is rendered: each may be as long as the output, and
/// 64 of such a length are more than any message needs. It bounds time and memory where texts are put together in loops.
pub const WORK_BYTES_MAX: usize = 64 * OUTPUT_BYTES_MAX;
/// Nodes that one rendering may visit: some tens of thousands of elements of a query, a few each.
pub const STEPS_MAX: usize = 1_000_000;
/// Deepest nesting of actions, parentheses and called templates.
pub const DEPTH_MAX: usize = 64;

/// Where a server shows a query as a table: path and query of a URL.
pub fn table_link(query: &str) -> String {
    functions::link(query, 1)
}

/// Why a text is no template, or cannot be rendered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct TemplateError {
    /// What is wrong.
    pub text: String,
}

impl TemplateError {
    fn new(text: impl Into<String>) -> Self {
        Self { text: text.into() }
    }
}

/// A text that was read.
#[derive(Clone, Debug, PartialEq)]
pub struct Template {
    text: String,
    nodes: Vec<Node>,
    defined: BTreeMap<String, Vec<Node>>,
}

impl Template {
    /// Reads a text. What it refers to by `$labels`, `$value`, `$externalLabels` and `$externalURL` is known.
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        let (nodes, defined) = parse::parse(lex::lex(text)?)?;
        Ok(Self { text: text.to_owned(), nodes, defined })
    }

    /// A text that is taken as it is.
    pub fn plain(text: &str) -> Self {
        Self { text: text.to_owned(), nodes: vec![Node::Text(text.to_owned())], defined: BTreeMap::new() }
    }

    /// The text as it was written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Fills it in.
    pub fn render(&self, data: &Data<'_>, ask: &dyn Ask) -> Result<String, TemplateError> {
        if let [Node::Text(text)] = self.nodes.as_slice() {
            return Ok(text.clone());
        }
        render::render(&self.nodes, &self.defined, data, ask)
    }
}

#[cfg(test)]
mod tests;

//! Notes: what a query's reader should know beside its result ("annotations": `warnings` and `infos`).
//!
//! A note is told once however many series and steps caused it, with the place in the query. Texts follow Prometheus
//! word for word, because clients and its acceptance suite compare them (`util/annotations/annotations.go`).

use std::collections::BTreeSet;

use crate::ast::ByteSpan;

/// Kinds of notes kept for one query; more are counted as one. A query of a few hundred nodes can cause some dozen.
pub const NOTES_MAX: usize = 1000;

/// How much a note matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum NoteLevel {
    /// The result may be wrong.
    Warning,
    /// The result is right, the query may not be.
    Info,
}

/// A note: its level, the text without prefix and place, and where in the query.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Note {
    /// How much it matters.
    pub level: NoteLevel,
    /// What is to be known; begins in lower case.
    pub text: String,
    /// The part of the query that caused it.
    pub span: ByteSpan,
}

impl Note {
    /// The text as Prometheus prints it: with `PromQL warning: ` or `PromQL info: ` before and ` (line:column)` behind,
    /// both counted from 1, the column in bytes, of the query text that is given.
    pub fn render(&self, query: &str) -> String {
        let kind = match self.level {
            NoteLevel::Warning => "warning",
            NoteLevel::Info => "info",
        };
        let before = query.get(..self.span.start).unwrap_or(query);
        let line = before.bytes().filter(|byte| *byte == b'\n').count() + 1;
        let column = before.len() - before.rfind('\n').map_or(0, |at| at + 1) + 1;
        format!("PromQL {kind}: {} ({line}:{column})", self.text)
    }
}

/// The notes of one query, each once.
#[derive(Clone, Debug, Default)]
pub struct Notes {
    notes: BTreeSet<(NoteLevel, usize, usize, String)>,
}

impl Notes {
    /// Adds a note unless it was told already.
    pub fn add(&mut self, level: NoteLevel, span: ByteSpan, text: impl Into<String>) {
        if self.notes.len() < NOTES_MAX {
            self.notes.insert((level, span.start, span.end, text.into()));
        }
    }

    /// Adds a warning.
    pub fn warn(&mut self, span: ByteSpan, text: impl Into<String>) {
        self.add(NoteLevel::Warning, span, text);
    }

    /// Adds an info.
    pub fn info(&mut self, span: ByteSpan, text: impl Into<String>) {
        self.add(NoteLevel::Info, span, text);
    }

    /// Takes over the notes of a part.
    pub fn merge(&mut self, other: Self) {
        for note in other.notes {
            if self.notes.len() < NOTES_MAX {
                self.notes.insert(note);
            }
        }
    }

    /// Warnings first, each level by place.
    pub fn iter(&self) -> impl Iterator<Item = Note> + '_ {
        self.notes.iter().map(|(level, start, end, text)| Note {
            level: *level,
            text: text.clone(),
            span: ByteSpan { start: *start, end: *end },
        })
    }

    /// Returns true when there is nothing to tell.
    pub fn is_empty(&self) -> bool {
        self.notes.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_is_told_once_with_its_place() {
        let mut notes = Notes::default();
        for _ in 0..3 {
            notes.warn(ByteSpan { start: 6, end: 7 }, "this is odd");
        }
        let rendered: Vec<_> = notes.iter().map(|note| note.render("sum(\n x)")).collect();
        assert_eq!(rendered, ["PromQL warning: this is odd (2:2)"]);
    }
}

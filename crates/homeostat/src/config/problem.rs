//! What is wrong with a configuration, where, and what to write instead.
//!
//! A problem is data first: [`Problems`] prints it for a terminal, with the line and a mark under the offending text,
//! or as JSON. Nothing secret leaves through it: lines are masked before they are kept ([`super::mask`]).

use std::{error::Error, fmt};

use serde::Serialize;

use super::{
    mask,
    source::{Place, Sources},
};

/// Problems kept at most; people fix tens at a time, and hostile files must not fill memory. The rest is counted.
pub const PROBLEMS_MAX: usize = 200;

/// Characters of a source line shown at most; longer lines are cut around the offending text.
const LINE_CHARS_MAX: usize = 160;

/// Whether a configuration can be used in spite of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// It cannot.
    Error,
    /// It can, but probably does not mean what it says.
    Warning,
}

impl Severity {
    const fn label(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
        }
    }
}

/// One problem.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// How bad.
    pub severity: Severity,
    /// What is wrong, in one lowercase sentence.
    pub message: String,
    /// What to write instead.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub help: Option<String>,
    /// Where; absent when it concerns no particular text.
    #[serde(flatten)]
    pub spot: Option<Box<Spot>>,
    #[serde(skip)]
    place: Option<Place>,
}

/// A place as shown to people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Spot {
    /// The file's name.
    pub file: String,
    /// Line, counted from 1.
    pub line: u32,
    /// Column in characters, counted from 1.
    pub column: u32,
    /// The offending text; `…` in place of a secret.
    pub found: String,
    /// The whole line, masked and perhaps cut.
    #[serde(skip)]
    line_text: String,
    /// Characters before the offending text in `line_text`.
    #[serde(skip)]
    indent: usize,
}

impl Problem {
    /// An error without a place.
    pub(super) fn error(message: impl Into<String>) -> Self {
        Self { severity: Severity::Error, message: message.into(), help: None, spot: None, place: None }
    }

    /// A warning without a place.
    pub(super) fn warning(message: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(message) }
    }

    /// Says what to write instead.
    pub(super) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Says where.
    pub(super) fn at(mut self, place: Place) -> Self {
        self.place = Some(place);
        self
    }

    /// Copies what is to be shown from the files; secrets are masked here, before anything is kept.
    fn pin(&mut self, sources: &Sources, secrets: &[Place]) {
        let Some((place, source)) = self.place.and_then(|place| Some((place, sources.get(place.file)?))) else {
            return;
        };
        let masked = mask::line(source.line(place.line), place.file, place.line, secrets);
        let before = (place.column as usize).saturating_sub(1);
        let found: String = masked.chars().skip(before).take(place.width as usize).collect();
        // A long line is cut so that the offending text stays in sight.
        let cut = before.saturating_sub(LINE_CHARS_MAX / 2);
        let line_text: String = masked.chars().skip(cut).take(LINE_CHARS_MAX).map(printable).collect();
        self.spot = Some(Box::new(Spot {
            file: source.name.clone(),
            line: place.line,
            column: place.column,
            found: found.chars().take(LINE_CHARS_MAX).map(printable).collect::<String>().trim_end().to_owned(),
            line_text,
            indent: before - cut,
        }));
    }
}

/// Control characters could repaint the terminal.
fn printable(c: char) -> char {
    if c.is_control() { ' ' } else { c }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}: {}", self.severity.label(), self.message)?;
        let margin = self.spot.as_ref().map_or(1, |spot| spot.line.to_string().len());
        if let Some(spot) = &self.spot {
            let marks = spot.found.chars().count().clamp(1, LINE_CHARS_MAX.saturating_sub(spot.indent).max(1));
            writeln!(f, "{:margin$}--> {}:{}:{}", "", spot.file, spot.line, spot.column)?;
            writeln!(f, "{} | {}", spot.line, spot.line_text.trim_end())?;
            writeln!(f, "{:margin$} | {:indent$}{}", "", "", "^".repeat(marks), indent = spot.indent)?;
        }
        match &self.help {
            Some(help) => writeln!(f, "{:margin$} = {help}", ""),
            None => Ok(()),
        }
    }
}

/// All problems of one configuration: ordered by file and line, errors and warnings together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Problems {
    list: Vec<Problem>,
    /// Problems beyond [`PROBLEMS_MAX`], only counted.
    more: usize,
}

impl Problems {
    /// Sorts problems, pins them to the text and forgets the files. Repeats of the same problem are dropped.
    pub(super) fn new(mut list: Vec<Problem>, sources: &Sources, secrets: &[Place]) -> Self {
        list.sort_by(|a, b| a.place.cmp(&b.place).then(a.severity.cmp(&b.severity)));
        list.dedup();
        let more = list.len().saturating_sub(PROBLEMS_MAX);
        list.truncate(PROBLEMS_MAX);
        for problem in &mut list {
            problem.pin(sources, secrets);
        }
        Self { list, more }
    }

    /// The problems, first in the files first.
    pub fn iter(&self) -> std::slice::Iter<'_, Problem> {
        self.list.iter()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Number of errors among those kept.
    pub fn errors(&self) -> usize {
        self.list.iter().filter(|p| p.severity == Severity::Error).count()
    }

    /// Number of warnings among those kept.
    pub fn warnings(&self) -> usize {
        self.list.len() - self.errors()
    }

    /// For programs: `{"errors": 1, "warnings": 0, "more": 0, "problems": [{severity, message, help, file, line, column, found}]}`.
    pub fn to_json(&self) -> serde_json::Value {
        serde_json::json!({
            "errors": self.errors(),
            "warnings": self.warnings(),
            "more": self.more,
            "problems": self.list,
        })
    }
}

impl<'a> IntoIterator for &'a Problems {
    type Item = &'a Problem;
    type IntoIter = std::slice::Iter<'a, Problem>;
    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for problem in &self.list {
            writeln!(f, "{problem}")?;
        }
        match self.more {
            0 => Ok(()),
            more => writeln!(f, "and {more} problems more"),
        }
    }
}

impl Error for Problems {}

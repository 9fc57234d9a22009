//! Cases: changes whose cause somebody knows, and the library that holds them.
//!
//! A library is text, one JSON object a line (docs/format/cases.md). Two products use it, and every figure keeps them apart:
//! *recurrence* compares with cases of the same program, *transfer* with those of others.
//!
//! Invariant: a case holds no name of the program's own functions.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::{paths::Path, vector::Vector};

/// The label of changes that are no fault: noise, a deploy, more load. They vote for silence.
pub const NO_FAULT: &str = "none";

/// Bytes of a library that are read: a hundred thousand cases of some 4 KiB, beyond which comparing one by one takes
/// longer than a person waits.
pub const LIBRARY_BYTES_MAX: usize = 400 << 20;
/// Bytes of one case. A vector of 160 entries with names of 200 bytes is 35 KiB.
pub(crate) const CASE_BYTES_MAX: usize = 256 << 10;

/// A change whose cause is known.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    /// Its name, one of its kind in a library.
    pub id: String,
    /// What it was: the name of a pattern, a name that the user gave, or [`NO_FAULT`].
    pub pattern: String,
    /// Which program.
    pub program: String,
    /// What a person wants to remember.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub note: String,
    /// The change.
    pub vector: Vector,
    /// The stacks that were added most.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub paths: Vec<Path>,
}

/// Why a library cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum BadLibrary {
    /// It is larger than what is read.
    #[error(
        "the library has {bytes} bytes or more, {LIBRARY_BYTES_MAX} at most are read; export the cases that matter and import them anew"
    )]
    TooLarge {
        /// How large.
        bytes: usize,
    },
    /// A line is no case.
    #[error("line {line}: {why}; a case is one JSON object a line, see docs/format/cases.md")]
    Line {
        /// Which, from 1.
        line: usize,
        /// What is wrong with it.
        why: String,
    },
}

/// Cases.
#[derive(Clone, Debug, Default)]
pub struct Library {
    /// In the order of the file.
    pub cases: Vec<Case>,
}

impl Library {
    /// Cases that come with Homeostat.
    pub fn shipped() -> Self {
        // A test reads it: it cannot be damaged.
        Self::read(include_str!("../cases/shipped.jsonl")).unwrap_or_default()
    }

    /// Reads a library. Of two cases with one id the later one counts, so that a label can be changed by adding a line.
    pub fn read(text: &str) -> Result<Self, BadLibrary> {
        if LIBRARY_BYTES_MAX < text.len() {
            return Err(BadLibrary::TooLarge { bytes: text.len() });
        }
        let mut library = Self::default();
        for (index, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
            library.cases.push(case(line).map_err(|why| BadLibrary::Line { line: index + 1, why })?);
        }
        Ok(library.latest())
    }

    /// The text of the library.
    pub fn write(&self) -> String {
        let mut text = String::new();
        for case in &self.cases {
            text.push_str(&line(case));
        }
        text
    }

    /// The cases of both; of two with one id that of `other`.
    pub fn joined(mut self, other: Self) -> Self {
        self.cases.extend(other.cases);
        self.latest()
    }

    /// Names of the programs that have cases here.
    pub fn programs(&self) -> BTreeSet<&str> {
        self.cases.iter().map(|case| case.program.as_str()).collect()
    }

    fn latest(mut self) -> Self {
        let mut seen = BTreeSet::new();
        self.cases.reverse();
        self.cases.retain(|case| seen.insert(case.id.clone()));
        self.cases.reverse();
        self
    }
}

/// A case as its line.
pub fn line(case: &Case) -> String {
    // Texts and finite numbers under texts: this cannot fail.
    serde_json::to_string(case).unwrap_or_default() + "\n"
}

fn case(line: &str) -> Result<Case, String> {
    if CASE_BYTES_MAX < line.len() {
        return Err(format!("{} bytes, {CASE_BYTES_MAX} at most", line.len()));
    }
    let case: Case = serde_json::from_str(line).map_err(|error| error.to_string())?;
    let word = |text: &str| !text.is_empty() && text.len() <= 200 && !text.chars().any(char::is_control);
    for (name, text) in [("id", &case.id), ("pattern", &case.pattern), ("program", &case.program)] {
        if !word(text) {
            return Err(format!("`{name}` is empty, longer than 200 bytes, or holds control characters"));
        }
    }
    if case.vector.values().any(|value| !value.is_finite() || 1.0 < value.abs()) {
        return Err("numbers of `vector` lie between -1 and 1".to_owned());
    }
    Ok(case)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(id: &str, pattern: &str) -> Case {
        let vector = [("c:regex".into(), 0.5)].into();
        let paths = vec![vec!["regexp.run".to_owned()]];
        Case {
            id: id.to_owned(),
            pattern: pattern.to_owned(),
            program: "p".to_owned(),
            note: String::new(),
            vector,
            paths,
        }
    }

    #[test]
    fn what_is_written_is_read_and_the_latest_label_counts() {
        let library = Library { cases: vec![one("a", "regex"), one("b", "fsync")] };
        assert_eq!(Library::read(&library.write()).unwrap().cases, library.cases);
        let changed = library.write() + "\n" + &line(&one("a", "lock_contention"));
        let read = Library::read(&changed).unwrap();
        let labels: Vec<_> = read.cases.iter().map(|case| (case.id.as_str(), case.pattern.as_str())).collect();
        assert_eq!(labels, [("b", "fsync"), ("a", "lock_contention")]);
    }

    #[test]
    fn damaged_lines_are_told_with_their_place() {
        for (text, wanted) in [
            ("{}", "line 1: missing field `id`"),
            ("\n\n{\"id\":1}", "line 3: invalid type"),
            (r#"{"id":"","pattern":"x","program":"p","vector":{}}"#, "`id` is empty"),
            (r#"{"id":"a","pattern":"x\u0007","program":"p","vector":{}}"#, "control characters"),
            (r#"{"id":"a","pattern":"x","program":"p","vector":{"c":2}}"#, "between -1 and 1"),
            (r#"{"id":"a","pattern":"x","program":"p","vector":{},"more":1}"#, "unknown field `more`"),
            ("not json", "line 1: expected"),
        ] {
            let error = Library::read(text).unwrap_err().to_string();
            assert!(error.contains(wanted), "{text}: {error}");
        }
        let long = format!(r#"{{"id":"{}"}}"#, "x".repeat(CASE_BYTES_MAX));
        assert!(Library::read(&long).unwrap_err().to_string().contains("at most"));
    }

    #[test]
    fn shipped_cases_are_whole() {
        let text = include_str!("../cases/shipped.jsonl");
        let library = Library::read(text).unwrap();
        assert_eq!(Library::shipped().cases.len(), library.cases.len());
        assert!(text.len() < 2 << 20, "{} bytes are embedded in the program", text.len());
    }
}

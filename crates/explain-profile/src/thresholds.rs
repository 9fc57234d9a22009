//! Numbers that decide, each with its reason: data, not code.

use serde::Serialize;

/// A number that something is held against.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Threshold {
    /// Its name, with its unit.
    pub name: &'static str,
    /// The number.
    pub value: f64,
    /// Why this and no other.
    pub reason: &'static str,
}

/// A threshold. For tables.
pub(crate) const fn threshold(name: &'static str, value: f64, reason: &'static str) -> Threshold {
    Threshold { name, value, reason }
}

/// How alike the best case has to be.
pub(crate) const LIKENESS_MIN: Threshold = threshold(
    "likeness_min",
    0.45,
    "development programs, each against the others: below, fewer than nine in ten names are right",
);

/// How much of the votes the first pattern needs.
pub(crate) const AGREEMENT_MIN: Threshold = threshold(
    "agreement_min",
    0.45,
    "development programs, each against the others: below, the second pattern is as often right",
);

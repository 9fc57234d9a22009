//! Says which functions moved between two profiles, and which did not beyond noise; which pattern the change follows, and
//! which known case it resembles.
//!
//! Two profiles of one behaviour differ by a fifth or more of their mass when they hold some hundred samples; a diff that
//! paints every difference is read as news where there is none. Here a function counts as moved when a test says so that
//! knows how much windows of one side differ among each other, after correction for the number of functions looked at,
//! and when the difference is large enough to matter.
//!
//! Not here: sums and pictures (`profile`), causes (`explain-cause`), where profiles come from.
//!
//! ```text
//! Observed, Observed ─▶ Signs ─▶ explain ─▶ Explanation        which pattern a change follows (Library: cases that are known)
//! windows, windows   ─▶ diff  ─▶ Diff                          which functions moved
//! DETECTORS                                                   the rules with their limits, for people
//! Words, weights, groups, majority; Index, explain_with; group_cases    what an evaluation needs besides (bench)
//! ```

mod baseline;
mod case;
mod census;
mod cluster;
mod comparison;
mod concept;
mod counted;
mod detect;
mod diff;
mod evidence;
mod explain;
mod frame;
mod observed;
mod paths;
mod retrieve;
mod special;
#[cfg(test)]
mod testing;
mod thresholds;
mod vector;

pub use baseline::{CROWD, Words, groups, majority, weights};
pub use case::{BadLibrary, Case, LIBRARY_BYTES_MAX, Library, NO_FAULT, line};
pub use cluster::group_cases;
pub use detect::{DETECTORS, Detector, Finding};
pub use diff::{Compared, Diff, DiffOptions, Moved, Side, Way, diff};
pub use evidence::{Evidence, MEASURED_IN_UP};
pub use explain::{Explanation, Named, Outcome, PATTERNS_MAX, Signs, explain, explain_with};
pub use observed::Observed;
pub use paths::Path;
pub use retrieve::{Index, Neighbour, Retrieved};
pub use thresholds::{SAMPLES_WANTED, Threshold};
pub use vector::Vector;

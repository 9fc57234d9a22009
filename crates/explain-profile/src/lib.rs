//! Says which functions moved between two profiles, and which did not beyond noise.
//!
//! Two profiles of one behaviour differ by a fifth or more of their mass when they hold some hundred samples; a diff that
//! paints every difference is read as news where there is none. Here a function counts as moved when a test says so that
//! knows how much windows of one side differ among each other, after correction for the number of functions looked at,
//! and when the difference is large enough to matter.
//!
//! Not here: sums and pictures (`profile`), causes (`explain-cause`), where profiles come from.

mod diff;
mod special;

pub use diff::{Compared, Diff, DiffOptions, Moved, Side, Way, diff};

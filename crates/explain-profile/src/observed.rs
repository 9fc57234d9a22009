//! One side of a change as everybody asks about it: what was measured, counted once.
//!
//! Not here: what both sides say together (`comparison`, `explain`).

use homeostat_model::profile::Profile;

use crate::{census::Census, comparison::View, evidence::Evidence, paths::Paths};

/// One side of a change, counted. The same one can be compared with several others.
#[derive(Clone, Debug, Default)]
pub struct Observed {
    pub(crate) view: View,
    pub(crate) paths: Paths,
}

impl Observed {
    /// Counts CPU profiles, which are windows of one side each or hold several under the label `window`, and what else was
    /// measured meanwhile.
    pub fn new<'a>(cpu: impl IntoIterator<Item = &'a Profile>, evidence: Evidence) -> Self {
        let mut observed = Self { view: View { evidence, ..View::default() }, paths: Paths::default() };
        for profile in cpu {
            let column = profile.samples_column();
            observed.view.cpu.add(profile, column);
            observed.paths.add(profile, column);
        }
        observed
    }

    /// Adds who waited for what: profiles of goroutines or threads, which hold so many moments together. None is no census.
    #[must_use]
    pub fn with_census<'a>(mut self, profiles: impl IntoIterator<Item = &'a Profile>, moments: f64) -> Self {
        self.view.census = Census::of(profiles, moments);
        self
    }
}

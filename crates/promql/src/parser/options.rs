//! Parts of the language that have to be switched on.

/// A part of the language that Prometheus has behind a feature flag.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Feature {
    /// `promql-experimental-functions`: functions and aggregations whose behaviour may still change.
    ExperimentalFunctions,
    /// `promql-duration-expr`: durations that are computed, as in `[step() * 5]`. On by default since 2026.
    DurationExpr,
    /// `promql-extended-range-selectors`: `anchored` and `smoothed`.
    ExtendedRangeSelectors,
    /// `promql-binop-fill-modifiers`: `fill`, `fill_left` and `fill_right`.
    BinopFillModifiers,
}

impl Feature {
    /// All of them.
    pub const ALL: [Self; 4] =
        [Self::ExperimentalFunctions, Self::DurationExpr, Self::ExtendedRangeSelectors, Self::BinopFillModifiers];

    /// The name that Prometheus' `--enable-feature` takes.
    pub fn flag(self) -> &'static str {
        match self {
            Self::ExperimentalFunctions => "promql-experimental-functions",
            Self::DurationExpr => "promql-duration-expr",
            Self::ExtendedRangeSelectors => "promql-extended-range-selectors",
            Self::BinopFillModifiers => "promql-binop-fill-modifiers",
        }
    }

    /// The feature of a flag's name.
    pub fn from_flag(flag: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|feature| feature.flag() == flag)
    }
}

/// Which features are on. The default is Prometheus': computed durations only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParseOptions {
    /// One bit per feature.
    on: u8,
}

impl ParseOptions {
    /// Everything is on.
    pub fn all() -> Self {
        Feature::ALL.into_iter().fold(Self { on: 0 }, Self::with)
    }

    /// Nothing is on.
    pub fn none() -> Self {
        Self { on: 0 }
    }

    /// Switches a feature on.
    pub fn with(self, feature: Feature) -> Self {
        Self { on: self.on | 1 << feature as u8 }
    }

    /// Returns true when a feature is on.
    pub fn has(self, feature: Feature) -> bool {
        self.on & 1 << feature as u8 != 0
    }
}

impl Default for ParseOptions {
    fn default() -> Self {
        Self::none().with(Feature::DurationExpr)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn features_are_found_by_their_flags() {
        assert!(Feature::ALL.into_iter().all(|feature| Feature::from_flag(feature.flag()) == Some(feature)));
        assert_eq!(Feature::from_flag("native-histograms"), None);
        let options = ParseOptions::none().with(Feature::BinopFillModifiers);
        assert!(options.has(Feature::BinopFillModifiers) && !options.has(Feature::ExperimentalFunctions));
    }
}

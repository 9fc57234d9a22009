//! Parts of PromQL that can be switched on and off, by the names that Prometheus has for them.

use homeostat_promql::{Feature, ParseOptions};

/// What evaluation does differently, by Prometheus' names.
const DELAYED_NAME_REMOVAL: &str = "promql-delayed-name-removal";
const START_TIMESTAMPS: &str = "use-start-timestamps";
const TYPE_AND_UNIT_LABELS: &str = "type-and-unit-labels";

/// All names.
pub(crate) const NAMES: [&str; 7] = [
    "promql-experimental-functions",
    "promql-duration-expr",
    "promql-extended-range-selectors",
    "promql-binop-fill-modifiers",
    DELAYED_NAME_REMOVAL,
    START_TIMESTAMPS,
    TYPE_AND_UNIT_LABELS,
];

/// What is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Features {
    pub(crate) language: ParseOptions,
    pub(crate) delayed_name_removal: bool,
    pub(crate) start_timestamps: bool,
    pub(crate) type_and_unit_labels: bool,
}

impl Default for Features {
    fn default() -> Self {
        Self {
            language: ParseOptions::all(),
            delayed_name_removal: true,
            start_timestamps: true,
            type_and_unit_labels: false,
        }
    }
}

impl Features {
    /// The defaults with some switched on and others off. The last word on a name that is in both lists is "off".
    pub(crate) fn of(on: &[String], off: &[String]) -> Result<Self, String> {
        let known = |name: &String| NAMES.contains(&name.as_str());
        if let Some(unknown) = on.iter().chain(off).find(|name| !known(name)) {
            let nearest = NAMES.into_iter().min_by_key(|name| strsim::damerau_levenshtein(name, unknown));
            let near = nearest.filter(|name| strsim::jaro_winkler(name, unknown) > 0.8);
            let hint = near.map_or_else(|| format!("there are {}", NAMES.join(", ")), |name| format!("write `{name}`"));
            return Err(format!("there is no feature `{unknown}`; {hint}"));
        }
        let is_on = |name: &str| {
            let default = name != TYPE_AND_UNIT_LABELS;
            (default || on.iter().any(|given| given == name)) && !off.iter().any(|given| given == name)
        };
        let of_language = Feature::ALL.into_iter().filter(|feature| is_on(feature.flag()));
        Ok(Self {
            language: of_language.fold(ParseOptions::none(), ParseOptions::with),
            delayed_name_removal: is_on(DELAYED_NAME_REMOVAL),
            start_timestamps: is_on(START_TIMESTAMPS),
            type_and_unit_labels: is_on(TYPE_AND_UNIT_LABELS),
        })
    }

    /// Names of those that are on.
    pub(crate) fn names(self) -> Vec<&'static str> {
        let of_language = Feature::ALL.into_iter().filter(|feature| self.language.has(*feature)).map(Feature::flag);
        let mut names: Vec<_> = of_language.collect();
        names.extend(self.delayed_name_removal.then_some(DELAYED_NAME_REMOVAL));
        names.extend(self.start_timestamps.then_some(START_TIMESTAMPS));
        names.extend(self.type_and_unit_labels.then_some(TYPE_AND_UNIT_LABELS));
        names
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(on: &[&str], off: &[&str]) -> Result<Features, String> {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        Features::of(&owned(on), &owned(off))
    }

    #[test]
    fn the_language_is_whole_unless_somebody_takes_a_part_away() {
        assert_eq!(of(&[], &[]).unwrap().names(), NAMES[..6]);
        assert_eq!(of(&["type-and-unit-labels"], &[]).unwrap().names(), NAMES);
        let fewer = of(
            &["promql-duration-expr"],
            &["promql-duration-expr", "promql-delayed-name-removal", "use-start-timestamps"],
        );
        let fewer = fewer.unwrap();
        assert!(!fewer.language.has(Feature::DurationExpr) && !fewer.delayed_name_removal);
        assert!(!fewer.start_timestamps);
    }

    #[test]
    fn a_slip_is_told_with_what_was_meant() {
        assert_eq!(
            of(&["promql-experimental-function"], &[]).unwrap_err(),
            "there is no feature `promql-experimental-function`; write `promql-experimental-functions`"
        );
        assert!(of(&[], &["x"]).unwrap_err().starts_with("there is no feature `x`; there are promql-"));
    }
}

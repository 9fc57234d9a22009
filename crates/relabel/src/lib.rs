//! Relabelling as Prometheus has it: rules that rewrite, keep or drop a label set.
//!
//! A rule joins the values of its source labels, matches a regular expression against the whole of it, and acts on the
//! set. Rules run in order, each on what the one before left; the first that drops ends the run. Targets, scraped series
//! and series that are sent on pass the same rules, so they live here and not with one of them.
//!
//! Not here: reading rules from a file (the binary's configuration), labels that discovery attaches (`sense-scrape`).
//! Source: prometheus.io/docs/prometheus/latest/configuration/configuration/#relabel_config.

mod rule;

use homeostat_model::LabelsBuilder;
use md5::{Digest, Md5};
pub use rule::{Action, BadRule, Rule, RuleSpec};

/// What the rules say about a label set.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It stays, as the rules left it.
    Kept,
    /// It goes.
    Dropped,
}

/// Runs all rules over a label set.
pub fn relabel(labels: &mut LabelsBuilder, rules: &[Rule]) -> Fate {
    let dropped = rules.iter().any(|rule| apply(labels, rule) == Fate::Dropped);
    if dropped { Fate::Dropped } else { Fate::Kept }
}

fn apply(labels: &mut LabelsBuilder, rule: &Rule) -> Fate {
    let value = joined(labels, rule);
    let keep_if = |kept: bool| if kept { Fate::Kept } else { Fate::Dropped };
    match rule.action {
        Action::Keep => return keep_if(rule.regex.is_match(&value)),
        Action::Drop => return keep_if(!rule.regex.is_match(&value)),
        Action::KeepEqual => return keep_if(labels.value(&rule.target_label) == value),
        Action::DropEqual => return keep_if(labels.value(&rule.target_label) != value),
        Action::Replace => replace(labels, rule, &value),
        Action::Lowercase => drop(labels.set(&rule.target_label, &value.to_lowercase())),
        Action::Uppercase => drop(labels.set(&rule.target_label, &value.to_uppercase())),
        Action::HashMod => drop(labels.set(&rule.target_label, &hash_mod(&value, rule.modulus).to_string())),
        Action::LabelMap => map_names(labels, rule),
        Action::LabelDrop => retain_names(labels, |name| !rule.regex.is_match(name)),
        Action::LabelKeep => retain_names(labels, |name| rule.regex.is_match(name)),
    }
    Fate::Kept
}

/// The values of the source labels, an absent one being empty, with the separator between them.
fn joined(labels: &LabelsBuilder, rule: &Rule) -> String {
    let mut text = String::new();
    for (at, name) in rule.source_labels.iter().enumerate() {
        if at > 0 {
            text.push_str(&rule.separator);
        }
        text.push_str(labels.value(name));
    }
    text
}

fn replace(labels: &mut LabelsBuilder, rule: &Rule, value: &str) {
    let Some(captures) = rule.regex.captures(value) else { return };
    let (mut target, mut replacement) = (String::new(), String::new());
    captures.expand(&rule.target_label, &mut target);
    captures.expand(&rule.replacement, &mut replacement);
    // A target made of captures may come out as no name at all; such a rule says nothing about this set.
    if !target.is_empty() {
        labels.set(&target, &replacement);
    }
}

/// The second half of the value's MD5, as Prometheus spreads targets over servers.
fn hash_mod(value: &str, modulus: u64) -> u64 {
    let digest: [u8; 16] = Md5::digest(value.as_bytes()).into();
    let low = digest.iter().skip(8).fold(0_u64, |hash, byte| hash << 8 | u64::from(*byte));
    low.checked_rem(modulus).unwrap_or(0)
}

fn map_names(labels: &mut LabelsBuilder, rule: &Rule) {
    let mapped: Vec<_> = labels
        .iter()
        .filter(|(name, _)| rule.regex.is_match(name))
        .map(|(name, value)| (rule.regex.replace(name, rule.replacement.as_str()).into_owned(), value.to_owned()))
        .collect();
    for (name, value) in mapped.iter().filter(|(name, _)| !name.is_empty()) {
        labels.set(name, value);
    }
}

fn retain_names(labels: &mut LabelsBuilder, keep: impl Fn(&str) -> bool) {
    let gone: Vec<_> = labels.iter().map(|(name, _)| name.to_owned()).filter(|name| !keep(name)).collect();
    for name in gone {
        labels.remove(&name);
    }
}

#[cfg(test)]
mod tests {
    use homeostat_model::Labels;
    use proptest::prelude::*;

    use super::*;

    /// Runs rules over a set; `None` when it is dropped.
    fn run(labels: &[(&str, &str)], rules: &[RuleSpec]) -> Option<String> {
        let rules: Vec<_> = rules.iter().map(|spec| Rule::new(spec.clone()).unwrap()).collect();
        let mut builder = LabelsBuilder::from(&Labels::new(labels.iter().copied()));
        match relabel(&mut builder, &rules) {
            Fate::Kept => Some(builder.finish().to_string()),
            Fate::Dropped => None,
        }
    }

    fn rule(action: Action, sources: &[&str]) -> RuleSpec {
        RuleSpec { action, source_labels: sources.iter().map(ToString::to_string).collect(), ..RuleSpec::default() }
    }

    #[test]
    fn a_value_is_replaced_by_captures() {
        let spec = RuleSpec {
            regex: "(.*):.*;(.+)".into(),
            target_label: "${2}_host".into(),
            replacement: "$1".into(),
            ..rule(Action::Replace, &["address", "zone"])
        };
        let labels = [("address", "10.0.0.1:80"), ("zone", "a")];
        assert_eq!(run(&labels, &[spec]).unwrap(), r#"{a_host="10.0.0.1", address="10.0.0.1:80", zone="a"}"#);
    }

    #[test]
    fn without_a_match_nothing_is_replaced_and_an_empty_value_takes_the_label_away() {
        let target = RuleSpec { target_label: "a".into(), ..rule(Action::Replace, &["a"]) };
        let other = RuleSpec { regex: "x".into(), replacement: "y".into(), ..target.clone() };
        let empty = RuleSpec { replacement: String::new(), ..target };
        assert_eq!(run(&[("a", "b")], &[other]).unwrap(), r#"{a="b"}"#);
        assert_eq!(run(&[("a", "b")], &[empty]).unwrap(), "{}");
    }

    #[test]
    fn sets_are_kept_and_dropped() {
        let keep = RuleSpec { regex: "b.*".into(), ..rule(Action::Keep, &["a"]) };
        let drop = RuleSpec { action: Action::Drop, ..keep.clone() };
        assert!(run(&[("a", "bc")], std::slice::from_ref(&keep)).is_some());
        assert!(run(&[("a", "cb")], &[keep]).is_none(), "the expression covers the whole value");
        assert!(run(&[("a", "bc")], &[drop]).is_none());
        let equal = RuleSpec { target_label: "b".into(), ..rule(Action::KeepEqual, &["a"]) };
        let unequal = RuleSpec { action: Action::DropEqual, ..equal.clone() };
        assert!(run(&[("a", "1"), ("b", "1")], std::slice::from_ref(&equal)).is_some());
        assert!(run(&[("a", "1"), ("b", "2")], &[equal]).is_none());
        assert!(run(&[("a", "1"), ("b", "1")], &[unequal]).is_none());
    }

    #[test]
    fn names_are_mapped_dropped_and_kept() {
        let map = RuleSpec { regex: "__meta_(.+)".into(), ..rule(Action::LabelMap, &[]) };
        let drop = RuleSpec { regex: "__meta_.+".into(), ..rule(Action::LabelDrop, &[]) };
        let keep = RuleSpec { regex: "x".into(), ..rule(Action::LabelKeep, &[]) };
        let labels = [("__meta_x", "1"), ("y", "2")];
        assert_eq!(run(&labels, &[map.clone(), drop]).unwrap(), r#"{x="1", y="2"}"#);
        assert_eq!(run(&labels, &[map, keep]).unwrap(), r#"{x="1"}"#);
    }

    #[test]
    fn case_changes() {
        let lower = RuleSpec { target_label: "b".into(), ..rule(Action::Lowercase, &["a"]) };
        let upper = RuleSpec { target_label: "c".into(), ..rule(Action::Uppercase, &["a"]) };
        assert_eq!(run(&[("a", "xY")], &[lower, upper]).unwrap(), r#"{a="xY", b="xy", c="XY"}"#);
    }

    #[test]
    fn targets_are_spread_as_prometheus_spreads_them() {
        // The second half of md5("foo") = acbd18db4cc2f85c edef654fccc4a4d8.
        assert_eq!(hash_mod("foo", u64::MAX), 0xedef_654f_ccc4_a4d8);
        assert_eq!(hash_mod("foo", 1000), 0xedef_654f_ccc4_a4d8 % 1000);
    }

    #[test]
    fn rules_that_cannot_work_are_refused() {
        let target = |action| Rule::new(rule(action, &["a"]));
        for action in [Action::Replace, Action::HashMod, Action::Lowercase, Action::KeepEqual] {
            assert_eq!(target(action).unwrap_err(), BadRule::TargetMissing { action });
        }
        let zero = RuleSpec { target_label: "b".into(), modulus: 0, ..rule(Action::HashMod, &["a"]) };
        assert_eq!(Rule::new(zero).unwrap_err(), BadRule::ModulusMissing);
        let bad = RuleSpec { regex: "(".into(), ..rule(Action::Keep, &["a"]) };
        assert!(matches!(Rule::new(bad).unwrap_err(), BadRule::Regex { .. }));
        assert_eq!(
            Rule::new(rule(Action::LabelDrop, &["a"])).unwrap_err(),
            BadRule::OnlyRegex { action: Action::LabelDrop }
        );
    }

    proptest! {
        #[test]
        fn keep_and_drop_are_opposites(value in "[ab]{0,4}", regex in "[ab]{0,3}(\\.\\*)?") {
            let keep = RuleSpec { regex, ..rule(Action::Keep, &["x"]) };
            let drop = RuleSpec { action: Action::Drop, ..keep.clone() };
            let labels = [("x", value.as_str())];
            prop_assert_ne!(run(&labels, &[keep]).is_some(), run(&labels, &[drop]).is_some());
        }
    }
}

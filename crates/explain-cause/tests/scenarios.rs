//! Incidents with a known cause, red herrings among them: one file each, read as data.
#![cfg(test)]

use std::{collections::BTreeMap, fs, path::Path, sync::LazyLock};

use homeostat_explain_cause::{CauseEvidence, explain, weights};
use homeostat_model::{Timestamp, explanation::CauseKind};
use proptest::prelude::*;
use serde::Deserialize;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Scenario {
    /// What it is about, for people.
    #[expect(dead_code, reason = "people read it in the file")]
    about: String,
    evidence: CauseEvidence,
    expect: Expected,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Expected {
    /// Kind and subject of each hypothesis, the best first. None: not enough evidence.
    hypotheses: Vec<(CauseKind, String)>,
    /// Confidence of the first at least.
    #[serde(default)]
    at_least_percent: u8,
    /// And at most.
    #[serde(default = "hundred")]
    at_most_percent: u8,
    /// Words that the lines about what is missing have to hold.
    #[serde(default)]
    missing: Vec<String>,
    /// Words that the evidence of the first has to hold.
    #[serde(default)]
    evidence: Vec<String>,
}

fn hundred() -> u8 {
    100
}

/// All files, read once.
static SCENARIOS: LazyLock<BTreeMap<String, Scenario>> = LazyLock::new(|| {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios");
    let files = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let read = |path: std::path::PathBuf| {
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        let scenario = serde_json::from_str(&fs::read_to_string(&path).unwrap());
        (name.clone(), scenario.unwrap_or_else(|error| panic!("{name}: {error}")))
    };
    files.map(read).collect()
});

#[test]
fn the_cause_is_named_and_red_herrings_are_not() {
    assert!(12 <= SCENARIOS.len());
    for (name, Scenario { evidence, expect, .. }) in &*SCENARIOS {
        let explanation = explain(evidence, Timestamp::from_unix_ms(0));
        let named: Vec<_> = explanation.hypotheses.iter().map(|found| (found.kind, found.subject.clone())).collect();
        assert_eq!(&named, &expect.hypotheses, "{name}: {explanation:#?}");
        if let Some(first) = explanation.hypotheses.first() {
            let percent = first.confidence_percent;
            assert!((expect.at_least_percent..=expect.at_most_percent).contains(&percent), "{name}: {percent} %");
            assert!(!first.next_check.is_empty() && !first.title.is_empty(), "{name}");
            let lines: Vec<_> = first.evidence.iter().map(|line| line.text.as_str()).collect();
            let lines = lines.join("\n");
            for words in &expect.evidence {
                assert!(lines.contains(words.as_str()), "{name}: {words} is not in\n{lines}");
            }
        }
        for words in &expect.missing {
            assert!(explanation.missing.iter().any(|line| line.contains(words)), "{name}: {:?}", explanation.missing);
        }
    }
}

#[test]
fn every_weight_has_a_reason_and_a_name_of_its_own() {
    let mut names: Vec<_> = weights::ALL.iter().map(|weight| weight.name).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), weights::ALL.len());
    assert!(weights::ALL.iter().all(|weight| weight.log_odds.abs() <= 3.4 && 20 < weight.why.len()));
}

fn any_of(which: usize) -> &'static CauseEvidence {
    &SCENARIOS.values().nth(which % SCENARIOS.len()).unwrap().evidence
}

proptest! {
    /// Whatever is left out of the evidence: three at most, ordered, never sure, and without reasons nothing.
    #[test]
    fn less_evidence_never_breaks_it(which in 0..64_usize, left_out in prop::collection::vec(any::<bool>(), 6)) {
        let mut evidence = any_of(which).clone();
        if left_out[0] { evidence.changes.clear(); }
        if left_out[1] { evidence.shapes.clear(); }
        if left_out[2] { evidence.patterns.clear(); }
        if left_out[3] { evidence.signals.clear(); }
        if left_out[4] { evidence.dependencies.clear(); }
        if left_out[5] { evidence.judged = None; }
        let explanation = explain(&evidence, Timestamp::from_unix_ms(0));
        prop_assert!(explanation.hypotheses.len() <= 3);
        prop_assert!(explanation.hypotheses.is_sorted_by(|a, b| a.confidence_percent >= b.confidence_percent));
        prop_assert!(explanation.hypotheses.iter().all(|one| one.confidence_percent < 100));
        if left_out == [true; 6] {
            prop_assert!(explanation.hypotheses.is_empty() && !explanation.missing.is_empty());
        }
    }

    /// The order in which evidence is listed tells nothing.
    #[test]
    fn order_is_no_evidence(which in 0..64_usize) {
        let evidence = any_of(which);
        let mut turned = evidence.clone();
        turned.changes.reverse();
        turned.shapes.reverse();
        turned.patterns.reverse();
        turned.dependencies.reverse();
        let at = Timestamp::from_unix_ms(0);
        prop_assert_eq!(explain(evidence, at), explain(&turned, at));
    }
}

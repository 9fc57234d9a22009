//! What may have caused it: one file for each kind of suspect.

mod change;
mod dependency;
mod instance;
mod load;
mod machine;
mod pattern;
mod unreachable;

use homeostat_model::explanation::CauseKind;

use crate::{
    evidence::{CauseEvidence, Counted, Shape, Signal},
    weights::{CPU_RATIO, REQUESTS_MIN, WORSE_RATIO, WORSE_SHARE, Weight},
};

/// A possible cause with what speaks for and against it.
#[derive(Debug)]
pub(crate) struct Suspect {
    pub(crate) kind: CauseKind,
    pub(crate) subject: String,
    pub(crate) title: String,
    pub(crate) reasons: Vec<Reason>,
    pub(crate) next_check: String,
}

/// Why it is more or less likely. Those without a text stand for what is known before anything was seen.
#[derive(Debug)]
pub(crate) struct Reason {
    pub(crate) weight: &'static Weight,
    pub(crate) text: String,
}

impl Suspect {
    pub(crate) fn log_odds(&self) -> f64 {
        self.reasons.iter().map(|reason| reason.weight.log_odds).sum()
    }

    fn new(kind: CauseKind, subject: &str, prior: &'static Weight) -> Self {
        let reasons = vec![Reason { weight: prior, text: String::new() }];
        Self { kind, subject: subject.to_owned(), title: String::new(), reasons, next_check: String::new() }
    }

    fn because(&mut self, weight: &'static Weight, text: String) {
        self.reasons.push(Reason { weight, text });
    }
}

/// Everybody who has at least one reason for it.
pub(crate) fn suspects(evidence: &CauseEvidence) -> Vec<Suspect> {
    let mut all = looked_at(evidence);
    all.retain(|suspect| suspect.reasons.iter().any(|reason| 0.0 < reason.weight.log_odds));
    all
}

/// Everybody, those included whom nothing speaks for.
fn looked_at(evidence: &CauseEvidence) -> Vec<Suspect> {
    let mut all = change::suspects(evidence);
    all.extend(pattern::suspects(evidence));
    all.extend(dependency::suspects(evidence));
    all.extend(load::suspect(evidence));
    all.extend(machine::suspects(evidence));
    all.extend(instance::suspects(evidence));
    all.extend(unreachable::suspect(evidence));
    all
}

/// Whether one did worse than the other, as far as their numbers can tell; `None` when they are too few.
fn worse(one: &Counted, other: &Counted) -> Option<bool> {
    let enough = REQUESTS_MIN <= one.total() && REQUESTS_MIN <= other.total();
    let (one, other) = (one.bad_share()?, other.bad_share()?);
    enough.then_some(WORSE_SHARE <= one - other && WORSE_RATIO * other <= one)
}

/// All requests of the service: shapes by version if there are any, else all of them.
fn service(evidence: &CauseEvidence) -> (Counted, Counted) {
    let by_version: Vec<&Shape> =
        evidence.shapes.iter().filter(|s| s.version.is_some() && s.instance.is_none() && s.route.is_none()).collect();
    let whole: Vec<&Shape> =
        evidence.shapes.iter().filter(|s| s.version.is_none() && s.instance.is_none() && s.route.is_none()).collect();
    let of = if whole.is_empty() { by_version } else { whole };
    of.iter().fold((Counted::default(), Counted::default()), |(before, during), shape| {
        (before.plus(&shape.before), during.plus(&shape.during))
    })
}

/// The two sides of a signal.
fn signal(evidence: &CauseEvidence, which: Signal) -> Option<(f64, f64)> {
    evidence.signals.iter().find(|known| known.signal == which).map(|known| (known.good, known.bad))
}

/// Whether the program itself works more than it did, as a ratio; `None` when nobody measured.
fn cpu_grew(evidence: &CauseEvidence) -> Option<(bool, f64, f64)> {
    let (good, bad) = signal(evidence, Signal::CpuMsPerS)?;
    Some((0.0 < bad && CPU_RATIO * good <= bad, good, bad))
}

/// A share in words.
fn percent(share: Option<f64>) -> String {
    share.map_or_else(|| "none of 0".to_owned(), |share| format!("{:.1} %", 100.0 * share))
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, fs, path::Path};

    use super::*;
    use crate::weights;

    /// A weight that no scenario meets could have any sign.
    #[test]
    fn every_weight_decides_in_a_scenario() {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios");
        let mut met = BTreeSet::new();
        for entry in fs::read_dir(dir).unwrap() {
            let text = fs::read_to_string(entry.unwrap().path()).unwrap();
            let mut scenario: serde_json::Value = serde_json::from_str(&text).unwrap();
            let evidence: CauseEvidence = serde_json::from_value(scenario["evidence"].take()).unwrap();
            met.extend(
                looked_at(&evidence).iter().flat_map(|suspect| &suspect.reasons).map(|reason| reason.weight.name),
            );
        }
        let unmet: Vec<_> = weights::ALL.iter().map(|weight| weight.name).filter(|name| !met.contains(name)).collect();
        assert_eq!(unmet, [""; 0]);
    }
}

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

    fn has_a_reason(&self) -> bool {
        self.reasons.iter().any(|reason| 0.0 < reason.weight.log_odds)
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
    all.retain(Suspect::has_a_reason);
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
    use std::{fs, path::Path};

    use serde_json::Value;

    use super::*;
    use crate::{rank::named, weights};

    /// Files of incidents with a known cause: their evidence, and what is expected of it.
    fn scenarios() -> Vec<(CauseEvidence, Value)> {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios");
        let read = |entry: Result<fs::DirEntry, std::io::Error>| {
            let mut file: Value = serde_json::from_str(&fs::read_to_string(entry.unwrap().path()).unwrap()).unwrap();
            (serde_json::from_value(file["evidence"].take()).unwrap(), file["expect"].take())
        };
        fs::read_dir(dir).unwrap().map(read).collect()
    }

    /// Whether what is named is what the file expects.
    fn as_expected(suspects: &[Suspect], expected: &Value) -> bool {
        let hypotheses = named(suspects);
        let names: Vec<_> = hypotheses.iter().map(|one| (one.kind, one.subject.clone())).collect();
        let first = hypotheses.first().map_or(0, |one| u64::from(one.confidence_percent));
        let within = |least: &Value, most: &Value| {
            hypotheses.is_empty() || (least.as_u64().unwrap_or(0)..=most.as_u64().unwrap_or(100)).contains(&first)
        };
        serde_json::to_value(names).unwrap() == expected["hypotheses"]
            && within(&expected["at_least_percent"], &expected["at_most_percent"])
    }

    /// A weight that could as well have the opposite sign decides nothing.
    #[test]
    fn every_weight_decides_in_a_scenario() {
        let scenarios = scenarios();
        let decides = |weight: &Weight| {
            let opposite: &'static Weight =
                Box::leak(Box::new(Weight { name: weight.name, log_odds: -weight.log_odds, why: weight.why }));
            scenarios.iter().any(|(evidence, expected)| {
                let mut all = looked_at(evidence);
                let reasons = all.iter_mut().flat_map(|suspect| &mut suspect.reasons);
                reasons.filter(|reason| reason.weight == weight).for_each(|reason| reason.weight = opposite);
                all.retain(Suspect::has_a_reason);
                !as_expected(&all, expected)
            })
        };
        assert!(scenarios.iter().all(|(evidence, expected)| as_expected(&suspects(evidence), expected)));
        // What weighs nothing has no opposite; it is there to be told.
        let weighing = weights::ALL.iter().filter(|weight| weight.log_odds != 0.0);
        let idle: Vec<_> = weighing.filter(|weight| !decides(weight)).map(|weight| weight.name).collect();
        assert_eq!(idle, [""; 0]);
    }
}

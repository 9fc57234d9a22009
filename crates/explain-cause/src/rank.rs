//! From suspects to an explanation.

use std::cmp::Ordering;

use homeostat_model::{
    Timestamp,
    explanation::{CauseKind, EvidenceLine, Explanation, HYPOTHESES_MAX, Hypothesis},
};

use crate::{
    evidence::CauseEvidence,
    missing::missing,
    suspect::{Reason, Suspect, suspects},
    weights::{FIRST_MIN, NAMED_MIN},
};

/// Explains an incident. `at` is when.
pub fn explain(evidence: &CauseEvidence, at: Timestamp) -> Explanation {
    let hypotheses = named(&suspects(evidence));
    Explanation { at, missing: missing(evidence, hypotheses.is_empty()), hypotheses, ..Explanation::default() }
}

/// Those that are worth being told, the likeliest first.
pub(crate) fn named(suspects: &[Suspect]) -> Vec<Hypothesis> {
    let mut judged: Vec<(f64, &Suspect)> = suspects.iter().map(|suspect| (share(suspect, suspects), suspect)).collect();
    judged.sort_by(|(share, a), (other, b)| {
        let by_share = other.partial_cmp(share).unwrap_or(Ordering::Equal);
        by_share.then_with(|| (a.kind, &a.subject).cmp(&(b.kind, &b.subject)))
    });
    let told = judged.first().is_some_and(|(share, _)| FIRST_MIN <= *share);
    let worth = judged.into_iter().take_while(|(share, _)| told && NAMED_MIN <= *share).take(HYPOTHESES_MAX);
    worth.map(|(share, suspect)| hypothesis(suspect, share)).collect()
}

/// Its odds among all that it competes with, and "something else", whose odds are one.
fn share(suspect: &Suspect, all: &[Suspect]) -> f64 {
    let rivals = all.iter().filter(|other| !belong_together(suspect, other));
    let sum: f64 = rivals.map(|rival| rival.log_odds().exp()).sum();
    let own = suspect.log_odds().exp();
    own / (1.0 + sum)
}

/// A change is what happened; a pattern, or processes that are gone, are how: one explains the other.
fn belong_together(one: &Suspect, other: &Suspect) -> bool {
    let how = |kind| matches!(kind, CauseKind::Pattern | CauseKind::Unreachable);
    one.kind == CauseKind::Change && how(other.kind) || how(one.kind) && other.kind == CauseKind::Change
}

fn hypothesis(suspect: &Suspect, share: f64) -> Hypothesis {
    let mut reasons: Vec<_> = suspect.reasons.iter().filter(|reason| !reason.text.is_empty()).collect();
    reasons.sort_by(|a, b| b.weight.log_odds.abs().partial_cmp(&a.weight.log_odds.abs()).unwrap_or(Ordering::Equal));
    let line = |reason: &&Reason| EvidenceLine { text: reason.text.clone(), supports: 0.0 <= reason.weight.log_odds };
    Hypothesis {
        kind: suspect.kind,
        subject: suspect.subject.clone(),
        title: suspect.title.clone(),
        confidence_percent: (share * 100.0).round().clamp(0.0, 99.0) as u8,
        evidence: reasons.iter().map(line).collect(),
        next_check: suspect.next_check.clone(),
    }
}

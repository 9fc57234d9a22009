//! A fault within the program that its profiles show.

use super::Suspect;
use crate::{
    evidence::CauseEvidence,
    weights::{LIKELY, PATTERN_FEW_SAMPLES, PATTERN_LIKELY, PATTERN_SURE, PATTERN_WEAK, PRIOR_PATTERN, SURE},
};

pub(super) fn suspects(evidence: &CauseEvidence) -> Vec<Suspect> {
    let suspect = |pattern: &crate::evidence::Pattern| {
        let mut suspect = Suspect::new("pattern", &pattern.name, &PRIOR_PATTERN);
        suspect.title = format!("In the program: {}", pattern.name.replace('_', " "));
        suspect.next_check.clone_from(&pattern.confirm);
        let weight = match pattern.confidence {
            sure if SURE <= sure => &PATTERN_SURE,
            likely if LIKELY <= likely => &PATTERN_LIKELY,
            _ => &PATTERN_WEAK,
        };
        let lines = if pattern.lines.is_empty() { String::new() } else { format!(": {}", pattern.lines.join("; ")) };
        suspect.because(weight, format!("recognised with confidence {:.2}{lines}", pattern.confidence));
        if let Some(compared) = evidence.profiles.as_ref().filter(|compared| !compared.enough) {
            let text = format!("only {} and {} samples", compared.good_samples, compared.bad_samples);
            suspect.because(&PATTERN_FEW_SAMPLES, text);
        }
        suspect
    };
    evidence.patterns.iter().map(suspect).collect()
}

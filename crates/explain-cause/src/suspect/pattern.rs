//! A fault within the program that its profiles show.

use homeostat_model::explanation::CauseKind;

use super::Suspect;
use crate::{
    evidence::{CauseEvidence, ProfileCompared},
    weights::{
        LIKELY, PATTERN_FEW_SAMPLES, PATTERN_LIKELY, PATTERN_SOME_SAMPLES, PATTERN_SURE, PATTERN_WEAK, PRIOR_PATTERN,
        SAMPLES_FIRM, SURE,
    },
};

pub(super) fn suspects(evidence: &CauseEvidence) -> Vec<Suspect> {
    let suspect = |pattern: &crate::evidence::Pattern| {
        let mut suspect = Suspect::new(CauseKind::Pattern, &pattern.name, &PRIOR_PATTERN);
        suspect.title = format!("In the program: {}", pattern.name.replace('_', " "));
        suspect.next_check.clone_from(&pattern.confirm);
        let weight = match pattern.confidence {
            sure if SURE <= sure => &PATTERN_SURE,
            likely if LIKELY <= likely => &PATTERN_LIKELY,
            _ => &PATTERN_WEAK,
        };
        let lines = if pattern.lines.is_empty() { String::new() } else { format!(": {}", pattern.lines.join("; ")) };
        suspect.because(weight, format!("recognised with confidence {:.2}{lines}", pattern.confidence));
        let fewest = |compared: &ProfileCompared| compared.good_samples.min(compared.bad_samples);
        let few = |compared: &&ProfileCompared| !pattern.without_samples && fewest(compared) < SAMPLES_FIRM;
        if let Some(compared) = evidence.profiles.as_ref().filter(few) {
            let weight = if compared.enough { &PATTERN_SOME_SAMPLES } else { &PATTERN_FEW_SAMPLES };
            suspect.because(weight, format!("only {} and {} samples", compared.good_samples, compared.bad_samples));
        }
        suspect
    };
    evidence.patterns.iter().map(suspect).collect()
}

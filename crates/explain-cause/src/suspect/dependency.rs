//! The fault of a service that this one calls.

use homeostat_model::{OutcomeClass, evidence::EventCounts, explanation::CauseKind};

use super::{Suspect, cpu_grew, percent, service};
use crate::{
    evidence::{CauseEvidence, Counted, Dependency},
    weights::{
        DEPENDENCY_CALLER_BUSY, DEPENDENCY_CALLER_WAITS, DEPENDENCY_FAILS, DEPENDENCY_WORSE, FAILS_RATIO,
        PRIOR_DEPENDENCY, REQUESTS_MIN, WORSE_RATIO, WORSE_SHARE,
    },
};

pub(super) fn suspects(evidence: &CauseEvidence) -> Vec<Suspect> {
    evidence.dependencies.iter().filter_map(|dependency| suspect(evidence, dependency)).collect()
}

fn suspect(evidence: &CauseEvidence, dependency: &Dependency) -> Option<Suspect> {
    let Dependency { name, before, during } = dependency;
    let (share, was) = (during.bad_share()?, floor(*before)?);
    if during.total() < REQUESTS_MIN || share - was < WORSE_SHARE || share < WORSE_RATIO * was {
        return None;
    }
    let mut suspect = Suspect::new(CauseKind::Dependency, name, &PRIOR_DEPENDENCY);
    suspect.title = format!("{name}, which {} calls, fails or is late", evidence.service);
    suspect.next_check = format!("look at {name}: its own objectives, its changes, its incidents");
    let weight = if FAILS_RATIO * was <= share { &DEPENDENCY_FAILS } else { &DEPENDENCY_WORSE };
    let numbers = format!("{} of its calls, {} before", percent(Some(share)), percent(before.bad_share()));
    suspect.because(weight, format!("calls to {name} fail or are late: {numbers}"));
    let (_, during) = service(evidence);
    match cpu_grew(evidence) {
        Some((true, good, bad)) => {
            suspect
                .because(&DEPENDENCY_CALLER_BUSY, format!("the program works {bad:.0} ms a second, {good:.0} before"));
        }
        Some((false, good, bad)) if during.class(OutcomeClass::ServerError) < late(&during) => {
            let text = format!("requests are late while the program works {bad:.0} ms a second, {good:.0} before");
            suspect.because(&DEPENDENCY_CALLER_WAITS, text);
        }
        _ => {}
    }
    Some(suspect)
}

/// Requests that somebody waited for in vain, or for too long.
fn late(counted: &Counted) -> u64 {
    counted.class(OutcomeClass::Timeout).saturating_add(counted.slow.unwrap_or(0))
}

/// Share of failed calls; without any, what one more would have been.
fn floor(before: EventCounts) -> Option<f64> {
    (REQUESTS_MIN <= before.total()).then(|| before.bad.max(1) as f64 / before.total() as f64)
}

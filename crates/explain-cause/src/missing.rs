//! What would have told more.

use crate::{
    evidence::{CauseEvidence, Signal},
    weights::REQUESTS_MIN,
};

/// One line for each kind of evidence that is not there, with what brings it. That profiles of both sides are alike is told only
/// when `nothing_named`.
pub(crate) fn missing(evidence: &CauseEvidence, nothing_named: bool) -> Vec<String> {
    let mut lines = Vec::new();
    match &evidence.profiles {
        None if evidence.is_profiled => lines.push(
            "no profiles of both sides: the service has `profiling`, and no window of that time is held; the log says why none \
             was taken, `homeostat_profiling_windows` how many are held"
                .to_owned(),
        ),
        None => lines.push("no profiles of both sides: give the service `profiling` in its document".to_owned()),
        Some(compared) if !compared.enough => lines.push(format!(
            "too few samples to compare profiles: {} on the good side, {} on the bad one",
            compared.good_samples, compared.bad_samples
        )),
        Some(compared) if nothing_named && compared.moved.is_empty() => {
            lines.push(
                "profiles of both sides are alike: the program waits for something that they do not show".to_owned(),
            );
        }
        Some(_) => {}
    }
    if evidence.changes.is_empty() {
        lines.push("no change is known: announce deploys and flags (`homeostat change`)".to_owned());
    }
    if evidence.signals.is_empty() {
        lines.push(
            "no kernel signals of the machine: programs that run beside us are watched as root; `homeostat doctor` says what is \
             in the way"
                .to_owned(),
        );
    } else if !evidence.signals.iter().any(|known| known.signal == Signal::RunQueueP99Ms) {
        lines.push(
            "too few waits for a processor were counted on one of the sides to compare them: the program hardly worked there, or \
             nobody counts them, which `homeostat doctor` tells"
                .to_owned(),
        );
    }
    if evidence.dependencies.is_empty() {
        lines.push(
            "nothing is known of the services that this one calls: name them in its document (`dependsOn`), and let calls to \
             them go through this gateway"
                .to_owned(),
        );
    }
    let seen: u64 = evidence.shapes.iter().map(|shape| shape.during.total()).fold(0, u64::max);
    if seen < REQUESTS_MIN && evidence.judged.is_none() {
        lines.push(format!("few requests: {seen} since the first bad response"));
    }
    lines
}

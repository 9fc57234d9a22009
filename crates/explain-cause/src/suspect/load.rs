//! More requests than before.

use std::collections::BTreeMap;

use homeostat_model::explanation::CauseKind;

use super::{Suspect, cpu_grew, service, worse};
use crate::{
    evidence::{CauseEvidence, Counted},
    weights::{
        LOAD_CPU_FOLLOWS, LOAD_DOUBLED, LOAD_EVERYWHERE_ALIKE, LOAD_ONE_ALONE, LOAD_RATIO, LOAD_STEADY, PRIOR_LOAD,
        REQUESTS_MIN, WORSE_SHARE,
    },
};

pub(super) fn suspect(evidence: &CauseEvidence) -> Option<Suspect> {
    let (before, during) = service(evidence);
    if before.total().min(during.total()) < REQUESTS_MIN {
        // Thirty requests where there were ten are a customer more.
        return None;
    }
    let (was, is) = (before.rate()?, during.rate()?);
    let mut suspect = Suspect::new(CauseKind::Load, "", &PRIOR_LOAD);
    suspect.title = format!("Load: {is:.0} requests a second, {was:.0} before");
    "add capacity, or limit the rate; then find out who sends".clone_into(&mut suspect.next_check);
    if is < LOAD_RATIO * was {
        suspect.because(&LOAD_STEADY, format!("{is:.0} requests a second, {was:.0} before"));
        return Some(suspect);
    }
    suspect.because(&LOAD_DOUBLED, format!("{is:.0} requests a second, {was:.0} before"));
    match alike(evidence) {
        // All of them well is alike too, and says nothing.
        Some(true) if during.bad_share().is_some_and(|share| WORSE_SHARE <= share) => {
            suspect.because(&LOAD_EVERYWHERE_ALIKE, "versions and routes are worse alike".to_owned());
        }
        Some(false) => suspect.because(&LOAD_ONE_ALONE, "one version or route alone is worse".to_owned()),
        Some(true) | None => {}
    }
    if let Some((true, good, bad)) = cpu_grew(evidence) {
        suspect.because(&LOAD_CPU_FOLLOWS, format!("the program works {bad:.0} ms a second, {good:.0} before"));
    }
    Some(suspect)
}

/// Whether no version and no route is worse than the rest of its kind; `None` when there is only one of each.
pub(super) fn alike(evidence: &CauseEvidence) -> Option<bool> {
    let mut versions = BTreeMap::<&str, Counted>::new();
    let mut routes = BTreeMap::<&str, Counted>::new();
    for shape in evidence.shapes.iter().filter(|shape| shape.instance.is_none()) {
        let group = match (&shape.version, &shape.route) {
            (Some(version), None) => versions.entry(version.as_str()).or_default(),
            (None, Some(route)) => routes.entry(route.as_str()).or_default(),
            _ => continue,
        };
        *group = group.plus(&shape.during);
    }
    let judged = [versions, routes].into_iter().filter(|groups| 1 < groups.len());
    let judged: Vec<bool> = judged.flat_map(|groups| stands_out(&groups)).collect();
    (!judged.is_empty()).then(|| !judged.contains(&true))
}

/// For each group, whether it is worse than all others together.
fn stands_out(groups: &BTreeMap<&str, Counted>) -> Vec<bool> {
    let against_rest = |name: &&str| {
        let rest = groups.iter().filter(|(other, _)| *other != name);
        let rest = rest.fold(Counted::default(), |sum, (_, counted)| sum.plus(counted));
        groups.get(*name).and_then(|own| worse(own, &rest))
    };
    groups.keys().filter_map(against_rest).collect()
}

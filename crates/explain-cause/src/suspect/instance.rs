//! One instance among its equals.

use std::collections::BTreeMap;

use homeostat_model::explanation::CauseKind;

use super::{Suspect, percent, worse};
use crate::{
    evidence::{CauseEvidence, Counted},
    weights::{INSTANCE_ALONE_BAD, PRIOR_INSTANCE},
};

pub(super) fn suspects(evidence: &CauseEvidence) -> Vec<Suspect> {
    // Only those of one version are equals.
    let mut versions = BTreeMap::<_, BTreeMap<&str, Counted>>::new();
    for shape in &evidence.shapes {
        if let (Some(instance), None) = (&shape.instance, &shape.route) {
            let sum = versions.entry(&shape.version).or_default().entry(instance.as_str()).or_default();
            *sum = sum.plus(&shape.during);
        }
    }
    versions
        .values()
        .flat_map(|instances| instances.keys().filter_map(|name| suspect(evidence, name, instances)))
        .collect()
}

fn suspect(evidence: &CauseEvidence, name: &str, instances: &BTreeMap<&str, Counted>) -> Option<Suspect> {
    let own = instances.get(name)?;
    let others = instances.iter().filter(|(other, _)| **other != name);
    let others = others.fold(Counted::default(), |sum, (_, counted)| sum.plus(counted));
    if worse(own, &others) != Some(true) {
        return None;
    }
    let mut suspect = Suspect::new(CauseKind::Instance, name, &PRIOR_INSTANCE);
    suspect.title = format!("The instance {name} of {} alone fails", evidence.service);
    suspect.next_check = format!("take {name} out of its version's endpoints; then look at its machine");
    let numbers = format!("{} there, {} on the others", percent(own.bad_share()), percent(others.bad_share()));
    suspect.because(&INSTANCE_ALONE_BAD, format!("bad requests: {numbers}"));
    Some(suspect)
}

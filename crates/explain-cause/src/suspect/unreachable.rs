//! Nobody accepts requests.

use homeostat_model::{OutcomeClass, explanation::CauseKind};

use super::{Suspect, service};
use crate::{
    evidence::{CauseEvidence, Counted},
    weights::{PRIOR_UNREACHABLE, REQUESTS_MIN, UNREACHABLE_REFUSED, WORSE_RATIO, WORSE_SHARE},
};

pub(super) fn suspect(evidence: &CauseEvidence) -> Option<Suspect> {
    let (before, during) = service(evidence);
    let gone =
        |counted: &Counted| counted.class(OutcomeClass::Refused).saturating_add(counted.class(OutcomeClass::Reset));
    let share = |counted: &Counted| gone(counted) as f64 / counted.total().max(1) as f64;
    let mostly = during.bad() < 2 * gone(&during);
    let new = WORSE_SHARE <= share(&during) && WORSE_RATIO * share(&before) <= share(&during);
    if during.total() < REQUESTS_MIN || !mostly || !new {
        return None;
    }
    let mut suspect = Suspect::new(CauseKind::Unreachable, "", &PRIOR_UNREACHABLE);
    suspect.title = format!("{} does not accept requests", evidence.service);
    "see whether its processes run, restart, or have reached a limit of connections"
        .clone_into(&mut suspect.next_check);
    let (refused, reset) = (during.class(OutcomeClass::Refused), during.class(OutcomeClass::Reset));
    let bad = during.bad();
    suspect.because(&UNREACHABLE_REFUSED, format!("{refused} requests refused and {reset} cut off, of {bad} bad ones"));
    Some(suspect)
}

//! Which windows stand for the bad side of an incident, and which for the good one.

use std::sync::{Arc, Mutex};

use homeostat_model::{
    Span, Timestamp, VersionName,
    explanation::ProfileSide,
    incident::{Incident, Subject},
};

use super::{
    super::shared::lock,
    watch::{Ring, Window},
};
use crate::config::Profiled;

/// A good side that is as old is another hour of the day.
pub(super) const GOOD_WITHIN: Span = Span::from_mins(10);
/// A canary is compared from this long before the first bad response on: it may have had traffic for longer, and have been
/// well.
pub(super) const CANARY_BEFORE: Span = Span::from_secs(60);

/// A program with the windows that are held of it.
#[derive(Clone, Debug)]
pub(super) struct Held {
    pub(super) profiled: Profiled,
    pub(super) ring: Arc<Mutex<Ring>>,
}

/// A window with the side that it stands for.
#[derive(Clone, Debug)]
pub(super) struct Sided {
    pub(super) side: ProfileSide,
    pub(super) profiled: Profiled,
    pub(super) window: Window,
}

/// All windows that stand for a side. Of a canary: the two versions at the same time. Of an objective: the same programs
/// before and since; windows that hold both stand for neither.
pub(super) fn sides(incident: &Incident, held: &[Held]) -> Vec<Sided> {
    let mut all = Vec::new();
    for Held { profiled, ring } in held.iter().filter(|held| held.profiled.service == incident.service) {
        for window in lock(ring).windows() {
            if let Some(side) = side(incident, &profiled.version, window.from, window.to) {
                all.push(Sided { side, profiled: profiled.clone(), window });
            }
        }
    }
    all
}

/// Which side a stretch of time of a version stands for.
pub(super) fn side(incident: &Incident, of: &VersionName, from: Timestamp, to: Timestamp) -> Option<ProfileSide> {
    let began = incident.began_at;
    match &incident.subject {
        Subject::Canary { canary, baseline, .. } => {
            let around = began - CANARY_BEFORE <= from;
            match of {
                of if around && of == canary => Some(ProfileSide::Bad),
                of if around && of == baseline => Some(ProfileSide::Good),
                _ => None,
            }
        }
        Subject::Objective { .. } if began <= from => Some(ProfileSide::Bad),
        Subject::Objective { .. } if to <= began && began - GOOD_WITHIN <= from => Some(ProfileSide::Good),
        Subject::Objective { .. } => None,
    }
}

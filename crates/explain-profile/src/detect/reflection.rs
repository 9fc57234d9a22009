//! Values become bytes by way of looking at their types at run time, once for each request and field.

use super::{Detector, Look, any};
use crate::{concept::Concept, thresholds::threshold};

pub(super) const DETECTOR: Detector = Detector {
    pattern: "reflection_serialisation",
    meaning: "answers are serialised by reflection, or more of them than before",
    looks_at: "CPU time in serialisation and reflection",
    confirm: "look at what the serialiser's callers pass to it: size, nesting, maps and interfaces; generate code for hot types or cache the bytes",
    limits: &[
        threshold(
            "serialise_share",
            0.08,
            "services of development programs that answer in JSON stay within this from run to run",
        ),
        threshold("reflect_share", 0.05, "reflection appears with serialisers alone in development programs"),
    ],
    look,
};

fn look(look: &mut Look<'_>) -> f64 {
    let serialise = look.added(Concept::Serialise) / look.limit("serialise_share");
    let reflect = look.added(Concept::Reflect) / look.limit("reflect_share");
    any(&[Some(serialise), Some(reflect)])
}

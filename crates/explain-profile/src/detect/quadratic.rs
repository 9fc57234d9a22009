//! Work of one request grows with the square of something.

use super::{Detector, Look, all, any, over};
use crate::{concept::Concept, thresholds::threshold};

pub(super) const DETECTOR: Detector = Detector {
    pattern: "quadratic",
    meaning: "an algorithm compares or copies everything with everything",
    looks_at: "CPU time in one function of the application itself, in comparing, copying and appending, and CPU time of a request",
    confirm: "run that function on inputs of twice the size: four times the time; use a map or sort first",
    limits: &[
        threshold("own_share", 0.12, "one function that takes an eighth more than before"),
        threshold("compare_share", 0.08, "comparing and copying that came with it"),
        threshold("request_factor", 1.3, "requests cost more, not only other things"),
    ],
    look,
};

fn look(look: &mut Look<'_>) -> f64 {
    let own = look.own_function() / look.limit("own_share");
    let compare =
        look.added_own(Concept::Compare).max(look.added_own(Concept::Copy)).max(look.added_own(Concept::Sort));
    let compare = compare / look.limit("compare_share");
    let request = over(look.grew("cpu_ms_per_request"), look.limit("request_factor"));
    all(&[Some(any(&[Some(own), Some(compare)])), request])
}

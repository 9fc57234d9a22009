//! Something turns in a circle beside the requests.

use super::{Detector, Look, all, any, over};
use crate::{concept::Concept, thresholds::threshold};

pub(super) const DETECTOR: Detector = Detector {
    pattern: "busy_loop",
    meaning: "a loop burns the processor without waiting for work",
    looks_at: "CPU time below an outermost function of the application that hardly ran before, in yielding and in asking for the time, and CPU time in all",
    confirm: "look at that function's stack: it is not below a request handler, or polls without sleeping",
    limits: &[
        threshold("beside_share", 0.08, "background work of development programs stays below a twelfth"),
        threshold("spin_share", 0.04, "normal operation never yields or polls the clock so often"),
        threshold("processor_factor", 1.15, "below, what the loop takes is not missed by anybody"),
    ],
    look,
};

fn look(look: &mut Look<'_>) -> f64 {
    let beside = look.beside_requests();
    // Known work in the background is somebody else's pattern.
    let known = look.quietly("c:sync").max(look.quietly("c:write_file")).max(look.quietly("c:client"));
    let beside = (beside - 2.0 * known).max(0.0) / look.limit("beside_share");
    let spin = look.added(Concept::Spin).max(look.added(Concept::Clock)) / look.limit("spin_share");
    let processor = over(look.grew("cpu_seconds_per_second"), look.limit("processor_factor"));
    all(&[Some(any(&[Some(beside), Some(spin)])), processor.map(|processor| 1.5 * processor)])
}

//! Something turns in a circle beside the requests.

use super::{Detector, Look, all, any, over};
use crate::{concept::Concept, thresholds::threshold};

pub(super) const DETECTOR: Detector = Detector {
    pattern: "busy_loop",
    meaning: "a loop burns the processor without waiting for work",
    looks_at: "CPU time in one function of the application itself, in yielding and in asking for the time, and CPU time in all",
    confirm: "look at that function's stack: it is not below a request handler, or polls without sleeping",
    limits: &[
        threshold(
            "own_share",
            0.20,
            "a loop that runs free takes a core, which is more than a fifth of what services here use",
        ),
        threshold("spin_share", 0.04, "normal operation never yields or polls the clock so often"),
        threshold("processor_factor", 1.3, "below, what the loop takes is not missed by anybody"),
    ],
    look,
};

fn look(look: &mut Look<'_>) -> f64 {
    let own = look.own_function() / look.limit("own_share");
    let spin = look.added(Concept::Spin).max(look.added(Concept::Clock)) / look.limit("spin_share");
    let processor = over(look.grew("cpu_seconds_per_second"), look.limit("processor_factor"));
    // Below a server's handler it is work of requests.
    let served =
        look.quietly("c:server") + look.quietly("c:compare") + look.quietly("c:copy") + look.quietly("c:allocate");
    let beside = (1.0 - 2.0 * served).max(0.0);
    all(&[Some(any(&[Some(own * beside), Some(spin)])), processor])
}

//! Garbage is made faster than the collector likes.

use super::{Detector, Look, all, any, over};
use crate::{concept::Concept, thresholds::threshold};

pub(super) const DETECTOR: Detector = Detector {
    pattern: "gc_pressure",
    meaning: "requests allocate so much that allocating and collecting take the processor",
    looks_at: "CPU time in the allocator and the collector, bytes allocated and collections for each request",
    confirm: "take `/debug/pprof/allocs` on both sides: the first functions of the difference are where the garbage comes from",
    limits: &[
        threshold(
            "collector_share",
            0.03,
            "noise apart, the share differs by less from run to run in development programs at constant load",
        ),
        threshold(
            "allocator_share",
            0.05,
            "as for the collector, with garbage that lives too briefly to be collected much",
        ),
        threshold(
            "bytes_factor",
            1.5,
            "requests of one kind allocate the same within a tenth; loads of another mix within half",
        ),
    ],
    look,
};

fn look(look: &mut Look<'_>) -> f64 {
    let collector = look.added(Concept::Gc) / look.limit("collector_share");
    let allocator = look.added(Concept::Allocate) / look.limit("allocator_share");
    let bytes = over(look.grew("allocated_bytes_per_request"), look.limit("bytes_factor"));
    let runs = over(look.grew("collections_per_request"), look.limit("bytes_factor"));
    let shares = any(&[Some(collector), Some(allocator)]);
    let counted = any(&[bytes, runs]);
    // Without counts the shares have to carry it alone.
    if bytes.or(runs).is_none() { shares / 2.5 } else { all(&[Some(shares), Some(counted)]) }
}

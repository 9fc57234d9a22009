//! Requests wait until a device has kept what they wrote.

use super::{Detector, Look, any, over};
use crate::{concept::Concept, thresholds::threshold};

pub(super) const DETECTOR: Detector = Detector {
    pattern: "fsync",
    meaning: "requests wait for a device to keep what they wrote",
    looks_at: "CPU time in sync calls, sync calls of a request, and who waits for the device",
    confirm: "trace the calls (`strace -f -T -e fsync,fdatasync`): write once for many requests, or use a faster device",
    limits: &[
        threshold(
            "sync_share",
            0.01,
            "a sync call waits; what it costs in CPU time is little, and nothing where nobody calls it",
        ),
        threshold("calls_factor", 1.8, "more calls for each request, not more requests"),
        threshold("waiters_more", 0.3, "a device that keeps up has nobody waiting at most moments"),
    ],
    look,
};

fn look(look: &mut Look<'_>) -> f64 {
    let share = look.added(Concept::Sync) / look.limit("sync_share");
    let calls = over(look.grew("syncs_per_request"), look.limit("calls_factor"));
    let waiters = look.more_waiting("sync").map(|more| more / look.limit("waiters_more"));
    any(&[Some(share), calls, waiters])
}

//! Requests queue up for a lock.
//!
//! Waiting takes no CPU time, so samples hardly show it: the census of goroutines or threads does. What samples show is the
//! little that the lock's slow path and waking cost.

use super::{Detector, Look, all, any, over};
use crate::{concept::Concept, thresholds::threshold};

pub(super) const DETECTOR: Detector = Detector {
    pattern: "lock_contention",
    meaning: "requests wait for each other at a lock",
    looks_at: "goroutines or threads that wait for a mutex, and CPU time in the slow path of locks",
    confirm: "take a mutex profile (`/debug/pprof/mutex`, after `runtime.SetMutexProfileFraction`), or off-CPU stacks: the holder is who to shorten",
    limits: &[
        threshold(
            "waiters_more",
            0.8,
            "real contention of development programs shows one waiter or more at any moment, normal operation none",
        ),
        threshold(
            "waiters_factor",
            4.0,
            "two or three times as many waiters come with load; contention of development programs brings eight times as many",
        ),
        threshold("slow_path_share", 0.03, "normal operation spends less than a hundredth of its CPU time there"),
    ],
    look,
};

fn look(look: &mut Look<'_>) -> f64 {
    let factor = look.both.waiting("lock").map(|(base, now)| (now + 0.2) / (base + 0.2));
    let waiters = look.more_waiting("lock").map(|more| more / look.limit("waiters_more"));
    let census = waiters.map(|waiters| all(&[Some(waiters), over(factor, look.limit("waiters_factor"))]));
    let slow_path = look.added(Concept::Lock) / look.limit("slow_path_share");
    // A queue for the processor piles up at every lock that there is.
    let free = 1.0 - look.saturated();
    any(&[census.map(|census| census * free), Some(slow_path)])
}

//! A neighbour takes the processor: threads are ready and do not run.

use super::{Detector, Look, all, any, over};
use crate::thresholds::threshold;

pub(super) const DETECTOR: Detector = Detector {
    pattern: "runqueue_neighbour",
    meaning: "another process takes the processor; this one waits to run",
    looks_at: "time that ready threads wait for a processor, involuntary switches, and that the program itself does what it did",
    confirm: "look who else runs (`pidstat 1`, `homeostat profile` of the machine); set shares or limits of CPU time, or move it",
    limits: &[
        threshold("wait_factor", 2.0, "twice the waiting"),
        threshold("wait_ms_per_s", 60.0, "six percent of a second: below, nobody feels it"),
        threshold("own_change_max", 0.15, "a program that does something else waits for its own threads"),
    ],
    look,
};

fn look(look: &mut Look<'_>) -> f64 {
    let Some((base, now)) = look.both.metric("runqueue_wait_ms_per_s") else { return 0.0 };
    let wait = over(look.grew("runqueue_wait_ms_per_s"), look.limit("wait_factor"));
    let switches = over(look.grew("involuntary_switches_per_second"), look.limit("wait_factor"));
    let more = (now - base) / look.limit("wait_ms_per_s");
    let changed = crate::vector::added_all(look.both);
    let same = (1.5 - 0.5 * changed / look.limit("own_change_max")).clamp(0.0, 1.0);
    // More work of its own makes threads wait as well.
    let processor = look.both.ratio("cpu_seconds_per_second").unwrap_or(1.0).max(1.0);
    all(&[any(&[wait, switches.map(|switches| 0.7 * switches)]).into(), Some(more)]) * same / processor.powi(2)
}

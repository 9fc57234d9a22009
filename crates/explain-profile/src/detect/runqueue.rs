//! A neighbour takes the processor: threads are ready and do not run.

use super::{Detector, Look, all, over};
use crate::thresholds::threshold;

pub(super) const DETECTOR: Detector = Detector {
    pattern: "runqueue_neighbour",
    meaning: "another process takes the processor; this one waits to run",
    looks_at: "time that ready threads wait for a processor, involuntary switches, and that the program itself does what it did",
    confirm: "look who else runs (`pidstat 1`, `homeostat profile` of the machine); set shares or limits of CPU time, or move it",
    limits: &[
        threshold("wait_factor", 1.8, "waiting differs by half from run to run on a machine that others use too"),
        threshold(
            "wait_per_run",
            2.5,
            "a program that waits more than twice as long as it runs is not the one that keeps the processor busy",
        ),
        threshold("own_change_max", 0.15, "a program that does something else waits for its own threads"),
    ],
    look,
};

fn look(look: &mut Look<'_>) -> f64 {
    let (Some((wait_base, wait_now)), Some((run_base, run_now))) =
        (look.both.metric("runqueue_wait_ms_per_s"), look.both.metric("cpu_seconds_per_second"))
    else {
        return look.nothing_to_look_at();
    };
    // Waiting for each unit of running: a program that does more waits more.
    let relative = |wait: f64, run: f64| wait / (1000.0 * run + 20.0);
    let (base, now) = (relative(wait_base, run_base), relative(wait_now, run_now));
    look.grew("runqueue_wait_ms_per_s");
    look.grew("involuntary_switches_per_second");
    look.evidence.push(format!("waiting for each second of running: {base:.1} s before, {now:.1} s now"));
    // More requests bring more threads that are ready at a time: they wait for each other.
    let load = look.both.ratio("requests_per_second").unwrap_or(1.0).max(1.0);
    let wait = over(Some((now + 0.1) / (base + 0.1) / load), look.limit("wait_factor"));
    let changed = crate::vector::added_all(look.both);
    let same = (1.5 - 0.5 * changed / look.limit("own_change_max")).clamp(0.0, 1.0);
    all(&[wait, Some(now / look.limit("wait_per_run"))]) * same
}

//! Numbers that decide, each with its reason: data, not code.
//!
//! They were set by hand while looking at episodes of three development programs of the corpus (`kv`, `shop`, `wiki`); a reason that
//! speaks of development programs says what was seen there. No sweep stands behind any of them (`docs/explain.md`).

use serde::Serialize;

/// A number that something is held against.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Threshold {
    /// Its name, with its unit.
    pub name: &'static str,
    /// The number.
    pub value: f64,
    /// Why this and no other.
    pub reason: &'static str,
}

/// A threshold. For tables.
pub(crate) const fn threshold(name: &'static str, value: f64, reason: &'static str) -> Threshold {
    Threshold { name, value, reason }
}

/// How alike the best case has to be.
pub(crate) const LIKENESS_MIN: Threshold = threshold(
    "likeness_min",
    0.50,
    "set by hand, between cases of one pattern and cases of two in development programs; not swept",
);

/// What a detector has to see of its limit for cases alone to name its pattern, where all that it looks at was measured.
pub(crate) const SEEN_MIN: Threshold = threshold(
    "seen_min",
    0.25,
    "in development programs, cases that name a pattern of which its detector saw nothing are wrong but for chance; set by hand",
);

/// How much of the votes the first pattern needs.
pub(crate) const AGREEMENT_MIN: Threshold =
    threshold("agreement_min", 0.55, "set by hand: with less than this, two patterns share the votes; not swept");

/// Samples on each side below which cases are not asked: a vector of fewer is mostly empty.
pub(crate) const SAMPLES_MIN: Threshold =
    threshold("samples_min", 800.0, "two standard deviations of a share of 5 % are then 2.2 points");

/// Samples that each side of a comparison should have: the limits of detectors were set while looking at about as many, and a share
/// of one percent is then known to within 0.3 points.
pub const SAMPLES_WANTED: u64 = 5_000;

/// Share of CPU time that has to be added somewhere to say that something moved.
pub(crate) const MOVED_MIN: Threshold =
    threshold("moved_min", 0.04, "normal episodes of development programs add less against each other");

/// Strength of a detector that is told though nothing measurable got worse.
pub(crate) const SPEAK_WITHOUT_HARM: Threshold =
    threshold("speak_without_harm", 1.05, "a deploy or a new endpoint brings work of its own; only an excess is news");

/// By which factor a metric has to grow to be harm.
pub(crate) const HARM: &[Threshold] = &[
    threshold("p99_ms", 1.5, "the slowest of a hundred differ by a third from run to run on a busy machine"),
    threshold("p50_ms", 1.3, "medians of development programs differ by less from run to run"),
    threshold(
        "cpu_ms_per_request",
        1.25,
        "requests of one kind cost the same within a tenth; twice the load makes them cheaper",
    ),
    threshold("goroutines", 2.0, "goroutines follow connections; twice as many are held by something"),
    threshold("threads", 2.0, "as for goroutines"),
    threshold("resident_bytes", 1.6, "memory follows load within a half in development programs"),
    threshold("runqueue_wait_ms_per_s", 2.5, "waiting for a processor differs by half on a busy machine"),
];

/// A pattern that follows from another one.
pub(crate) struct Symptom {
    /// What it follows from.
    pub(crate) cause: &'static str,
    /// What follows.
    pub(crate) follows: &'static str,
    /// Score of the cause from which on the other one steps behind.
    pub(crate) from_score: f64,
}

const fn symptom(cause: &'static str, follows: &'static str, from_score: f64) -> Symptom {
    Symptom { cause, follows, from_score }
}

/// What follows from what: whoever waits for a device or a terminal often holds a lock meanwhile, and whoever works on text
/// makes garbage.
pub(crate) const SYMPTOMS: &[Symptom] = &[
    symptom("fsync", "lock_contention", 0.5),
    symptom("fsync", "sync_logging", 0.5),
    symptom("sync_logging", "lock_contention", 0.5),
    symptom("regex", "gc_pressure", 0.5),
    symptom("reflection_serialisation", "gc_pressure", 0.5),
    symptom("map_growth", "gc_pressure", 0.5),
    symptom("connection_churn", "n_plus_one", 0.5),
    symptom("connection_churn", "goroutine_leak", 0.6),
    symptom("regex", "quadratic", 0.5),
    symptom("reflection_serialisation", "quadratic", 0.5),
    symptom("gc_pressure", "quadratic", 0.6),
    symptom("n_plus_one", "connection_churn", 0.5),
    symptom("n_plus_one", "lock_contention", 0.5),
    symptom("connection_churn", "lock_contention", 0.5),
    symptom("connection_churn", "runqueue_neighbour", 0.5),
    symptom("n_plus_one", "runqueue_neighbour", 0.5),
    symptom("sync_logging", "runqueue_neighbour", 0.5),
    symptom("fsync", "runqueue_neighbour", 0.5),
    symptom("regex", "runqueue_neighbour", 0.5),
    symptom("sync_logging", "reflection_serialisation", 0.5),
    symptom("sync_logging", "quadratic", 0.5),
    symptom("map_growth", "lock_contention", 0.5),
    symptom("map_growth", "quadratic", 0.5),
    symptom("map_growth", "goroutine_leak", 0.5),
    // Threads that never end wait for something, often at a lock; a queue at a lock begins no threads without end.
    symptom("goroutine_leak", "lock_contention", 0.6),
    symptom("regex", "lock_contention", 0.5),
    symptom("reflection_serialisation", "lock_contention", 0.5),
    symptom("gc_pressure", "lock_contention", 0.5),
    symptom("busy_loop", "lock_contention", 0.5),
    symptom("busy_loop", "quadratic", 0.5),
    symptom("quadratic", "lock_contention", 0.5),
    symptom("runqueue_neighbour", "lock_contention", 0.5),
];

/// Share of CPU time that work outside of all patterns has to gain to make names doubtful.
pub(crate) const STRANGER_MIN: Threshold =
    threshold("stranger_min", 0.06, "a service that begins to do so much of something else is no known pattern");

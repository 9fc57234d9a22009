//! Regular expressions under a handler, compiled for each request or matched at length.

use super::{Detector, Look, any};
use crate::{concept::Concept, thresholds::threshold};

pub(super) const DETECTOR: Detector = Detector {
    pattern: "regex",
    meaning: "requests compile or match regular expressions at length",
    looks_at: "CPU time in regular expressions",
    confirm: "see who calls them in the flame graph: compile once outside of handlers, anchor, or replace by plain search",
    limits: &[
        threshold(
            "match_share",
            0.05,
            "matching of routes and the like stays below a hundredth in development programs",
        ),
        threshold("compile_share", 0.02, "nothing compiles expressions while it serves"),
    ],
    look,
};

fn look(look: &mut Look<'_>) -> f64 {
    let all = look.added(Concept::Regex) / look.limit("match_share");
    let compile = look.added(Concept::RegexCompile) / look.limit("compile_share");
    any(&[Some(all), Some(compile)])
}

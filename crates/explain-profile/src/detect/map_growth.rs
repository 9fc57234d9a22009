//! A map or cache that only grows.

use super::{Detector, Look, any, over};
use crate::{concept::Concept, thresholds::threshold};

pub(super) const DETECTOR: Detector = Detector {
    pattern: "map_growth",
    meaning: "a map grows without end: entries are added and never taken out",
    looks_at: "CPU time in inserting and in growing maps, and memory",
    confirm: "take two heap profiles (`/debug/pprof/heap`) some minutes apart: the map's buckets grow, and nothing removes entries",
    limits: &[
        threshold(
            "grow_share",
            0.008,
            "maps of constant size never grow; filling one during start is over before a baseline is taken",
        ),
        threshold("insert_share", 0.05, "requests that fill maps of their own stay within this"),
        threshold("memory_factor", 1.5, "memory of development programs stays within a quarter at constant load"),
    ],
    look,
};

fn look(look: &mut Look<'_>) -> f64 {
    let grow = look.added(Concept::MapGrow) / look.limit("grow_share");
    let insert = look.added(Concept::MapWrite) / look.limit("insert_share");
    let memory = any(&[
        over(look.grew("heap_bytes"), look.limit("memory_factor")),
        over(look.grew("resident_bytes"), look.limit("memory_factor")),
    ]);
    let known = look.both.metric("resident_bytes").is_some();
    // Growing maps that do not fill memory are small ones that requests throw away.
    let held = if known { (0.4 + 0.6 * memory).min(1.5) } else { 0.8 };
    any(&[Some(grow), Some(insert)]) * held
}

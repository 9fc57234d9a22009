//! Goroutines or threads are started and never end.

use super::{Detector, Look, all, over};
use crate::thresholds::threshold;

pub(super) const DETECTOR: Detector = Detector {
    pattern: "goroutine_leak",
    meaning: "goroutines or threads are started and never end",
    looks_at: "how many there are, and which of them became more",
    confirm: "take `/debug/pprof/goroutine?debug=1` twice: one stack's count only grows; see what it waits for and who should end it",
    limits: &[
        threshold("count_factor", 2.0, "connections and their goroutines follow the load within half"),
        threshold("count_more", 40.0, "a pool that grows by some workers is no leak"),
    ],
    look,
};

fn look(look: &mut Look<'_>) -> f64 {
    let counted = look.both.metric("goroutines").or_else(|| look.both.metric("threads"));
    let census = look.both.census().map(|(base, now)| (base.total(), now.total()));
    let name = if look.both.metric("goroutines").is_some() { "goroutines" } else { "threads" };
    let Some((base, now)) = counted.into_iter().chain(census).max_by(|a, b| (a.1 - a.0).total_cmp(&(b.1 - b.0))) else {
        return 0.0;
    };
    // Load brings goroutines of its own.
    let load = look.both.ratio("requests_per_second").unwrap_or(1.0).max(1.0);
    if base < now {
        look.evidence.push(format!("{name}: {base:.0} before, {now:.0} now"));
    }
    let places = look.both.now.census.iter().flat_map(|census| &census.places);
    let before =
        |place| look.both.base.census.as_ref().and_then(|census| census.places.get(place)).copied().unwrap_or(0.0);
    let grown = places.map(|(place, count)| (count - before(place), place)).max_by(|a, b| a.0.total_cmp(&b.0));
    if let Some((more, (reason, function))) = grown.filter(|(more, _)| 1.0 < *more) {
        look.evidence.push(format!("{more:.0} more wait for {} in {function}", reason.replace('_', " ")));
    }
    let factor = over(Some((now + 10.0) / (base * load + 10.0)), look.limit("count_factor"));
    all(&[factor, Some((now - base * load) / look.limit("count_more"))])
}

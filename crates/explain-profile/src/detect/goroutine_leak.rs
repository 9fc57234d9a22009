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
        threshold("count_more", 60.0, "a pool that grows by some workers is no leak"),
        threshold(
            "growing_share",
            0.5,
            "a queue has its length after a moment; a leak goes on while it is looked at, so most of it is of that time",
        ),
        threshold(
            "of_one_place",
            5000.0,
            "so many that one place has started, that wait for the same and have not ended, are a leak however many others there are",
        ),
    ],
    look,
};

fn look(look: &mut Look<'_>) -> f64 {
    let (goroutines, threads) = (look.both.metric("goroutines"), look.both.metric("threads"));
    let census = look.both.census();
    let of_threads = goroutines.is_none() && (threads.is_some() || census.is_some_and(|(_, now)| now.of_threads));
    let counted = || census.map(|(base, now)| (base.total(), now.total()));
    let Some((base, now)) = goroutines.or(threads).or_else(counted) else { return 0.0 };
    // Load brings goroutines of its own.
    let load = look.both.ratio("requests_per_second").unwrap_or(1.0).max(1.0);
    if base < now {
        let name = if of_threads { "threads" } else { "goroutines" };
        look.evidence.push(format!("{name}: {base:.0} before, {now:.0} now"));
    }
    let alike = match one_place(look) {
        Some(0.0) if of_threads => Some(still_growing(look, now - base)),
        other => other,
    };
    let factor = over(Some((now + 10.0) / (base * load + 10.0)), look.limit("count_factor"));
    let more = Some((now - base * load) / look.limit("count_more"));
    let together = all(&[factor, more]) * alike.unwrap_or(0.6);
    together.max(of_one_place(look, load))
}

/// Reasons for which requests wait, many at a time, and then go on.
const QUEUES: [&str; 5] = ["lock", "network", "sync", "file", "system_call"];

/// Growth by who started them (where they wait, when nobody knows) and what they wait for, where it is largest, over its limit.
/// The load may have brought as many times more as it grew itself.
fn of_one_place(look: &mut Look<'_>, load: f64) -> f64 {
    let Some((base, now)) = look.both.census() else { return 0.0 };
    let is_known = !base.started.is_empty() && !now.started.is_empty();
    let (before, after) = if is_known { (&base.started, &now.started) } else { (&base.places, &now.places) };
    let waits = after.iter().filter(|((reason, who), _)| !who.is_empty() && !QUEUES.contains(&reason.as_str()));
    let grown = waits.map(|(place, count)| (count - load * before.get(place).copied().unwrap_or(0.0), place));
    let Some((more, (reason, who))) = grown.max_by(|a, b| a.0.total_cmp(&b.0)) else { return 0.0 };
    let strength = more / look.limit("of_one_place");
    // Fewer are nothing: what is told of them the others say.
    if strength < 1.0 {
        return 0.0;
    }
    let begun = if is_known { format!("that {who} started") } else { format!("in {who}") };
    look.evidence.push(format!("{more:.0} more {begun} wait for {}, and have not ended", reason.replace('_', " ")));
    strength
}

/// How much of the growth waits at one place of the application, 0 to 1; `None` without a census. A queue of requests grows at
/// many places, most of them the server's own or a lock.
fn one_place(look: &mut Look<'_>) -> Option<f64> {
    let (base, now) = look.both.census()?;
    let before = |place| base.places.get(place).copied().unwrap_or(0.0);
    let grown: Vec<_> = now.places.iter().map(|(place, count)| (count - before(place), place)).collect();
    let all: f64 = grown.iter().map(|(more, _)| more.max(0.0)).sum();
    let (more, (reason, function)) = grown.into_iter().max_by(|a, b| a.0.total_cmp(&b.0))?;
    if more <= 1.0 {
        return Some(0.0);
    }
    let place = if function.is_empty() { String::new() } else { format!(" in {function}") };
    look.evidence.push(format!("{more:.0} more wait for {}{place}", reason.replace('_', " ")));
    let queue = function.is_empty() || QUEUES.contains(&reason.as_str());
    let share = more / all;
    Some(if queue { 0.0 } else { ((share - 0.4) / 0.3).clamp(0.0, 1.0) })
}

/// Whether most of the growth happened while it was looked at, as 0 or 1. A census of threads knows the kernel's functions alone,
/// where a queue at a lock and threads that wait for ever look alike; only one of them goes on growing.
fn still_growing(look: &mut Look<'_>, more: f64) -> f64 {
    let (Some((_, grown)), true) = (look.both.metric("threads_grown"), 0.0 < more) else { return 0.0 };
    // Threads that read from the network are connections; clients open more of them when answers are late.
    if most_grown(look).as_deref() == Some("network") {
        return 0.0;
    }
    let share = grown / more / look.limit("growing_share");
    if 1.0 <= share {
        look.evidence.push(format!("{grown:.0} of them began while it was looked at"));
    }
    if 1.0 <= share { 1.0 } else { 0.0 }
}

/// The reason that most more wait for.
fn most_grown(look: &Look<'_>) -> Option<String> {
    let (base, now) = look.both.census()?;
    let more = |reason: &String| now.waiting(reason) - base.waiting(reason);
    now.reasons.keys().max_by(|a, b| more(a).total_cmp(&more(b))).cloned()
}

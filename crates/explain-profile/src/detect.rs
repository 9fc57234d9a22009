//! Detectors that people can read: one file each, one pattern each.
//!
//! A detector looks at both sides of a change and holds what it sees against its limits. What it sees over its limit is a
//! *strength*: 1 is just enough to speak, 2 is twice that. Strengths join like logic: all of them is the weakest, any of them the
//! strongest; what was not measured takes no part. Each number that it looked at becomes a line of evidence with both sides.
//!
//! Not here: which of several that speak comes first (`explain`).
//! Invariant: limits are data with a reason; no detector knows a program's names.

mod busy_loop;
mod connection_churn;
mod fsync;
mod gc_pressure;
mod goroutine_leak;
mod lock_contention;
mod map_growth;
mod n_plus_one;
mod quadratic;
mod reflection;
mod regex;
mod runqueue;
#[cfg(test)]
mod scripts;
mod sync_logging;

use serde::Serialize;

use crate::{comparison::Comparison, concept::Concept, thresholds::Threshold};

/// All detectors.
pub const DETECTORS: &[&Detector] = &[
    &lock_contention::DETECTOR,
    &sync_logging::DETECTOR,
    &reflection::DETECTOR,
    &regex::DETECTOR,
    &gc_pressure::DETECTOR,
    &map_growth::DETECTOR,
    &busy_loop::DETECTOR,
    &fsync::DETECTOR,
    &n_plus_one::DETECTOR,
    &connection_churn::DETECTOR,
    &goroutine_leak::DETECTOR,
    &quadratic::DETECTOR,
    &runqueue::DETECTOR,
];

/// Standard deviations of noise that a share has to leave behind before a detector counts it.
const NOISE_DEVIATIONS: f64 = 2.0;

/// A rule for one pattern.
pub struct Detector {
    /// The pattern's name.
    pub pattern: &'static str,
    /// What the pattern is, in a sentence for people.
    pub meaning: &'static str,
    /// What the rule looks at.
    pub looks_at: &'static str,
    /// How a person makes sure.
    pub confirm: &'static str,
    /// What it is held against.
    pub limits: &'static [Threshold],
    /// How strongly the pattern shows.
    look: fn(&mut Look<'_>) -> f64,
}

impl std::fmt::Debug for Detector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Detector").field("pattern", &self.pattern).finish_non_exhaustive()
    }
}

/// What a detector saw.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Finding {
    /// The pattern's name.
    pub pattern: &'static str,
    /// 1 is just enough to speak.
    pub strength: f64,
    /// What was looked at, with the numbers of both sides.
    pub evidence: Vec<String>,
    /// What the rule looks at was not measured: that it saw nothing says nothing.
    pub blind: bool,
    /// Census and numbers alone are enough for it to speak, however few samples of CPU time there are.
    pub without_samples: bool,
}

impl Detector {
    /// Looks at a change, and at what of it can be seen `beside` samples of CPU time.
    pub(crate) fn look(&self, both: &Comparison, beside: &Comparison) -> Finding {
        let (strength, Look { evidence, blind, .. }) = self.strength(both);
        let without_samples = 1.0 <= strength && 1.0 <= self.strength(beside).0;
        Finding { pattern: self.pattern, strength, evidence, blind, without_samples }
    }

    fn strength<'a>(&self, both: &'a Comparison) -> (f64, Look<'a>) {
        let mut look = Look { both, limits: self.limits, evidence: Vec::new(), blind: false };
        let strength = (self.look)(&mut look);
        // Nothing times less than nothing is a zero with a sign.
        let strength = if strength.is_finite() { strength.clamp(0.0, STRENGTH_MAX) + 0.0 } else { 0.0 };
        (strength, look)
    }
}

/// A strength beyond which more is not surer.
const STRENGTH_MAX: f64 = 20.0;

/// What a detector works with: numbers over limits, and a note of each.
pub(crate) struct Look<'a> {
    both: &'a Comparison,
    limits: &'static [Threshold],
    evidence: Vec<String>,
    blind: bool,
}

impl Look<'_> {
    /// The strength of a rule whose very subject was not measured.
    fn nothing_to_look_at(&mut self) -> f64 {
        self.blind = true;
        0.0
    }

    /// A limit of this detector. A name that is not in its table is a mistake that the tests of the tables find.
    fn limit(&self, name: &str) -> f64 {
        let limit = self.limits.iter().find(|limit| limit.name == name);
        debug_assert!(limit.is_some(), "there is no limit {name}");
        limit.map_or(f64::INFINITY, |limit| limit.value)
    }

    /// Share of CPU time that code of a concept gained beyond noise, with what it calls.
    fn added(&mut self, concept: Concept) -> f64 {
        self.gained(&format!("c:{}", concept.name()), concept.name())
    }

    /// The same while that code ran itself.
    fn added_own(&mut self, concept: Concept) -> f64 {
        self.gained(&format!("C:{}", concept.name()), &format!("{} itself", concept.name()))
    }

    /// Share that a key gained beyond noise.
    fn gained(&mut self, key: &str, called: &str) -> f64 {
        let share = self.both.share(key);
        let gained = share.beyond(NOISE_DEVIATIONS).max(0.0);
        if 0.0 < gained {
            let (base, now) = (100.0 * share.base, 100.0 * share.now);
            self.evidence.push(format!("{called}: {base:.1} % of CPU time before, {now:.1} % now"));
        }
        gained
    }

    /// Share that a key gained, for conditions that are not evidence.
    fn quietly(&self, key: &str) -> f64 {
        self.both.share(key).beyond(NOISE_DEVIATIONS).max(0.0)
    }

    /// By which factor a metric grew; `None` when it was not measured.
    fn grew(&mut self, metric: &str) -> Option<f64> {
        let ratio = self.both.ratio(metric)?;
        let (base, now) = self.both.metric(metric)?;
        if 1.1 < ratio {
            let called = metric.replace('_', " ");
            self.evidence.push(format!("{called}: {} before, {} now", number(base), number(now)));
        }
        Some(ratio)
    }

    /// How many more wait for a reason, in goroutines or threads; `None` without a census.
    fn more_waiting(&mut self, reason: &str) -> Option<f64> {
        let (base, now) = self.both.waiting(reason)?;
        if base < now {
            self.evidence.push(format!("waiting for {}: {base:.1} before, {now:.1} now", reason.replace('_', " ")));
            let places = self.both.now.census.iter().flat_map(|census| &census.places);
            let most = places.filter(|((why, function), _)| why == reason && !function.is_empty());
            if let Some(((_, function), count)) = most.max_by(|a, b| a.1.total_cmp(b.1)) {
                self.evidence.push(format!("{count:.1} of them in {function}"));
            }
        }
        Some(now - base)
    }

    /// Share that was gained below outermost functions of the application that hardly ran before: work of its own, not of
    /// requests.
    fn beside_requests(&mut self) -> f64 {
        let (mut most, mut sum) = (None::<(f64, &str)>, 0.0);
        for key in self.both.now.cpu.keys.keys().filter(|key| key.starts_with("R:")) {
            let (share, gained) = (self.both.share(key), self.quietly(key));
            if share.base < 0.02 && 0.0 < gained {
                sum += gained;
                if most.is_none_or(|(before, _)| before < gained) {
                    most = key.strip_prefix("R:").map(|name| (gained, name));
                }
            }
        }
        if let Some((_, name)) = most {
            let share = self.both.share(&format!("R:{name}"));
            let (base, now) = (100.0 * share.base, 100.0 * share.now);
            self.evidence.push(format!("below {name}: {base:.1} % of CPU time before, {now:.1} % now"));
        }
        sum
    }

    /// How much a queue explains a wait, 0 to 1: threads that wait for a processor switch less of their own will, wait longer for
    /// it, or have more to do, and make everybody wait for everybody. What was not measured says nothing.
    fn saturated(&self) -> f64 {
        let from = |metric: &str, tells: fn(f64) -> f64| Some(tells(self.both.ratio(metric)?).clamp(0.0, 1.0));
        any(&[
            from("voluntary_switches_per_request", |ratio| (1.0 - ratio) / 0.25),
            from("runqueue_wait_ms_per_s", |ratio| ratio - 1.3),
            from("cpu_ms_per_request", |ratio| (ratio - 1.15) / 0.3),
        ])
    }

    /// Tells which of the application's functions gained most while they ran themselves, and by how much.
    fn own_function(&mut self) -> f64 {
        let keys = self.both.now.cpu.keys.keys().filter(|key| key.starts_with("a:"));
        let gained = keys.map(|key| (self.quietly(key), key)).max_by(|a, b| a.0.total_cmp(&b.0));
        let Some((gained, key)) = gained.filter(|(gained, _)| 0.0 < *gained) else { return 0.0 };
        let share = self.both.share(key);
        let name = key.strip_prefix("a:").unwrap_or(key);
        self.evidence.push(format!(
            "{name} itself: {:.1} % of CPU time before, {:.1} % now",
            100.0 * share.base,
            100.0 * share.now
        ));
        gained
    }
}

/// Any of them: the strongest; 0 when none was measured.
fn any(strengths: &[Option<f64>]) -> f64 {
    strengths.iter().flatten().copied().fold(0.0, f64::max)
}

/// All of them that were measured: the weakest; 0 when none was.
fn all(strengths: &[Option<f64>]) -> f64 {
    strengths.iter().flatten().copied().reduce(f64::min).unwrap_or(0.0)
}

/// A factor of growth over the factor that is the limit: logarithms, so that twice the strength is the square of the factor.
fn over(factor: Option<f64>, limit: f64) -> Option<f64> {
    factor.map(|factor| (factor.max(1.0).ln() / limit.ln()).max(0.0))
}

/// A number with three digits.
fn number(value: f64) -> String {
    match value.abs() {
        big if 1e9 <= big => format!("{:.1}G", value / 1e9),
        big if 1e6 <= big => format!("{:.1}M", value / 1e6),
        big if 1e4 <= big => format!("{:.1}k", value / 1e3),
        big if 100.0 <= big => format!("{value:.0}"),
        big if 1.0 <= big => format!("{value:.1}"),
        _ => format!("{value:.4}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::comparison::View;

    #[test]
    fn tables_are_whole() {
        let mut names = Vec::new();
        for detector in DETECTORS {
            names.push(detector.pattern);
            assert!(!detector.limits.is_empty() && !detector.confirm.is_empty(), "{}", detector.pattern);
            for limit in detector.limits {
                assert!(limit.value.is_finite() && 8 < limit.reason.len(), "{} {}", detector.pattern, limit.name);
            }
        }
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), DETECTORS.len());
        assert!(12 <= names.len());
    }

    #[test]
    fn nothing_measured_is_nothing_seen() {
        for detector in DETECTORS {
            let nothing = Comparison::of(View::default(), View::default());
            let seen = detector.look(&nothing, &nothing);
            assert!(seen.strength < 1.0, "{seen:?}");
        }
    }
}

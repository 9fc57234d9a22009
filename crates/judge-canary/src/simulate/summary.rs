//! Many runs in a few numbers.

use homeostat_model::Span;

use super::Run;

/// Both ends of an interval.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Interval {
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

/// What the runs have in common. Percentiles are over *all* runs: one that found nothing counts as later than any
/// other, so a percentile is `None` if it falls among those.
#[derive(Clone, Debug, PartialEq)]
pub struct Summary {
    /// Number of runs.
    pub runs: u64,
    /// Runs in which the verdict "worse" fell.
    pub detected: u64,
    /// Exact 95 % confidence interval (Clopper and Pearson) of the share of such runs.
    pub detected_interval: Interval,
    /// Time to the verdict from the start, median.
    pub after_p50: Option<Span>,
    /// Time to the verdict from the start, 95th percentile.
    pub after_p95: Option<Span>,
    /// Time to the verdict from the first bad response, median.
    pub after_first_bad_p50: Option<Span>,
    /// Time to the verdict from the first bad response, 95th percentile.
    pub after_first_bad_p95: Option<Span>,
    /// Canary requests that failed until the verdict or the end, median.
    pub harmed_p50: u64,
    /// Canary requests that failed until the verdict or the end, 95th percentile.
    pub harmed_p95: u64,
}

impl Summary {
    /// Sums runs up, in any order; `None` without runs.
    pub fn of(runs: &[Run]) -> Option<Self> {
        let detected = runs.iter().filter(|run| run.detected_after.is_some()).count() as u64;
        let times = |of: fn(&Run) -> Option<Span>| sorted(runs.iter().map(|run| of(run).unwrap_or(NEVER)));
        let after = times(|run| run.detected_after);
        let after_first_bad = times(|run| run.detected_after_first_bad);
        let harmed = sorted(runs.iter().map(|run| run.harmed));
        let time = |times: &[Span], share| percentile(times, share).filter(|span| *span != NEVER);
        Some(Self {
            runs: runs.len() as u64,
            detected,
            detected_interval: clopper_pearson(detected, runs.len() as u64, 0.95),
            after_p50: time(&after, 0.5),
            after_p95: time(&after, 0.95),
            after_first_bad_p50: time(&after_first_bad, 0.5),
            after_first_bad_p95: time(&after_first_bad, 0.95),
            harmed_p50: percentile(&harmed, 0.5)?,
            harmed_p95: percentile(&harmed, 0.95)?,
        })
    }

    /// Share of runs in which the verdict "worse" fell, 0 to 1.
    pub fn detected_share(&self) -> f64 {
        self.detected as f64 / self.runs as f64
    }
}

const NEVER: Span = Span::from_ns(u64::MAX);

fn sorted<T: Ord>(values: impl Iterator<Item = T>) -> Vec<T> {
    let mut values: Vec<T> = values.collect();
    values.sort_unstable();
    values
}

/// Nearest rank: the smallest value that at least `share` of all do not exceed.
fn percentile<T: Copy>(sorted: &[T], share: f64) -> Option<T> {
    let rank = (share * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.max(1) - 1).copied()
}

/// Exact confidence interval for a share of which `hits` of `trials` were seen; all of 0 to 1 without trials.
///
/// Source: Clopper, Pearson, "The use of confidence or fiducial limits illustrated in the case of the binomial" (1934).
pub fn clopper_pearson(hits: u64, trials: u64, confidence: f64) -> Interval {
    let tail = (1.0 - confidence) / 2.0;
    // Each end is where the chance of something at least as extreme has fallen to `tail`.
    let low = if hits == 0 { 0.0 } else { bisect(|share| 1.0 - at_most(hits - 1, trials, share) < tail) };
    let high = if hits >= trials { 1.0 } else { bisect(|share| at_most(hits, trials, share) > tail) };
    Interval { low, high }
}

/// The share up to which `holds` is true.
fn bisect(holds: impl Fn(f64) -> bool) -> f64 {
    let (mut low, mut high) = (0.0, 1.0);
    // 60 halvings reach the resolution of the numbers near 1, and 1e-18 near 0.
    for _ in 0..60 {
        let middle = f64::midpoint(low, high);
        if holds(middle) {
            low = middle;
        } else {
            high = middle;
        }
    }
    f64::midpoint(low, high)
}

/// Chance of at most `hits` in `trials` at this share.
fn at_most(hits: u64, trials: u64, share: f64) -> f64 {
    let ln_odds = share.ln() - (-share).ln_1p();
    let mut ln_chance = trials as f64 * (-share).ln_1p();
    let mut sum = ln_chance.exp();
    for hit in 1..=hits {
        ln_chance += ln_odds + ((trials - hit + 1) as f64 / hit as f64).ln();
        sum += ln_chance.exp();
    }
    sum.min(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_match_published_tables() {
        // 0 of n: 1 - 0.025^(1/n); 5 of 10 and 1 of 100 from tables of exact binomial limits.
        for (hits, trials, low, high) in
            [(0, 10, 0.0, 0.3085), (5, 10, 0.1871, 0.8129), (1, 100, 0.000_253, 0.054_5), (10, 10, 0.6915, 1.0)]
        {
            let found = clopper_pearson(hits, trials, 0.95);
            assert!((found.low - low).abs() < 1e-4 && (found.high - high).abs() < 1e-4, "{hits}/{trials}: {found:?}");
        }
        let all = clopper_pearson(9_990, 10_000, 0.95);
        assert!((all.low - 0.998_162).abs() < 1e-5 && (all.high - 0.999_520).abs() < 1e-5, "{all:?}");
    }

    #[test]
    fn a_run_without_verdict_counts_as_later_than_any_other() {
        let run = |ms: Option<u64>| Run {
            detected_after: ms.map(Span::from_ms),
            detected_after_first_bad: ms.map(Span::from_ms),
            harmed: ms.unwrap_or(9),
        };
        let summary = Summary::of(&[run(Some(30)), run(None), run(Some(10)), run(Some(20))]);
        let summary = summary.expect("there are runs");
        assert_eq!((summary.after_p50, summary.after_p95), (Some(Span::from_ms(20)), None));
        assert_eq!((summary.detected, summary.harmed_p50), (3, 10));
        assert!(Summary::of(&[]).is_none());
    }
}

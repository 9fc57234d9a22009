//! Both sides of a change together: shares with their noise, what was added, and everything else that was measured.
//!
//! Shares add up to one: when something new takes half of the time, everything else halves its share without having
//! changed. `kept` estimates by how much: the ratio of now to before in the median of all functions, weighed by their share
//! before. What a key has beyond that is what was *added*, and stays put when the rest only makes room.
//!
//! Not here: the test of single functions with its correction (`diff`), judgement (`detect`, `retrieve`).
//! Source for the spread: see `diff`.

use crate::{
    census::Census,
    counted::Counted,
    diff::spread,
    evidence::{Evidence, METRICS, Metric, read},
    thresholds::SAMPLES_MIN,
};

/// Share before below which a function says nothing about `kept`.
const KEPT_SHARE_MIN: f64 = 0.004;
/// Bounds of `kept`: more than a tenth must stay to be told from a different program, and a quarter more is what remains
/// when a fifth vanishes.
const KEPT: (f64, f64) = (0.1, 1.25);

/// What is known about one side.
#[derive(Clone, Debug, Default)]
pub(crate) struct View {
    /// Samples of CPU time.
    pub(crate) cpu: Counted,
    /// Who waits, when that was counted.
    pub(crate) census: Option<Census>,
    /// Everything else.
    pub(crate) evidence: Evidence,
}

/// A key's share on both sides, 0 to 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Share {
    /// Before.
    pub(crate) base: f64,
    /// Now.
    pub(crate) now: f64,
    /// Now beyond what was kept of before.
    pub(crate) added: f64,
    /// How much `added` differs by chance (one standard deviation).
    pub(crate) noise: f64,
}

impl Share {
    /// Added beyond this many standard deviations, or zero; the sign is that of `added`.
    pub(crate) fn beyond(&self, deviations: f64) -> f64 {
        self.added.signum() * (self.added.abs() - deviations * self.noise).max(0.0)
    }
}

/// Both sides.
#[derive(Clone, Debug)]
pub(crate) struct Comparison {
    /// Before.
    pub(crate) base: View,
    /// Now.
    pub(crate) now: View,
    /// What unchanged work has of its share before.
    pub(crate) kept: f64,
}

impl Comparison {
    /// Puts two sides together.
    pub(crate) fn of(base: View, now: View) -> Self {
        let kept = kept(&base.cpu, &now.cpu);
        Self { base, now, kept }
    }

    /// The same with nothing but census and numbers.
    pub(crate) fn without_samples(&self) -> Self {
        let side = |View { census, evidence, .. }: &View| View {
            cpu: Counted::default(),
            census: census.clone(),
            evidence: evidence.clone(),
        };
        Self::of(side(&self.base), side(&self.now))
    }

    /// A key of `counted` on both sides.
    pub(crate) fn share(&self, key: &str) -> Share {
        let side = |counted: &Counted| -> Vec<(f64, f64)> {
            let under = counted.keys.get(key).map_or(&[][..], Vec::as_slice);
            let count = |at: usize| under.get(at).copied().unwrap_or(0.0);
            counted.windows.iter().enumerate().filter(|(_, n)| 0.0 < **n).map(|(at, n)| (count(at), *n)).collect()
        };
        let (base, now) = (self.base.cpu.share(key), self.now.cpu.share(key));
        let noise = spread(&side(&self.base.cpu), &side(&self.now.cpu)).map_or(0.0, |spread| spread.deviation());
        Share { base, now, added: now - self.kept * base, noise: noise.max(self.chance(base, now)) }
    }

    /// What a share scatters by chance alone where a side has so few samples that its windows cannot tell: the standard deviation
    /// of the difference of two binomial shares. Source: Agresti and Caffo, "Simple and Effective Confidence Intervals for
    /// Proportions", 2000: one sample more with and one without, on each side.
    fn chance(&self, base: f64, now: f64) -> f64 {
        let (of_base, of_now) = (self.base.cpu.samples(), self.now.cpu.samples());
        if of_base.min(of_now) < 1.0 || SAMPLES_MIN.value <= of_base.min(of_now) {
            return 0.0;
        }
        let variance = |share: f64, samples: f64| {
            let share = (share * samples + 1.0) / (samples + 2.0);
            share * (1.0 - share) / (samples + 2.0)
        };
        (variance(base, of_base) + variance(now, of_now)).max(0.0).sqrt()
    }

    /// A metric on both sides; `None` when one of them does not have it.
    pub(crate) fn metric(&self, name: &str) -> Option<(f64, f64)> {
        let metric = METRICS.iter().find(|metric| metric.name == name)?;
        Some((read(&self.base.evidence, metric)?, read(&self.now.evidence, metric)?))
    }

    /// By which factor a metric grew, with what is too little to matter added on both sides.
    pub(crate) fn ratio(&self, name: &str) -> Option<f64> {
        let metric = METRICS.iter().find(|metric| metric.name == name)?;
        let (base, now) = self.metric(name)?;
        Some((now + metric.little) / (base + metric.little))
    }

    /// All metrics that both sides have, with their ratio.
    pub(crate) fn ratios(&self) -> impl Iterator<Item = (&'static Metric, f64)> + '_ {
        METRICS.iter().filter_map(|metric| Some((metric, self.ratio(metric.name)?)))
    }

    /// How many wait for a reason on both sides; `None` without a census of both.
    pub(crate) fn waiting(&self, reason: &str) -> Option<(f64, f64)> {
        Some((self.base.census.as_ref()?.waiting(reason), self.now.census.as_ref()?.waiting(reason)))
    }

    /// Both censuses.
    pub(crate) fn census(&self) -> Option<(&Census, &Census)> {
        Some((self.base.census.as_ref()?, self.now.census.as_ref()?))
    }
}

/// The median ratio, weighed by the share before. See the module.
fn kept(base: &Counted, now: &Counted) -> f64 {
    let own = base.keys.keys().filter(|key| key.starts_with("a:") || (key.starts_with("s:") && &***key != "s:<app>"));
    let mut ratios: Vec<(f64, f64)> = own
        .map(|key| (base.share(key), now.share(key)))
        .filter(|(base, _)| KEPT_SHARE_MIN <= *base)
        .map(|(base, now)| (now / base, base))
        .collect();
    ratios.sort_by(|a, b| a.0.total_cmp(&b.0));
    let half = ratios.iter().map(|(_, weight)| weight).sum::<f64>() / 2.0;
    let mut sum = 0.0;
    for (ratio, weight) in ratios {
        sum += weight;
        if half <= sum {
            return ratio.clamp(KEPT.0, KEPT.1);
        }
    }
    1.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::folded;

    fn view(lines: &str) -> View {
        View { cpu: folded(lines), ..View::default() }
    }

    #[test]
    fn what_only_makes_room_was_not_added() {
        let before = view("main.a 400\nmain.b 300\nmain.c 300");
        let now = view("main.a 400\nmain.b 300\nmain.c 300\nregexp.x 1000");
        let both = Comparison::of(before, now);
        assert!((both.kept - 0.5).abs() < 1e-9);
        let (a, new) = (both.share("a:main.a"), both.share("t:regexp.x"));
        assert!(a.added.abs() < 1e-9 && (a.base - 0.4).abs() < 1e-9 && (a.now - 0.2).abs() < 1e-9);
        assert!((new.added - 0.5).abs() < 1e-9 && 0.0 < new.noise && 0.3 < new.beyond(2.0));
        assert!(a.beyond(2.0).abs() < 1e-12);
    }

    #[test]
    fn a_share_of_few_samples_scatters() {
        let before = || view("main.a 500\nmain.b 500");
        let few = Comparison::of(before(), view("main.a 11\nmain.b 8\nmain.c 1")).share("a:main.c");
        assert!(few.noise > 0.03 && few.beyond(2.0).abs() < 1e-9, "{few:?}");
        let many = Comparison::of(before(), view("main.a 480\nmain.b 320\nmain.c 80")).share("a:main.c");
        assert!(0.02 < many.beyond(2.0), "{many:?}");
    }

    #[test]
    fn metrics_are_for_each_request_and_absent_when_unknown() {
        let evidence = |rate: f64, cpu: f64| {
            Evidence::from([
                ("requests_per_second".to_owned(), rate),
                ("cpu_seconds".to_owned(), cpu),
                ("seconds".to_owned(), 10.0),
            ])
        };
        let mut both = Comparison::of(View::default(), View::default());
        both.base.evidence = evidence(100.0, 2.0);
        both.now.evidence = evidence(200.0, 4.0);
        assert!((both.ratio("cpu_ms_per_request").unwrap() - 1.0).abs() < 1e-9);
        assert_eq!(both.ratio("p99_ms"), None);
        assert_eq!(both.waiting("lock"), None);
    }
}

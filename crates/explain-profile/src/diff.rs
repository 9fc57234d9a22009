//! The test of one function's share, and the choice among all of them.
//!
//! For a function and a side `s` with windows `j`, let `x` be its samples and `n` all samples. Its share is
//! `p_s = sum x / sum n`. Samples of one window come in bursts (a collection, a batch, a busy neighbour), so the share
//! varies more than independent samples would: by a factor `phi`, estimated from windows of the same side,
//!
//! ```text
//! phi = (d0 * phi0 + sum (x - n p_s)^2 / (n p (1 - p))) / (d0 + d)        d = windows - sides
//! t   = (p_bad - p_good) / sqrt(phi * p (1 - p) * (1/n_good + 1/n_bad))   with d0 + d degrees of freedom
//! ```
//!
//! where `p` is the share of both sides together, and `phi0`, `d0` are what is known before any window is seen: they
//! decide when each side is a single window, and then only large differences pass. Chosen are the functions that the procedure of Benjamini and Hochberg lets
//! pass at the false discovery rate, among those whose difference is large enough to matter.
//!
//! Sources: McCullagh and Nelder, "Generalized Linear Models", 4.5 (over-dispersion); Smyth 2004 (moderated variances);
//! Benjamini and Hochberg 1995.

use std::collections::BTreeSet;

use homeostat_model::profile::Profile;
use homeostat_profile::{FunctionWeight, Weights, weights};
use serde::Serialize;

use crate::{special::student_two_sided, thresholds::SAMPLES_WANTED};

/// What is known before any window is seen: how alike two samples of one window are (the intra-class correlation `rho`,
/// which makes `phi = 1 + n rho` for windows of `n` samples), and for how many windows that counts. Twelve windows of some
/// 150 samples of Prometheus under constant load had a `phi` of 1.0 (own) and 1.1 (with callees) in the median and 2.6 in
/// the ninth decile, which is a `rho` of 0.001 and 0.01; the larger one is taken, for a false name costs more trust than a missed one.
const CORRELATION_PRIOR: f64 = 0.01;
const PRIOR_DEGREES: f64 = 6.0;

/// How to compare.
#[derive(Clone, Copy, Debug)]
pub struct DiffOptions {
    /// Share of wrong names among those that are called moved, at most (in expectation).
    pub false_discovery_rate: f64,
    /// Smallest difference that matters, as a share of all samples.
    pub effect_min: f64,
    /// Samples that each side should have.
    pub samples_wanted: u64,
}

impl Default for DiffOptions {
    fn default() -> Self {
        Self { false_discovery_rate: 0.05, effect_min: 0.01, samples_wanted: SAMPLES_WANTED }
    }
}

/// One side: windows of one behaviour.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Side {
    /// Windows.
    pub windows: usize,
    /// Samples in all of them.
    pub samples: u64,
}

/// What a number is the share of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Compared {
    /// While the function itself ran.
    Own,
    /// While it or something that it called ran.
    Total,
}

/// In which way a function moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Way {
    /// It was there before and has more now.
    More,
    /// It has less now and is still there.
    Less,
    /// It was not there before.
    New,
    /// It is not there any more.
    Vanished,
}

/// A function that moved.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Moved {
    /// Its name.
    pub function: String,
    /// Whose share moved: its own, or that of what it calls as well.
    pub compared: Compared,
    /// How.
    pub way: Way,
    /// Share of the good side's samples, 0 to 1.
    pub good: f64,
    /// Share of the bad side's samples, 0 to 1.
    pub bad: f64,
    /// Probability of such a difference if there were none, for this function alone.
    pub p_value: f64,
    /// Smallest false discovery rate at which it would still be named.
    pub q_value: f64,
}

impl Moved {
    /// The difference of shares: positive for more on the bad side.
    pub fn effect(&self) -> f64 {
        self.bad - self.good
    }
}

/// What moved between two sides.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Diff {
    /// The side that is compared with.
    pub good: Side,
    /// The side that is looked at.
    pub bad: Side,
    /// Why the result is weak; empty when it is not.
    pub caveats: Vec<String>,
    /// Functions whose own share moved, largest effect first, then those of which only the share with what they call
    /// moved.
    pub moved: Vec<Moved>,
    /// How many comparisons were made.
    pub looked_at: usize,
}

impl Diff {
    /// Names of all that moved.
    pub fn names(&self) -> BTreeSet<String> {
        self.moved.iter().map(|moved| moved.function.clone()).collect()
    }
}

/// Compares windows of samples: each profile with the column that counts its samples.
pub fn diff(good: &[(&Profile, usize)], bad: &[(&Profile, usize)], options: &DiffOptions) -> Diff {
    let weigh = |windows: &[(&Profile, usize)]| -> Vec<Weights> {
        let weighed = windows.iter().map(|(profile, column)| weights(profile, *column));
        weighed.filter(|window| 0 < window.sum).collect()
    };
    let (good, bad) = (weigh(good), weigh(bad));
    let mut found = Diff {
        good: side(&good),
        bad: side(&bad),
        caveats: caveats(&good, &bad, options),
        moved: Vec::new(),
        looked_at: 0,
    };
    if good.is_empty() || bad.is_empty() {
        return found;
    }
    let names: BTreeSet<&str> =
        good.iter().chain(&bad).flat_map(|window| window.functions.keys()).map(String::as_str).collect();
    let mut tests = Vec::new();
    for name in names {
        for compared in [Compared::Own, Compared::Total] {
            tests.extend(test(name, compared, &good, &bad, options));
        }
    }
    found.looked_at = tests.len();
    adjust(&mut tests);
    tests.retain(|test| test.q_value <= options.false_discovery_rate && options.effect_min <= test.effect().abs());
    // A function whose own share moved is told once.
    let own: BTreeSet<String> =
        tests.iter().filter(|test| test.compared == Compared::Own).map(|test| test.function.clone()).collect();
    tests.retain(|test| test.compared == Compared::Own || !own.contains(&test.function));
    tests.sort_by(|a, b| {
        let only_callees = |test: &Moved| test.compared == Compared::Total;
        only_callees(a).cmp(&only_callees(b)).then(b.effect().abs().total_cmp(&a.effect().abs()))
    });
    found.moved = tests;
    found
}

fn side(windows: &[Weights]) -> Side {
    Side { windows: windows.len(), samples: samples(windows) as u64 }
}

fn samples(windows: &[Weights]) -> i64 {
    windows.iter().map(|window| window.sum).sum()
}

fn caveats(good: &[Weights], bad: &[Weights], options: &DiffOptions) -> Vec<String> {
    let mut caveats = Vec::new();
    for (name, windows) in [("good", good), ("bad", bad)] {
        let (samples, wanted) = (samples(windows), options.samples_wanted);
        if (samples as u64) < wanted {
            caveats.push(format!(
                "the {name} side has {samples} samples, {wanted} are wanted: only large differences can be told from noise"
            ));
        }
        if windows.len() == 1 {
            caveats.push(format!(
                "the {name} side is one window: how much windows differ among each other is assumed, not measured"
            ));
        }
    }
    caveats
}

/// Tests one function. `None` where there is nothing to test, on both sides together less than a fifth of what matters.
fn test(name: &str, compared: Compared, good: &[Weights], bad: &[Weights], options: &DiffOptions) -> Option<Moved> {
    let count = |window: &Weights| {
        let weight: FunctionWeight = window.functions.get(name).copied().unwrap_or_default();
        let samples = if compared == Compared::Own { weight.own } else { weight.total };
        (samples.max(0) as f64, window.sum as f64)
    };
    let (good, bad): (Vec<_>, Vec<_>) = (good.iter().map(count).collect(), bad.iter().map(count).collect());
    let spread = spread(&good, &bad)?;
    let Spread { base: p_good, now: p_bad, .. } = spread;
    if p_good.max(p_bad) < options.effect_min / 5.0 {
        return None;
    }
    let (t, degrees) = ((p_bad - p_good) / spread.deviation(), spread.degrees);
    let way = match (p_good == 0.0, p_bad == 0.0) {
        (true, _) => Way::New,
        (_, true) => Way::Vanished,
        _ if p_good < p_bad => Way::More,
        _ => Way::Less,
    };
    let p_value = student_two_sided(t, degrees);
    Some(Moved { function: name.to_owned(), compared, way, good: p_good, bad: p_bad, p_value, q_value: 1.0 })
}

/// Shares of two sides and how much their difference varies by chance. See the module for the formula.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spread {
    base: f64,
    now: f64,
    variance: f64,
    degrees: f64,
}

impl Spread {
    /// Standard deviation of the difference.
    pub(crate) fn deviation(&self) -> f64 {
        self.variance.sqrt()
    }
}

/// From windows of (samples that count, all samples); `None` when a side is empty, or everything counts.
pub(crate) fn spread(good: &[(f64, f64)], bad: &[(f64, f64)]) -> Option<Spread> {
    let sums = |windows: &[(f64, f64)]| windows.iter().fold((0.0, 0.0), |(x, n), window| (x + window.0, n + window.1));
    let ((x_good, n_good), (x_bad, n_bad)) = (sums(good), sums(bad));
    let (p_good, p_bad) = (x_good / n_good, x_bad / n_bad);
    let p = (x_good + x_bad) / (n_good + n_bad);
    if n_good <= 0.0 || n_bad <= 0.0 || p <= 0.0 || 1.0 <= p {
        return None;
    }
    let variance = p * (1.0 - p);
    let within = |windows: &[(f64, f64)], share: f64| -> f64 {
        windows.iter().map(|(x, n)| (x - n * share).powi(2) / (n * variance)).sum()
    };
    let windows = (good.len() + bad.len()) as f64;
    let prior = 1.0 + CORRELATION_PRIOR * (n_good + n_bad) / windows;
    let degrees = PRIOR_DEGREES + windows - 2.0;
    let spread = PRIOR_DEGREES * prior + within(good, p_good) + within(bad, p_bad);
    // Shares of independent samples vary as much by themselves; less is chance.
    let dispersion = (spread / degrees).max(1.0);
    Some(Spread { base: p_good, now: p_bad, variance: dispersion * variance * (1.0 / n_good + 1.0 / n_bad), degrees })
}

/// Benjamini and Hochberg's adjusted probabilities.
fn adjust(tests: &mut [Moved]) {
    tests.sort_by(|a, b| a.p_value.total_cmp(&b.p_value));
    let (count, mut smallest) = (tests.len() as f64, 1.0_f64);
    for (index, test) in tests.iter_mut().enumerate().rev() {
        smallest = smallest.min(test.p_value * count / (index + 1) as f64);
        test.q_value = smallest;
    }
}

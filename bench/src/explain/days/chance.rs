//! Draws of a second's requests, and what a count says at most.

use rand::{Rng, RngExt as _};

/// Means above this are drawn from the normal distribution: its error there is below a thousandth of a request.
const POISSON_EXACT_MAX: f64 = 60.0;

/// A number with this mean, as it comes of independent arrivals. Source for small means: Knuth, The Art of Computer Programming,
/// volume 2, 3.4.1.
pub(super) fn poisson(mean: f64, chance: &mut impl Rng) -> u64 {
    if POISSON_EXACT_MAX < mean {
        // Box and Muller 1958.
        let (a, b) = (1.0 - chance.random::<f64>(), chance.random::<f64>());
        let normal = (-2.0 * a.ln()).sqrt() * (std::f64::consts::TAU * b).cos();
        return (mean + mean.sqrt() * normal).round().max(0.0) as u64;
    }
    let (end, mut product, mut count) = ((-mean).exp(), chance.random::<f64>(), 0);
    while end < product {
        product *= chance.random::<f64>();
        count += 1;
    }
    count
}

/// How many of so many happen, each with this chance: from one to the next in steps of a geometric distribution.
pub(super) fn among(all: u64, share: f64, chance: &mut impl Rng) -> u64 {
    if 0.5 < share {
        return all - among(all, 1.0 - share, chance);
    }
    let (mut at, mut count) = (steps(share, chance), 0);
    while at < all {
        count += 1;
        at = at.saturating_add(1).saturating_add(steps(share, chance));
    }
    count
}

/// Misses before the next hit.
fn steps(share: f64, chance: &mut impl Rng) -> u64 {
    if share <= 0.0 {
        return u64::MAX;
    }
    ((1.0 - chance.random::<f64>()).ln() / (-share).ln_1p()) as u64
}

/// Failures that come in runs: so many in a row on average, this share of all requests together.
#[derive(Clone, Copy, Debug)]
pub(super) struct Failures {
    begins: f64,
    run: f64,
    /// Of the run that is under way.
    left: u64,
}

impl Failures {
    pub(super) fn new(share: f64, run: f64) -> Self {
        Self { begins: share / run, run, left: 0 }
    }

    /// How many of the next so many requests fail.
    pub(super) fn among(&mut self, all: u64, chance: &mut impl Rng) -> u64 {
        let (mut rest, mut failed) = (all, 0);
        loop {
            let now = self.left.min(rest);
            (failed, rest, self.left) = (failed + now, rest - now, self.left - now);
            // What is remembered of the way to the next run is nothing: every request begins one with the same chance.
            let free = steps(self.begins, chance);
            if rest <= free {
                return failed;
            }
            rest -= free;
            self.left = 1 + steps(1.0 / self.run, chance);
        }
    }
}

/// The largest mean with which a count as small as this still comes about, with so much confidence. Source: Garwood 1936.
pub(super) fn rate_at_most(count: u64, confidence: f64) -> f64 {
    let as_small = |mean: f64| {
        let mut term = (-mean).exp();
        let mut sum = term;
        for number in 1..=count {
            term *= mean / number as f64;
            sum += term;
        }
        sum
    };
    let (mut low, mut high) = (0.0, 10.0 + 3.0 * count as f64);
    for _ in 0..100 {
        let middle = f64::midpoint(low, high);
        if 1.0 - confidence < as_small(middle) {
            low = middle;
        } else {
            high = middle;
        }
    }
    high
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng as _;
    use rand_xoshiro::Xoshiro256PlusPlus;

    use super::*;

    #[test]
    fn draws_have_their_means_and_failures_their_runs() {
        let mut chance = Xoshiro256PlusPlus::seed_from_u64(5);
        let mean = |draws: Vec<u64>| draws.iter().sum::<u64>() as f64 / draws.len() as f64;
        for wanted in [0.3, 40.0, 900.0] {
            let found = mean((0..20_000).map(|_| poisson(wanted, &mut chance)).collect());
            assert!((found - wanted).abs() < 4.0 * (wanted / 20_000.0).sqrt() + 0.01, "{found} for {wanted}");
        }
        for share in [0.0, 0.02, 0.7, 1.0] {
            let found = mean((0..20_000).map(|_| among(50, share, &mut chance)).collect());
            assert!((found - 50.0 * share).abs() < 0.12, "{found} for {share}");
        }
        let mut failures = Failures::new(0.01, 10.0);
        let each: Vec<u64> = (0..200_000).map(|_| failures.among(5, &mut chance)).collect();
        assert!((mean(each.clone()) - 0.05).abs() < 0.005);
        // Alone, every twentieth group of five would have one; in runs of ten, every seventieth or so has any.
        let touched = each.iter().filter(|failed| 0 < **failed).count() as f64 / 200_000.0;
        assert!((0.010..0.020).contains(&touched), "{touched}");
    }

    #[test]
    fn bounds_of_counts_are_garwoods() {
        for (count, confidence, wanted) in
            [(0, 0.95, 2.9957), (0, 0.975, 3.6889), (5, 0.975, 11.6683), (100, 0.975, 121.6266)]
        {
            let found = rate_at_most(count, confidence);
            assert!((found - wanted).abs() < 1e-3, "{found} for {count}");
        }
    }
}

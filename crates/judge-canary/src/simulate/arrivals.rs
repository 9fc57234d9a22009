//! Draws of how many requests a tick brings, and which of them are bad.

use rand::{Rng, RngExt};

/// Numbers of requests per tick, drawn in constant time with Walker's alias method (in Vose's form).
#[derive(Clone, Debug)]
pub(super) struct Arrivals {
    /// Number of the first column.
    first: u64,
    /// One column per number: chance to stay in the column, and the number to take otherwise.
    columns: Vec<(f64, u64)>,
}

/// Chances below this are left out: beyond them lies less than one draw in `10^12`.
const CHANCE_MIN: f64 = 1e-16;

impl Arrivals {
    /// Poisson-distributed with this mean, at most a few million.
    pub(super) fn poisson(mean: f64) -> Self {
        // Outwards from the mode, where the chance is largest, by ratios of neighbours: no factorial, no overflow.
        let mode = mean.floor() as u64;
        let mut below = Vec::new();
        let mut chance = 1.0;
        for count in (1..=mode).rev() {
            chance *= count as f64 / mean;
            if chance < CHANCE_MIN {
                break;
            }
            below.push(chance);
        }
        let first = mode - below.len() as u64;
        let mut chances: Vec<f64> = below.into_iter().rev().chain([1.0]).collect();
        chance = 1.0;
        for count in mode + 1.. {
            chance *= mean / count as f64;
            if chance < CHANCE_MIN {
                break;
            }
            chances.push(chance);
        }
        Self { first, columns: columns(&chances, first) }
    }

    /// Draws a number of requests.
    pub(super) fn draw(&self, chance: &mut impl Rng) -> u64 {
        let place = chance.random::<f64>() * self.columns.len() as f64;
        let column = place as usize;
        match self.columns.get(column) {
            Some((stays, other)) if place.fract() >= *stays => *other,
            _ => self.first + column as u64,
        }
    }
}

/// Builds the table for chances that need not add up to 1; the first one belongs to the number `first`.
fn columns(chances: &[f64], first: u64) -> Vec<(f64, u64)> {
    let scale = chances.len() as f64 / chances.iter().sum::<f64>();
    let mut columns: Vec<(f64, u64)> =
        chances.iter().zip(first..).map(|(chance, number)| (chance * scale, number)).collect();
    let (mut small, mut large): (Vec<usize>, Vec<usize>) =
        (0..columns.len()).partition(|column| columns.get(*column).is_some_and(|(height, _)| *height < 1.0));
    while let (Some(low), Some(high)) = (small.pop(), large.pop()) {
        let missing = 1.0 - columns.get(low).map_or(1.0, |(height, _)| *height);
        if let Some((_, other)) = columns.get_mut(low) {
            *other = first + high as u64;
        }
        let Some((height, _)) = columns.get_mut(high) else { continue };
        *height -= missing;
        if *height < 1.0 { small.push(high) } else { large.push(high) }
    }
    columns
}

/// Where the bad ones are in an endless row of requests.
#[derive(Clone, Debug)]
pub(super) struct BadEvents {
    /// `1 / ln(1 - share)`; not finite for a share of 0, zero for a share of 1.
    scale: f64,
    /// Good requests before the next bad one.
    good_left: u64,
}

impl BadEvents {
    /// For requests of which this share is bad.
    pub(super) fn new(share: f64, chance: &mut impl Rng) -> Self {
        let mut events = Self { scale: 1.0 / (-share).ln_1p(), good_left: 0 };
        events.good_left = events.gap(chance);
        events
    }

    /// Good and bad ones among the next `total` requests.
    pub(super) fn among(&mut self, total: u64, chance: &mut impl Rng) -> (u64, u64) {
        let (mut left, mut bad) = (total, 0);
        while self.good_left < left {
            left -= self.good_left + 1;
            bad += 1;
            self.good_left = self.gap(chance);
        }
        self.good_left -= left;
        (total - bad, bad)
    }

    /// A geometric distance.
    fn gap(&self, chance: &mut impl Rng) -> u64 {
        // 1 - [0, 1) is never 0, so its logarithm is finite; an infinite distance becomes the largest number.
        let distance = (1.0 - chance.random::<f64>()).ln() * self.scale;
        if distance.is_nan() { u64::MAX } else { distance as u64 }
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand_xoshiro::Xoshiro256PlusPlus;

    use super::*;

    #[test]
    fn draws_have_the_mean_and_variance_of_their_distribution() {
        let mut chance = Xoshiro256PlusPlus::seed_from_u64(1);
        for mean in [0.01, 1.0, 19.0, 5_000.0] {
            let arrivals = Arrivals::poisson(mean);
            let draws: Vec<f64> = (0..200_000).map(|_| arrivals.draw(&mut chance) as f64).collect();
            let found = draws.iter().sum::<f64>() / draws.len() as f64;
            let variance = draws.iter().map(|d| (d - found).powi(2)).sum::<f64>() / draws.len() as f64;
            // Five standard errors of each.
            assert!((found - mean).abs() < 5.0 * (mean / 2e5).sqrt(), "mean {found} for {mean}");
            let error = ((mean + 2.0 * mean * mean) / 2e5).sqrt();
            assert!((variance - mean).abs() < 5.0 * error, "variance {variance} for {mean}");
        }
    }

    #[test]
    fn bad_ones_have_their_share_at_the_ends_as_well() {
        let mut chance = Xoshiro256PlusPlus::seed_from_u64(2);
        for (share, tolerated) in [(0.0, 0.0), (1.0, 0.0), (0.001, 0.0002), (0.3, 0.005)] {
            let mut events = BadEvents::new(share, &mut chance);
            let bad: u64 = (0..100_000).map(|i| events.among(i % 20, &mut chance).1).sum();
            let found = bad as f64 / (0..100_000_u64).map(|i| i % 20).sum::<u64>() as f64;
            assert!((found - share).abs() <= tolerated, "{found} for {share}");
        }
    }
}

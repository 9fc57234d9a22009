//! When requests are due, whatever the answers do: the half of "no coordinated omission" that decides what is sent.
//!
//! A closed loop sends the next request after the last answer, so a server that stalls is asked less and looks better.
//! Here the instants are fixed beforehand; a late answer delays nothing.

use std::time::Duration;

use rand::{Rng, RngExt, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;

/// How the instants are spread.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Pacing {
    /// Evenly.
    #[default]
    Fixed,
    /// As independent customers arrive: exponential gaps.
    Poisson,
}

/// An endless, ascending series of instants, as offsets from the start.
#[derive(Clone, Debug)]
pub struct Schedule {
    pacing: Pacing,
    per_second: f64,
    issued: u64,
    last: f64,
    chance: Xoshiro256PlusPlus,
}

impl Schedule {
    /// A series of `per_second` (greater than 0) instants a second. The same seed gives the same series.
    pub fn new(pacing: Pacing, per_second: f64, seed: u64) -> Self {
        Self { pacing, per_second, issued: 0, last: 0.0, chance: Xoshiro256PlusPlus::seed_from_u64(seed) }
    }

    /// The next instant.
    pub fn next_due(&mut self) -> Duration {
        let at = match self.pacing {
            // From the count, not by adding up: gaps do not drift.
            Pacing::Fixed => self.issued as f64 / self.per_second,
            Pacing::Poisson => self.last + exponential(&mut self.chance) / self.per_second,
        };
        self.issued += 1;
        self.last = at;
        Duration::from_secs_f64(at)
    }
}

/// An exponential number of mean 1, by inversion.
fn exponential(chance: &mut impl Rng) -> f64 {
    let uniform: f64 = chance.random();
    -(1.0 - uniform).ln()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(pacing: Pacing, seed: u64, count: usize) -> Vec<Duration> {
        let mut schedule = Schedule::new(pacing, 2_000.0, seed);
        std::iter::repeat_with(|| schedule.next_due()).take(count).collect()
    }

    #[test]
    fn even_gaps_do_not_drift() {
        let instants = series(Pacing::Fixed, 1, 2_000_001);
        assert_eq!(instants[1], Duration::from_micros(500));
        assert_eq!(instants[2_000_000], Duration::from_secs(1_000));
    }

    #[test]
    fn customers_arrive_at_the_asked_rate_and_the_same_seed_repeats() {
        let instants = series(Pacing::Poisson, 7, 100_000);
        assert_eq!(instants, series(Pacing::Poisson, 7, 100_000));
        assert_ne!(instants, series(Pacing::Poisson, 8, 100_000));
        assert!(instants.is_sorted());
        // 100,000 gaps of 0.5 ms: 50 s, with a standard deviation of 0.16 s.
        let end = instants[99_999].as_secs_f64();
        assert!((49.2..=50.8).contains(&end), "{end}");
    }
}

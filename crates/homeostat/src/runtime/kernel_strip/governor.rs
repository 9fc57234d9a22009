//! Keeps the cost of counting within its budget: when it is above, only a part of the time is counted.
//!
//! Levels are quarters: all of the time, every 4th second, every 16th, every 64th. Going down a level is quick, going up
//! again slow and only when the cost there would fit.

use std::time::Duration;

/// Share of one CPU that may be used unless somebody says otherwise: what sampling of CPUs may, too.
pub(super) const BUDGET: f64 = 0.005;
/// The rarest: one second of 64.
const LEVEL_MAX: u32 = 3;
/// Seconds over which cost is averaged. More than a period would hide bursts of the whole time, and less would see the period
/// of the first levels as bursts.
const AVERAGED_S: f64 = 16.0;
/// Seconds at a level before the next is tried.
const PATIENCE_S: u32 = 16;
/// Seconds of low cost before more of the time is counted.
const CALM_S: u32 = 128;

/// What a second has cost, as shares of one CPU.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::runtime) struct Cost {
    /// What there is the more of, the more of the time is counted.
    pub(in crate::runtime) counting: f64,
    /// What is there in any case: looking for processes, reading what they did.
    pub(in crate::runtime) anyway: f64,
}

impl Cost {
    /// Of these times, in so much time.
    pub(in crate::runtime) fn of(counting: Duration, anyway: Duration, elapsed: Duration) -> Self {
        let share = |spent: Duration| spent.as_secs_f64() / elapsed.as_secs_f64();
        Self { counting: share(counting), anyway: share(anyway) }
    }

    fn sum(self) -> f64 {
        self.counting + self.anyway
    }

    fn follow(&mut self, last: Self) {
        self.counting += (last.counting - self.counting) / AVERAGED_S;
        self.anyway += (last.anyway - self.anyway) / AVERAGED_S;
    }
}

/// Decides second by second.
#[derive(Clone, Debug)]
pub(in crate::runtime) struct Governor {
    budget: f64,
    level: u32,
    /// Seconds since the level changed.
    since_s: u32,
    /// Seconds of low cost in a row.
    calm_s: u32,
    average: Cost,
}

impl Default for Governor {
    fn default() -> Self {
        Self::within(BUDGET)
    }
}

impl Governor {
    /// For another budget, as a share of one CPU.
    pub(in crate::runtime) fn within(budget: f64) -> Self {
        Self { budget, level: 0, since_s: 0, calm_s: 0, average: Cost::default() }
    }

    /// Takes the cost of the past second, and says whether the next one is counted.
    pub(in crate::runtime) fn step(&mut self, cost: Cost) -> bool {
        self.average.follow(cost);
        self.since_s = self.since_s.saturating_add(1);
        // At the level above, four times as much is counted.
        let above = Cost { counting: 4.0 * self.average.counting, ..self.average };
        let fits_above = above.sum() < self.budget;
        self.calm_s = if fits_above { self.calm_s.saturating_add(1) } else { 0 };
        // What is expected of the other level stands for what is measured there until the average has followed.
        if self.budget < self.average() && PATIENCE_S <= self.since_s && self.level < LEVEL_MAX {
            self.go(self.level + 1);
            self.average.counting /= 4.0;
        } else if CALM_S <= self.calm_s && 0 < self.level {
            self.go(self.level - 1);
            self.average.counting *= 4.0;
        }
        self.since_s.is_multiple_of(self.every())
    }

    /// Cost of late, as a share of one CPU.
    pub(in crate::runtime) fn average(&self) -> f64 {
        self.average.sum()
    }

    /// Share of the time that is counted.
    pub(in crate::runtime) fn share(&self) -> f64 {
        1.0 / f64::from(self.every())
    }

    fn every(&self) -> u32 {
        4_u32.pow(self.level)
    }

    fn go(&mut self, level: u32) {
        (self.level, self.since_s, self.calm_s) = (level, 0, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Plays seconds in which counting costs so much, and what is spent anyway; returns the mean cost and the seconds counted.
    fn play(governor: &mut Governor, seconds: u32, counting: f64, anyway: f64) -> (f64, u32) {
        let (mut sum, mut counted, mut counts) = (0.0, 0, true);
        for _ in 0..seconds {
            let cost = Cost { counting: if counts { counting } else { 0.0 }, anyway };
            sum += cost.sum();
            counts = governor.step(cost);
            counted += u32::from(counts);
        }
        (sum / f64::from(seconds), counted)
    }

    #[test]
    fn what_fits_is_counted_all_the_time() {
        let mut governor = Governor::default();
        let (mean, counted) = play(&mut governor, 1000, 0.004, 0.0005);
        assert!((mean - 0.0045).abs() < 1e-9 && counted == 1000, "{mean} {counted}");
    }

    #[test]
    fn what_costs_too_much_is_counted_a_part_of_the_time() {
        for (cost, share) in [(0.01, 0.25), (0.03, 0.0625), (0.2, 0.015_625), (10.0, 0.015_625)] {
            let mut governor = Governor::default();
            play(&mut governor, 300, cost, 0.0001);
            let (mean, counted) = play(&mut governor, 6400, cost, 0.0001);
            assert!((governor.share() - share).abs() < 1e-9, "{cost}: {}", governor.share());
            assert!(mean < BUDGET || share < 0.02, "{cost}: {mean}");
            assert!((f64::from(counted) / 6400.0 - share).abs() < 0.01, "{cost}: {counted}");
        }
    }

    #[test]
    fn it_counts_again_when_it_is_cheap_again() {
        let mut governor = Governor::default();
        play(&mut governor, 300, 0.2, 0.0);
        assert!(governor.share() < 0.02);
        // Looking takes a third of the budget, however much is counted.
        play(&mut governor, 1000, 0.002, BUDGET / 3.0);
        assert!((governor.share() - 1.0).abs() < 1e-9, "{}", governor.share());
    }
}

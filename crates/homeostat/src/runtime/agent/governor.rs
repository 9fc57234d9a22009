//! Whether and how much the agent senses, by what it costs: a pure decision.
//!
//! Intuition: a step down at once, a step up only after patience. Each time a step up was too much, the patience doubles, so
//! that an agent that cannot afford its rate does not try it again and again.
//!
//! Memory is another matter: at the limit sensing stops at once, whatever it costs otherwise, and goes on when a tenth is free.
//!
//! Not here: measuring (`own`), sampling and pulling themselves.
//! Invariant: what is shipped never depends on it; the queue is emptied at every level.

/// Measurements within half of the budget before the first step up: a minute and a half at windows of 15 s.
const PATIENCE_MIN: u32 = 6;
/// The longest patience: half an hour at such windows.
const PATIENCE_MAX: u32 = 120;
/// Measurements within the budget, at the full level and one after the other, after which earlier excesses are forgotten.
const FORGIVEN_AFTER: u32 = 240;

/// How much is sensed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Level {
    /// As asked for.
    #[default]
    Full,
    /// Half as often.
    Half,
    /// Not at all.
    Off,
}

impl Level {
    /// As a share of what was asked for.
    pub fn share(self) -> f64 {
        match self {
            Self::Full => 1.0,
            Self::Half => 0.5,
            Self::Off => 0.0,
        }
    }

    fn down(self) -> Self {
        if self == Self::Full { Self::Half } else { Self::Off }
    }

    fn up(self) -> Self {
        if self == Self::Off { Self::Half } else { Self::Full }
    }
}

/// What is to be sensed now, and why not more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Duty {
    /// By the budget of CPU time.
    pub by_cost: Level,
    /// Memory is at its limit.
    pub memory_full: bool,
}

impl Duty {
    /// What is to be sensed.
    pub fn level(self) -> Level {
        if self.memory_full { Level::Off } else { self.by_cost }
    }
}

/// Decides.
#[derive(Clone, Debug)]
pub struct Governor {
    /// Share of one CPU.
    budget: f64,
    rss_max: u64,
    duty: Duty,
    /// Measurements within half of the budget, one after the other.
    calm: u32,
    /// Measurements within the budget at the full level, one after the other.
    proven: u32,
    patience: u32,
    /// Whether the last step was one up, and nothing has proven it right yet.
    on_trial: bool,
}

impl Governor {
    /// Begins with everything. `budget` is a share of one CPU, above zero.
    pub fn new(budget: f64, rss_max: u64) -> Self {
        Self { budget, rss_max, duty: Duty::default(), calm: 0, proven: 0, patience: PATIENCE_MIN, on_trial: false }
    }

    /// What is to be sensed now.
    pub fn duty(&self) -> Duty {
        self.duty
    }

    /// Takes a measurement of what all of the agent cost, as a share of one CPU, over a window or a second.
    pub fn cost(&mut self, share: f64) -> Duty {
        if self.budget < share {
            if self.on_trial {
                self.patience = (self.patience * 2).min(PATIENCE_MAX);
            }
            (self.calm, self.proven, self.on_trial) = (0, 0, false);
            self.duty.by_cost = self.duty.by_cost.down();
            return self.duty;
        }
        // Sampling half as much costs about half: only then a step up has a chance.
        self.calm = if share <= self.budget / 2.0 { self.calm + 1 } else { 0 };
        match self.duty.by_cost {
            Level::Full => {
                self.proven = self.proven.saturating_add(1);
                if FORGIVEN_AFTER <= self.proven {
                    (self.patience, self.on_trial) = (PATIENCE_MIN, false);
                }
            }
            Level::Half | Level::Off => {
                if self.patience <= self.calm {
                    (self.calm, self.on_trial) = (0, true);
                    self.duty.by_cost = self.duty.by_cost.up();
                }
            }
        }
        self.duty
    }

    /// Takes a measurement of the memory that the agent holds.
    pub fn memory(&mut self, rss_bytes: u64) -> Duty {
        let limit = if self.duty.memory_full { self.rss_max - self.rss_max / 10 } else { self.rss_max };
        self.duty.memory_full = limit < rss_bytes;
        self.duty
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Measurements until the level is another one.
    fn until_changed(governor: &mut Governor, share: f64) -> (u32, Level) {
        let before = governor.duty().by_cost;
        for count in 1..=1_000 {
            let level = governor.cost(share).by_cost;
            if level != before {
                return (count, level);
            }
        }
        (1_000, before)
    }

    #[test]
    fn too_expensive_goes_down_at_once_and_up_with_patience_that_grows() {
        let mut governor = Governor::new(0.01, u64::MAX);
        assert_eq!(governor.cost(0.01).by_cost, Level::Full, "the budget may be used");
        assert_eq!(until_changed(&mut governor, 0.02), (1, Level::Half));
        assert_eq!(until_changed(&mut governor, 0.009), (1_000, Level::Half), "twice that would be too much");
        assert_eq!(until_changed(&mut governor, 0.02), (1, Level::Off));
        assert_eq!(until_changed(&mut governor, 0.02), (1_000, Level::Off), "there is nothing below");
        assert_eq!(until_changed(&mut governor, 0.001), (PATIENCE_MIN, Level::Half));
        assert_eq!(until_changed(&mut governor, 0.02), (1, Level::Off), "the trial has failed");
        assert_eq!(until_changed(&mut governor, 0.001), (2 * PATIENCE_MIN, Level::Half));
        for _ in 0..10 {
            until_changed(&mut governor, 0.02);
            until_changed(&mut governor, 0.001);
        }
        until_changed(&mut governor, 0.02);
        assert_eq!(until_changed(&mut governor, 0.001), (PATIENCE_MAX, Level::Half));
        assert_eq!(until_changed(&mut governor, 0.001), (PATIENCE_MAX, Level::Full));
        for _ in 0..FORGIVEN_AFTER {
            assert_eq!(governor.cost(0.009).by_cost, Level::Full, "within the budget, if not by much");
        }
        assert_eq!(until_changed(&mut governor, 0.02), (1, Level::Half));
        assert_eq!(until_changed(&mut governor, 0.001), (PATIENCE_MIN, Level::Full));
    }

    #[test]
    fn memory_stops_everything_at_its_limit_and_lets_go_below() {
        let mut governor = Governor::new(0.01, 1_000);
        assert_eq!(governor.memory(1_000).level(), Level::Full);
        assert_eq!(governor.memory(1_001).level(), Level::Off);
        assert_eq!(governor.memory(901).level(), Level::Off, "a step is not repeated at every byte");
        assert_eq!(governor.memory(900).level(), Level::Full);
        governor.cost(0.5);
        assert_eq!(governor.memory(1_001), Duty { by_cost: Level::Half, memory_full: true });
        assert_eq!(governor.memory(0).level(), Level::Half);
    }
}

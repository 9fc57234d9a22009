//! Simulated rollouts: how soon a bad canary is found, and how often a good one is wronged.
//!
//! Requests arrive as a Poisson process and are split at random; each fails on its own with its version's rate. Every
//! run drives the very judge that production uses, tick by tick; only drawing is made cheap: the number of requests of
//! a tick comes from an alias table, and instead of tossing a coin for each request the distance to the next bad one
//! is drawn. Seed and number of a run decide everything in it, so runs can be made in any order and on any thread.
//!
//! Not here: threads, progress, printing (`homeostat simulate canary`).

mod arrivals;
mod summary;

use homeostat_model::{
    OutcomeClass, OutcomeCounts, Span, Timestamp, VersionName, name::NameError, objective::Sli, outcome::TICK,
    rollout::CanaryTest,
};
use rand::SeedableRng;
use rand_xoshiro::Xoshiro256PlusPlus;

use crate::CanaryJudge;
use arrivals::{Arrivals, BadEvents};
pub use summary::{Interval, Summary, clopper_pearson};

/// Requests of one group per tick at most: the tables stay small, and 100 million requests a second are enough.
const REQUESTS_PER_TICK_MAX: f64 = 1e6;

/// What is simulated.
#[derive(Clone, Debug, PartialEq)]
pub struct Scenario {
    /// Share of the baseline's requests that fail, 0 to 1.
    pub baseline_error: f64,
    /// Share of the canary's requests that fail, 0 to 1.
    pub canary_error: f64,
    /// Requests per second of both versions together.
    pub requests_per_s: f64,
    /// The canary's share of them, strictly between 0 and 1.
    pub canary_share: f64,
    /// How long a run lasts if nothing is found.
    pub duration: Span,
    /// How sure the judge has to be.
    pub alpha: f64,
    /// Smallest difference that matters.
    pub tolerance: f64,
    /// Canary requests before any verdict.
    pub events_min: u64,
}

/// A scenario that makes no sense.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ScenarioError {
    /// A number outside its range.
    #[error("{what} is {value}, it has to lie {range}")]
    Range {
        /// Which number.
        what: &'static str,
        /// What was given.
        value: f64,
        /// What is possible.
        range: &'static str,
    },
    /// The versions' own names were refused: a bug.
    #[error(transparent)]
    Name(#[from] NameError),
}

/// How one run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// Until the verdict "worse", from the canary's first possible request; `None` if it never fell.
    pub detected_after: Option<Span>,
    /// The same from the tick of the canary's first bad response.
    pub detected_after_first_bad: Option<Span>,
    /// Canary requests that failed until then.
    pub harmed: u64,
}

/// A checked scenario with its tables.
#[derive(Clone, Debug)]
pub struct Simulator {
    scenario: Scenario,
    judge: CanaryJudge,
    baseline: Arrivals,
    canary: Arrivals,
    ticks: u64,
}

impl Scenario {
    /// Whether the canary is no worse than the tolerance allows, so that every rollback is a false one.
    pub fn is_null(&self) -> bool {
        self.canary_error <= self.baseline_error + self.tolerance
    }

    fn check(&self) -> Result<(), ScenarioError> {
        let within = |what, value: f64, holds: bool, range| {
            if holds { Ok(()) } else { Err(ScenarioError::Range { what, value, range }) }
        };
        let share = |value: f64| (0.0..=1.0).contains(&value);
        let inside = |value: f64| 0.0 < value && value < 1.0;
        within("the baseline's error share", self.baseline_error, share(self.baseline_error), "between 0 and 1")?;
        within("the canary's error share", self.canary_error, share(self.canary_error), "between 0 and 1")?;
        within("the canary's share", self.canary_share, inside(self.canary_share), "strictly between 0 and 1")?;
        within("alpha", self.alpha, inside(self.alpha), "strictly between 0 and 1")?;
        within("the tolerance", self.tolerance, (0.0..1.0).contains(&self.tolerance), "between 0 and 1, 1 excluded")?;
        let per_tick = self.requests_per_s * TICK.secs_f64();
        let range = "above 0 and at most 100,000,000";
        within(
            "the number of requests per second",
            self.requests_per_s,
            0.0 < per_tick && per_tick <= REQUESTS_PER_TICK_MAX,
            range,
        )
    }
}

impl Simulator {
    /// Checks a scenario and prepares its tables.
    pub fn new(scenario: Scenario) -> Result<Self, ScenarioError> {
        scenario.check()?;
        let test = CanaryTest {
            alpha: scenario.alpha,
            beta: 0.05,
            tolerance: scenario.tolerance,
            min_events: scenario.events_min,
            grace: Span::ZERO,
            slis: vec![Sli::Availability],
        };
        let judge =
            CanaryJudge::new(&test, VersionName::new("canary")?, VersionName::new("baseline")?, Timestamp::default());
        let per_tick = scenario.requests_per_s * TICK.secs_f64();
        Ok(Self {
            baseline: Arrivals::poisson(per_tick * (1.0 - scenario.canary_share)),
            canary: Arrivals::poisson(per_tick * scenario.canary_share),
            ticks: scenario.duration.ns() / TICK.ns(),
            judge,
            scenario,
        })
    }

    /// What is simulated.
    pub fn scenario(&self) -> &Scenario {
        &self.scenario
    }

    /// Plays run number `run` of the series `seed`.
    pub fn run(&self, seed: u64, run: u64) -> Run {
        // Two odd multipliers keep neighbouring seeds and runs apart; the generator's own seeding mixes the rest.
        let mixed = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ run.wrapping_mul(0xd1b5_4a32_d192_ed03);
        let mut chance = Xoshiro256PlusPlus::seed_from_u64(mixed);
        let mut judge = self.judge.clone();
        let mut baseline_bad = BadEvents::new(self.scenario.baseline_error, &mut chance);
        let mut canary_bad = BadEvents::new(self.scenario.canary_error, &mut chance);
        let mut first_bad = None;
        let mut harmed = 0;
        let mut now = Timestamp::default();
        for _ in 0..self.ticks {
            let before = now;
            now = now + TICK;
            let canary = canary_bad.among(self.canary.draw(&mut chance), &mut chance);
            let baseline = baseline_bad.among(self.baseline.draw(&mut chance), &mut chance);
            judge.record(now, &outcomes(canary), &outcomes(baseline), &[]);
            harmed += canary.1;
            if canary.1 > 0 {
                first_bad.get_or_insert(before);
            }
            if judge.is_shown_worse() && judge.missing(now).is_none() {
                return Run {
                    detected_after: Some(now.since(Timestamp::default())),
                    detected_after_first_bad: first_bad.map(|first_bad| now.since(first_bad)),
                    harmed,
                };
            }
        }
        Run { detected_after: None, detected_after_first_bad: None, harmed }
    }
}

/// `(good, bad)` as the gateway would count them.
fn outcomes((good, bad): (u64, u64)) -> OutcomeCounts {
    let mut counts = OutcomeCounts::of(OutcomeClass::Ok, good);
    counts += OutcomeCounts::of(OutcomeClass::ServerError, bad);
    counts
}

//! One program-day: the state machine that decides in production, fed with a day's outcomes in virtual time.

use std::collections::BTreeSet;

use homeostat_control::{Command, Control, ControlSpec, ControlledService, Event};
use homeostat_judge_canary::TOLERANCE_DEFAULT;
use homeostat_model::{
    ActionMode, Actor, CellId, CellKey, Objective, OutcomeClass, OutcomeCounts, OutcomeDelta, Span, Timestamp, Weight,
    action::Split,
    incident::Subject,
    objective::{BurnRule, OnPage, Sli, Target},
    outcome::TICK,
    rollout::{CanaryTest, Gate, Phase, Rollout, Start, Step, Verb},
};
use rand::{Rng, RngExt as _};

use super::{
    chance::{Failures, among, poisson},
    record::Recorded,
};

/// Seconds of a day.
const DAY: u64 = 86_400;
/// Seconds of the record that follow each other as they did: three times the window that pages soonest.
const STRETCH: usize = 900;
/// A release that has not gone through after this long is taken back.
const RELEASE_MAX: Span = Span::from_hours(2);
/// Ticks in a second.
const TICKS_OF_A_SECOND: u64 = 1_000_000_000 / TICK.ns();
/// Some time in 2033.
const BEGIN: Timestamp = Timestamp::from_unix_ms(2_000_000_000_000);
/// Steps of a release as they are unless somebody writes others, in percent.
const STEPS: [f64; 5] = [1.0, 5.0, 25.0, 50.0, 100.0];

/// What a day is like.
#[derive(Clone, Copy, Debug)]
pub(super) struct Day<'a> {
    /// Requests a second, on average.
    pub(super) rate: f64,
    /// Share of requests that is promised to be answered.
    pub(super) target: f64,
    /// Share of requests that fail.
    pub(super) failing: f64,
    /// Failures in a row, on average.
    pub(super) run: f64,
    /// Whose latencies.
    pub(super) program: &'a Recorded,
    /// What late answers spend of their budget.
    pub(super) spent: f64,
}

/// What came of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Opened {
    pub(super) availability: u64,
    pub(super) latency: u64,
    pub(super) rollbacks: u64,
    pub(super) promoted: bool,
}

/// Plays it. While a release is under way ticks are as short as the gateway's, or as long as it takes for a request to come;
/// else they are seconds, in which windows that page move.
pub(super) fn play(day: &Day<'_>, chance: &mut impl Rng) -> Opened {
    let Some(spec) = spec(day) else { return Opened::default() };
    let mut world = World {
        control: Control::new(BEGIN),
        split: Split::new(),
        known: BTreeSet::new(),
        releasing: false,
        opened: Opened::default(),
    };
    world.step(BEGIN, Event::Configured(Box::new(spec)));
    let mut failures = Failures::new(day.failing, day.run);
    let release = chance.random_range(3_600..72_000);
    let mut at = 0;
    for second in 0..DAY {
        if second == release {
            world.start(BEGIN + Span::from_secs(second));
        }
        if (second as usize).is_multiple_of(STRETCH) {
            at = chance.random_range(0..day.program.seconds.len().saturating_sub(STRETCH).max(1));
        }
        let late = day.program.late_at(at);
        at += 1;
        let rate = rate(day.rate, second);
        let parts = if world.releasing { rate.clamp(1.0, TICKS_OF_A_SECOND as f64) as u64 } else { 1 };
        for part in 1..=parts {
            let now = BEGIN + Span::from_secs(second) + Span::from_ns(part * 1_000_000_000 / parts);
            let deltas = world.outcomes(rate / parts as f64, late, &mut failures, chance);
            world.step(now, Event::Tick { deltas });
        }
    }
    world.opened
}

/// Least at the day's beginning and end.
fn rate(mean: f64, second: u64) -> f64 {
    mean * (1.0 - 0.6 * (std::f64::consts::TAU * second as f64 / DAY as f64).cos())
}

struct World {
    control: Control,
    split: Split,
    known: BTreeSet<u64>,
    /// A release is under way.
    releasing: bool,
    opened: Opened,
}

impl World {
    fn start(&mut self, now: Timestamp) {
        if let Ok(rollout) = "release".parse() {
            let by = Actor::new("pipeline");
            self.step(now, Event::Rollout { rollout, verb: Verb::Start, by, reason: String::new() });
        }
    }

    /// Takes a step; shifts are carried out at once.
    fn step(&mut self, now: Timestamp, event: Event) {
        let commands = self.control.step(now, event);
        if self.split.is_empty() {
            self.split = self.control.desired_splits().into_values().next().unwrap_or_default();
        }
        for command in commands {
            match command {
                Command::Shift { permit } => {
                    let plan = permit.plan();
                    let action = plan.id;
                    self.split.clone_from(&plan.to);
                    self.step(now, Event::Applied { action, ahead_of_disk: false });
                }
                Command::RecordIncident(incident) if self.known.insert(incident.id.0) => match &incident.subject {
                    Subject::Objective { objective } if objective.as_str() == "latency" => self.opened.latency += 1,
                    Subject::Objective { .. } => self.opened.availability += 1,
                    Subject::Canary { .. } => self.opened.rollbacks += 1,
                },
                Command::RolloutMoved { phase, .. } => {
                    self.releasing = phase.is_active();
                    self.opened.promoted |= matches!(phase, Phase::Promoted { .. });
                }
                _ => {}
            }
        }
    }

    /// Outcomes of a time with so many requests on average, dealt out to the versions.
    fn outcomes(&self, requests: f64, late: f64, failures: &mut Failures, chance: &mut impl Rng) -> Vec<OutcomeDelta> {
        let all = poisson(requests, chance);
        let failed = failures.among(all, chance);
        let canary = self.split.get(1).map_or(0.0, |(_, weight)| weight.percent() / 100.0);
        let mut deal = |count: u64| if canary == 0.0 { 0 } else { among(count, canary, chance) };
        let (of_good, of_bad) = (deal(all - failed), deal(failed));
        let sides = [(0, all - failed - of_good, failed - of_bad), (1, of_good, of_bad)];
        let deltas = sides.into_iter().map(|(cell, good, bad)| {
            let mut counts = OutcomeCounts::of(OutcomeClass::Ok, good);
            counts += OutcomeCounts::of(OutcomeClass::ServerError, bad);
            if let Some(slow) = counts.slow.first_mut() {
                *slow = among(good, late, chance);
            }
            OutcomeDelta { cell: CellId(cell), counts }
        });
        deltas.filter(|delta| 0 < delta.counts.total()).collect()
    }
}

/// A service with two versions, two objectives and a release, everything else as it is unless somebody writes otherwise.
fn spec(day: &Day<'_>) -> Option<ControlSpec> {
    let (service, versions) = ("program".parse().ok()?, ["v1".parse().ok()?, "v2".parse().ok()?]);
    let within = day.program.within;
    let objective = |name: &str, sli, target| {
        Some(Objective {
            name: name.parse().ok()?,
            display_name: name.to_owned(),
            service: "program".parse().ok()?,
            routes: Vec::new(),
            version: None,
            sli,
            target: Target::new(target).ok()?,
            period: Span::from_days(30),
            fast_window: Span::from_secs(1),
            min_events: 200,
            burn_rules: BurnRule::DEFAULTS.to_vec(),
            on_page: OnPage::Notify,
            receivers: Vec::new(),
            indicator: None,
        })
    };
    let late = (day.program.late / day.spent).clamp(1e-4, 0.5);
    let step = |percent: f64| {
        let gate = Gate::Evidence { at_least: Span::from_secs(30) };
        Some(Step { weight: Weight::from_percent(percent).ok()?, gate })
    };
    let release = Rollout {
        name: "release".parse().ok()?,
        service: "program".parse().ok()?,
        baseline: "v1".parse().ok()?,
        canary: "v2".parse().ok()?,
        steps: STEPS.into_iter().filter_map(step).collect(),
        test: CanaryTest {
            alpha: 0.001,
            beta: 0.05,
            tolerance: TOLERANCE_DEFAULT,
            min_events: 5,
            grace: Span::ZERO,
            slis: vec![Sli::Availability, Sli::Latency { threshold: within }],
        },
        mode: ActionMode::Auto,
        start: Start::Manual,
        // Whoever releases waits for it.
        progress_deadline: RELEASE_MAX,
        verify_window: Span::from_secs(5),
        freeze: Span::from_days(1),
        receivers: Vec::new(),
    };
    let cell = |(number, version): (u16, &homeostat_model::VersionName)| {
        Some((
            CellId(number),
            CellKey { route: "all".parse().ok()?, service: "program".parse().ok()?, version: version.clone() },
        ))
    };
    Some(ControlSpec {
        cells: (0..).zip(&versions).filter_map(cell).collect(),
        services: vec![ControlledService {
            name: service,
            routes: vec!["all".parse().ok()?],
            split: versions.iter().cloned().zip([Weight::FULL, Weight::ZERO]).collect(),
            versions: versions.to_vec(),
            thresholds: vec![within],
        }],
        objectives: vec![
            objective("availability", Sli::Availability, day.target)?,
            objective("latency", Sli::Latency { threshold: within }, 1.0 - late)?,
        ],
        rollouts: vec![release],
        ..ControlSpec::default()
    })
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng as _;
    use rand_xoshiro::Xoshiro256PlusPlus;

    use super::*;

    fn opened(failing: f64, spent: f64) -> Opened {
        let program =
            Recorded { name: "program".to_owned(), within: Span::from_ms(50), seconds: vec![Some(0.01)], late: 0.01 };
        let day = Day { rate: 200.0, target: 0.999, failing, run: 1.0, program: &program, spent };
        play(&day, &mut Xoshiro256PlusPlus::seed_from_u64(9))
    }

    #[test]
    fn a_day_that_keeps_its_objectives_opens_nothing_and_its_release_goes_through() {
        assert_eq!(opened(0.0009, 0.9), Opened { promoted: true, ..Opened::default() });
    }

    #[test]
    fn a_day_that_breaks_them_is_paged_about() {
        let broken = opened(0.03, 20.0);
        assert!(0 < broken.availability && 0 < broken.latency && broken.rollbacks == 0, "{broken:?}");
    }
}

//! The promise that matters most, measured: a canary that is no worse is rolled back with probability at most alpha,
//! over a whole rollout in which the judge is asked after every tick.
//!
//! A generous alpha makes a broken bound visible within few runs; the seed is fixed, so the result is too.
#![cfg(test)]

use homeostat_judge_canary::{
    CanaryJudge,
    simulate::{Run, Scenario, Simulator, Summary, clopper_pearson},
};
use homeostat_model::{
    OutcomeClass, OutcomeCounts, Span, Timestamp, VersionName, objective::Sli, outcome::TICK, rollout::CanaryTest,
    verdict::CanaryVerdict,
};
use rand::{RngExt, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;

const RUNS: u64 = 1_000;

fn check(baseline_error: f64, requests_per_s: f64, canary_share: f64, tolerance: f64) {
    let scenario = Scenario {
        baseline_error,
        canary_error: (baseline_error + tolerance).min(1.0),
        requests_per_s,
        canary_share,
        duration: Span::from_secs(10),
        alpha: 0.2,
        tolerance,
        events_min: 1,
    };
    let simulator = Simulator::new(scenario.clone()).expect("a sound scenario");
    let runs: Vec<Run> = (0..RUNS).map(|run| simulator.run(1, run)).collect();
    let summary = Summary::of(&runs).expect("there are runs");
    assert!(summary.detected_interval.low <= scenario.alpha, "{} of {RUNS} in {scenario:?}", summary.detected);
    // A bound that is kept by never deciding would be worth nothing.
    let worse = Scenario { canary_error: (scenario.canary_error * 10.0).clamp(0.3, 1.0), ..scenario };
    let simulator = Simulator::new(worse.clone()).expect("a sound scenario");
    let found = (0..20).filter(|run| simulator.run(2, *run).detected_after.is_some()).count();
    assert_eq!(found, 20, "in {worse:?}");
}

#[test]
fn at_a_good_baseline() {
    check(0.001, 2_000.0, 0.05, 0.0);
}

#[test]
fn at_a_bad_baseline() {
    check(0.05, 2_000.0, 0.05, 0.0);
}

#[test]
fn at_equal_shares_and_with_the_canary_in_the_majority() {
    check(0.01, 2_000.0, 0.5, 0.0);
    check(0.01, 2_000.0, 0.9, 0.0);
}

#[test]
fn with_little_traffic_where_blocks_span_many_ticks() {
    check(0.02, 200.0, 0.05, 0.0);
}

#[test]
fn just_within_the_tolerance() {
    check(0.001, 2_000.0, 0.05, 0.01);
}

/// Every 20 s a dependency of both versions fails for 4 s, at random moments of blocks that span many ticks: the case in
/// which pairing is not exact (see `pairing`).
#[test]
fn when_a_fault_that_hits_both_comes_and_goes_abruptly() {
    let (alpha, runs) = (0.2, 400);
    let mut chance = Xoshiro256PlusPlus::seed_from_u64(1);
    let wronged = (0..runs).filter(|_| is_wronged_by_common_faults(alpha, &mut chance)).count() as u64;
    assert!(clopper_pearson(wronged, runs, 0.95).low <= alpha, "{wronged} of {runs}");
}

fn is_wronged_by_common_faults(alpha: f64, chance: &mut Xoshiro256PlusPlus) -> bool {
    let test = CanaryTest {
        alpha,
        beta: 0.05,
        tolerance: 0.0,
        min_events: 1,
        grace: Span::ZERO,
        slis: vec![Sli::Availability],
    };
    let name = |text| VersionName::new(text).expect("a valid name");
    let mut now = Timestamp::default();
    let mut judge = CanaryJudge::new(&test, name("v2"), name("v1"), now);
    (0..10_000).any(|tick| {
        now = now + TICK;
        let mut counts = [OutcomeCounts::default(); 2];
        // One request in every second tick, 5 % of them to the canary.
        if chance.random_bool(0.5) {
            let fails = chance.random_bool(if tick % 2_000 < 1_600 { 0.001 } else { 1.0 });
            let class = if fails { OutcomeClass::ServerError } else { OutcomeClass::Ok };
            counts[usize::from(chance.random_bool(0.05))] = OutcomeCounts::of(class, 1);
        }
        let [baseline, canary] = counts;
        judge.record(now, &canary, &baseline, &[]);
        matches!(judge.verdict(now), CanaryVerdict::Worse { .. })
    })
}
